"""The command line, one file a command. Nothing heavy is imported before one runs: ``--help`` never waits for PyTorch.

Nor is NumPy before ``main`` runs, which explains what stops it while it is loaded.
"""

import codecs
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from seqrev.cli.console import Console, discard_unwritable, open_missing_streams
from seqrev.cli.usage import next_line
from seqrev.errors import InputError, SeqrevError, TrainingError, UsageError
from seqrev.system.files import expand_home
from seqrev.system.resources import thread_errors
from seqrev.system.signals import Interrupted, stop_requests
from seqrev.system.text import spell
from seqrev.training.distributed import is_first

OUT_OF_MEMORY = re.compile("allocate memory|std::bad_alloc")  # as PyTorch and C++ put it, in errors of several classes


def _expand(argument: str) -> str:
    """``--runs-dir=~/x`` as ``--runs-dir ~/x``, in which a shell puts the home of the user itself."""
    option, equals, value = argument.partition("=")
    return f"{option}={expand_home(value)}" if equals and option.startswith("--") else argument


def _check_current_folder() -> None:
    """Where it was removed, no path can be found, and the library that PyTorch multiplies with ends the process."""
    try:
        Path.cwd()
    except FileNotFoundError:
        problem = "The current folder was removed; one that exists was expected."
        raise InputError(problem, "the same command in another folder") from None


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code, as docs/reference.md lists them."""
    arguments = [_expand(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    open_missing_streams()
    console = Console(json_mode="--json" in arguments)
    codecs.register_error("seqrev.spell", spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="seqrev.spell")  # a terminal that has no arrow gets "->", not a failure
    commands: Mapping[str, Any] = {}
    try:
        with stop_requests(), thread_errors(), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: console.warning(message)
            _check_current_folder()
            from seqrev.cli.app import app

            group: Any = typer.main.get_command(app)
            commands = group.commands
            code = group(args=arguments, prog_name="seqrev", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
    except (SeqrevError, Interrupted) as error:
        if is_first() or not isinstance(error, TrainingError | Interrupted):  # which the first process reports
            again = not isinstance(error, UsageError | InputError)  # which would come again
            error.hint = next_line(error.hint, arguments, commands, again)
            console.error(error)
        return error.exit_code
    except typer.TyperException as error:
        if not arguments:  # the message is the help
            typer.echo(error.format_message(), err=True)
        else:
            from seqrev.cli.mend import explain  # which, as the application, loads NumPy

            console.error(explain(error, arguments, commands))
        return error.exit_code
    except BrokenPipeError:  # the reader of stdout has gone, which is no failure
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("SEQREV_DEBUG"):
            traceback.print_exc()
        console.error(_known(error))
        return SeqrevError.exit_code
    finally:
        for stream in (sys.stdout, sys.stderr):
            discard_unwritable(stream)


def _known(error: Exception) -> SeqrevError:
    """What libraries and the system raise, as an error for the user."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or OUT_OF_MEMORY.search(str(error)):
        return SeqrevError(
            "There is not enough memory for this.", "smaller batches or beams, shorter sequences or a smaller model"
        )
    if isinstance(error, OSError):
        name = error.filename or "a file"
        return SeqrevError(f"The system refused an operation on {name}: {error.strerror or error}.")
    return SeqrevError(
        f"This should not have happened ({type(error).__name__}: {error}). Please report it.",
        "the same command with SEQREV_DEBUG=1 in the environment, which shows where",
    )


def entry() -> None:
    """The console script."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # a second Ctrl-C, while the answer to the first is printed
        sys.exit(130)
