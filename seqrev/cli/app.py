"""The commands as one application."""

from typing import Annotated

import typer

from seqrev import __version__
from seqrev.cli import attention, decode, evaluate, generate, runs, sweep, train
from seqrev.cli.help import SETTINGS, Command

app = typer.Typer(
    name="seqrev",
    help="Train a Transformer to reverse sequences, and see how it does it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=SETTINGS,
    epilog="Begin with: seqrev train --config small",
)
app.command("generate", cls=Command)(generate.command)
app.command("train", cls=Command)(train.command)
app.command("runs", cls=Command)(runs.command)
app.command("sweep", cls=Command)(sweep.command)
app.command("evaluate", cls=Command)(evaluate.command)
app.command("decode", cls=Command, context_settings={"ignore_unknown_options": True})(decode.command)
app.command("attention", cls=Command)(attention.command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"seqrev {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass
