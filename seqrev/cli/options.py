"""The options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqrev.console import Console

if TYPE_CHECKING:
    from seqrev.api import Reverser

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML configuration, e.g. configs/small.yaml.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change one field, e.g. train.lr=3e-4. May be repeated."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Short for --set seed=N.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", envvar="SEQREV_RUNS", metavar="FOLDER", help="Where the numbered run folders are.")
]
RunSpec = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="runs/001, 001, 1 or latest; left out: the latest that serves.")
]
ContinueRun = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Carry on with this run (runs/001, 001, 1, latest); else: a new one."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
Beam = Annotated[int, typer.Option("--beam", min=1, max=1000, help="Hypotheses kept in beam search; 1 is greedy.")]

DEFAULT_RUNS = Path("runs")
LONGER = "Note: longer than any sequence in training (at most {}); the answer may be wrong."


def load_model(spec: str | None, runs_dir: Path, device: str, console: Console) -> "Reverser":
    """The trained model that the user means; says on stderr which one was taken where that was left open."""
    from seqrev.runs import Run, find_run

    run = find_run(spec, runs_dir, Run.has_checkpoint, "a usable checkpoint")

    from seqrev.api import load

    model = load(run, device)
    for problem in model.problems:
        console.note(f"Warning: {problem} The next best checkpoint is used.")
    if spec is None or spec == "latest":
        console.note(f"Run: {run} (checkpoint of step {model.checkpoint.step:,})")
    return model
