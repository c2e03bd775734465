"""The command line: one file a subcommand, each of which parses, calls one public function, and reports.

Nothing heavy is imported before a command runs: ``--help`` never waits for PyTorch.
"""

import io
import os
import sys
import traceback
from typing import Annotated

import typer

from seqrev.cli import attention, decode, evaluate, generate, train
from seqrev.console import Console, OutputClosed, let_go
from seqrev.distributed import EndedElsewhere, is_first
from seqrev.errors import SeqrevError, UsageError
from seqrev.signals import Interrupted, stop_requests

app = typer.Typer(
    name="seqrev",
    help="Train a Transformer to reverse sequences, and see how it does it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    epilog="Begin with: seqrev train --config configs/small.yaml",
)
app.command("generate")(generate.command)
app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("decode", context_settings={"ignore_unknown_options": True})(decode.command)
app.command("attention")(attention.command)


def _version(asked: bool) -> None:
    if asked:
        import seqrev

        typer.echo(f"seqrev {seqrev.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code.

    0 ok; 1 failure, of the program, the disk or a training; 2 wrong usage or configuration; 3 missing or damaged input;
    4 a quality gate not met; 128 and the number of the signal after a request to stop: 130 after Ctrl-C, 143 after SIGTERM,
    129 after SIGHUP, 138 after SIGUSR1.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(json_mode="--json" in arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no arrow gets a question mark, not a failure
    try:
        with stop_requests():
            return _run(arguments)
    except EndedElsewhere as error:
        return error.exit_code
    except (SeqrevError, Interrupted) as error:
        console.error(error)
        return error.exit_code
    except typer.TyperException as error:
        if not is_first():
            return error.exit_code
        if not arguments:  # the message is the help
            typer.echo(error.format_message(), err=True)
        else:
            known = arguments[0] in {command.name for command in app.registered_commands}
            console.error(UsageError(error.format_message(), f"seqrev {arguments[0]} --help" if known else "seqrev --help"))
        return error.exit_code
    except (OutputClosed, BrokenPipeError):
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("SEQREV_DEBUG"):
            traceback.print_exc()
        console.error(_known(error))
        return SeqrevError.exit_code
    finally:
        let_go(sys.stdout)
        let_go(sys.stderr)


def _run(arguments: list[str]) -> int:
    code = typer.main.get_command(app)(args=arguments, prog_name="seqrev", standalone_mode=False)
    if sys.stdout is not None:  # a daemon may have none
        sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _known(error: Exception) -> SeqrevError:
    """What libraries and the system raise, as an error for the user."""
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError":
        return SeqrevError("There is not enough memory for this.", "smaller batches, shorter sequences or a smaller model")
    if isinstance(error, OSError):
        name = f" {error.filename}" if error.filename else " a file"
        return SeqrevError(f"The system refused an operation on{name}: {error.strerror or error}.")
    return SeqrevError(
        f"This should not have happened ({type(error).__name__}: {error}). Please report it.",
        "SEQREV_DEBUG=1 seqrev ... shows where.",
    )


def entry() -> None:
    """The console script."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # a second Ctrl-C, while the answer to the first is printed
        sys.exit(130)
