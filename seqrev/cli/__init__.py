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
from seqrev.console import Console, OutputClosed
from seqrev.errors import SeqrevError, UsageError

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

    0 ok; 1 unexpected failure; 2 wrong usage or configuration; 3 missing or damaged input; 4 a quality gate not met;
    130 after Ctrl-C and 143 after SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(json_mode="--json" in arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no arrow gets a question mark, not a failure
    try:
        code = typer.main.get_command(app)(args=arguments, prog_name="seqrev", standalone_mode=False)
        if sys.stdout is not None:  # a daemon may have none
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SeqrevError as error:
        console.error(error)
        return error.exit_code
    except typer.TyperException as error:
        if not arguments:  # the message is the help
            console.note(error.format_message())
        else:
            known = arguments[0] in {command.name for command in app.registered_commands}
            console.error(UsageError(error.format_message(), f"seqrev {arguments[0]} --help" if known else "seqrev --help"))
        return error.exit_code
    except (OutputClosed, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at exit
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        console.error(SeqrevError(f"The system refused an operation on{name or ' a file'}: {error.strerror or error}."))
        return SeqrevError.exit_code
    except Exception as error:
        if os.environ.get("SEQREV_DEBUG"):
            traceback.print_exc()
        message = f"This should not have happened ({type(error).__name__}: {error}). Please report it."
        console.error(SeqrevError(message, "SEQREV_DEBUG=1 seqrev ... shows where."))
        return SeqrevError.exit_code


def entry() -> None:
    """The console script."""
    sys.exit(main())
