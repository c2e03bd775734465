"""What several commands share: options, the model that is meant, and the symbols that were typed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from seqrev.cli.console import Console
from seqrev.errors import UsageError, command_line
from seqrev.inference import LARGEST_BEAM

if TYPE_CHECKING:
    from seqrev.api.reverser import Reverser
    from seqrev.runs.folders import Run

ConfigFile = Annotated[Path | None, Option(metavar="FILE", help="A YAML file, or one of small, fast, extrapolate, base.")]
Set = Annotated[
    list[str] | None, Option("--set", metavar="NAME=VALUE", help="Change one field, e.g. train.lr=3e-4. May be repeated.")
]
Seed = Annotated[int | None, Option(metavar="N", help="Short for --set seed=N.")]
RunsDir = Annotated[
    Path | None, Option(metavar="FOLDER", help="Where the numbered run folders are; left out: $SEQREV_RUNS, else runs.")
]
RunSpec = Annotated[
    str | None, Option(metavar="RUN", help="runs/001, 001, 1, latest or pretrained; left out: the latest that can be used.")
]
Device = Annotated[str, Option(metavar="DEVICE", help="auto, cpu, cuda or mps.")]
Json = Annotated[bool, Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
ThemeName = Literal["paper", "slide", "dark"]  # as ``seqrev.plotting.style`` has them, which imports Matplotlib
Theme = Annotated[
    ThemeName, Option(metavar="THEME", help="Of pictures: paper; slide, large letters; dark, on a dark ground.")
]
Beam = Annotated[int, Option(min=1, max=LARGEST_BEAM, metavar="N", help="Hypotheses kept in beam search; 1 is greedy.")]

LONGER = "Note: longer than any sequence in training (at most {}); the answer may be wrong."


def refuse_together(hint: str, options: Mapping[str, object]) -> None:
    """Raise a UsageError that names the first two where more than one is given; None and False count as not given."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if len(given) > 1:
        raise UsageError(f"{given[0]} does not go together with {given[1]}.", hint)


def parse_symbols(words: Sequence[str], model: "Reverser", example: str | None = None) -> list[int]:
    """A sequence that was typed; a UsageError where it is none that the model takes, with another ``example``."""
    from seqrev.task import parse_sequence

    try:
        return parse_sequence(" ".join(words), model.config.task.symbols, model.longest_source)
    except UsageError as error:
        if example is not None and error.hint.startswith(command_line("decode")):
            error.hint = example
        raise


def find_trained(
    spec: str | None, runs_dir: Path | None, predicate: "Callable[[Run], bool]", what: str, console: Console
) -> "Run":
    """The run that the user means; where there is none yet, the one that is part of seqrev, which is then said."""
    from seqrev.runs.finding import find_run
    from seqrev.runs.folders import PRETRAINED

    run = find_run(spec, runs_dir, predicate, what, or_pretrained=True)
    if spec is None and str(run) == PRETRAINED:
        console.note("There is no run yet; this is the trained model that is part of seqrev (--run pretrained).")
    return run


def load_model(spec: str | None, runs_dir: Path | None, device: str, console: Console) -> "Reverser":
    """The trained model that the user means; says on stderr which one was taken where that was left open."""
    from seqrev.runs.folders import Run

    run = find_trained(spec, runs_dir, Run.has_checkpoint, "a usable checkpoint", console)

    from seqrev.api.reverser import load  # which imports PyTorch: a run that is not there is told at once

    model = load(run, device)
    for problem in model.problems:
        console.note(f"Warning: {problem} The next best checkpoint is used.")
    if spec in (None, "latest") and run.outputs == run.path and model.checkpoint is not None:
        console.note(f"Run: {run} (checkpoint of step {model.checkpoint.step:,})")
    return model
