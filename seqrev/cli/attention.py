"""``seqrev attention``: look inside."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from seqrev.cli import causes
from seqrev.cli.console import Console, is_live
from seqrev.cli.help import described
from seqrev.cli.options import (
    LONGER,
    Beam,
    Device,
    Json,
    RunsDir,
    RunSpec,
    Theme,
    find_trained,
    load_model,
    parse_symbols,
    refuse_together,
)
from seqrev.errors import PictureError

if TYPE_CHECKING:
    from seqrev.api.reverser import Reverser
    from seqrev.interpret.attention import Attention
    from seqrev.interpret.heads import HeadReport
    from seqrev.workflows.attention import View

Kind = Literal["cross", "encoder", "decoder"]


@described(
    "Draw where a model looks while it answers.",
    "Or how that was learned, or what every head does. Of the scores, mass is the share of the attention that lies "
    "where the rule looks, and hit the share of tokens that look there most.",
)
def command(
    sequence: Annotated[
        list[str] | None, Argument(metavar="SYMBOLS", help="The sequence, e.g. 4 8 2 9; left out: one from the test split.")
    ] = None,
    run: RunSpec = None,
    out: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Picture: .png, .svg or .pdf; .html: a page in which the model lives; left out: numbered in the run.",
        ),
    ] = None,
    type_: Annotated[
        Kind, Option("--type", metavar="NAME", help="cross, or self-attention: encoder or decoder.")
    ] = "cross",
    layer: Annotated[
        int | None, Option(metavar="N", help="Only this layer, from 1; left out: the last large, and all small.")
    ] = None,
    head: Annotated[
        int | None, Option(metavar="N", help="Only this head, counted from 1; left out: all, and the mean.")
    ] = None,
    no_guide: Annotated[bool, Option("--no-guide", help="Do not frame where a perfect model would look.")] = False,
    arrays: Annotated[Path | None, Option(metavar="FILE", help="Also write all maps and labels to this .npz file.")] = None,
    text: Annotated[bool, Option("--text", help="Print the map, too; a terminal always gets it.")] = False,
    ascii_: Annotated[bool, Option("--ascii", help="Print the map in plain ASCII.")] = False,
    over_time: Annotated[
        bool, Option("--over-time", help="How it was learned: a .gif, or a strip as .png, .svg or .pdf.")
    ] = False,
    report: Annotated[bool, Option("--report", help="A table of what every head does, over the test split.")] = False,
    theme: Theme = "paper",
    influence: causes.Influence = False,
    patch: causes.Patch = None,
    path: causes.Path_ = None,
    lens: causes.Lens = False,
    ablate: causes.Ablate = None,
    how: causes.How = "zero",
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    of_one_map: dict[str, object] = {"--arrays": arrays, "--text": text, "--ascii": ascii_}
    of_one_map |= {"--beam": beam > 1, "--type": type_ != "cross"}
    of_a_picture: dict[str, object] = {"--out": out, "--layer": layer, "--head": head, "--no-guide": no_guide}
    of_a_picture["--theme"] = theme != "paper"
    _refuse(over_time, report, {"a sequence": sequence or None, **of_one_map}, of_a_picture)
    page = out is not None and out.suffix.lower() == ".html"
    refuse_together("--out map.png", {"--theme": of_a_picture["--theme"], "a page": page})
    experiment = causes.Experiment(influence, lens, patch, path, ablate, how)
    others = {"--over-time": over_time, "--report": report, **of_one_map, "--no-guide": no_guide}
    is_experiment = experiment.check(others, sequence, out, layer or head)
    console = Console(json)
    options: dict[str, Any] = {"kind": type_, "layer": layer, "head": head, "guide": not no_guide, "theme": theme}
    if over_time:
        _draw_over_time(console, run, runs_dir, options, out)
        return
    model = load_model(run, runs_dir, device, console)

    if is_experiment:
        causes.run(console, model, experiment, sequence, {"layer": layer, "head": head, "out": out, "theme": theme})
        return

    from seqrev.workflows import attention as workflow

    if report:
        _print_report(console, model, workflow.report(model))
        return
    view = workflow.View(**options)
    symbols = parse_symbols(sequence, model) if sequence else None
    attention = workflow.look(model, symbols, view, beam, out, arrays)
    if len(attention.source) > model.config.task.max_length:
        console.note(LONGER.format(model.config.task.max_length))
    console.data(f"source  {' '.join(map(str, attention.source))}")
    console.data(f"output  {' '.join(map(str, attention.answer.output))} ({attention.verdict})")
    if text or ascii_ or sys.stdout.isatty():
        _print_map(console, attention, view, ascii_)
    found = _print_scores(console, attention, model, view)
    with console.picture(found):
        found["out"] = str(
            workflow.save(attention, model.run, view, out, arrays, lambda text: console.note(f"Warning: {text}"))
        )


def _refuse(over_time: bool, report: bool, of_one_map: dict[str, object], of_a_picture: dict[str, object]) -> None:
    """Options that are of no use together with ``--over-time`` and ``--report``."""
    hint = "seqrev attention --over-time" if over_time else "seqrev attention --report"
    for name, value in of_one_map.items():
        refuse_together(hint, {"--over-time": over_time, "--report": report, name: value})
    for name, value in of_a_picture.items():
        refuse_together("seqrev attention --report", {"--report": report, name: value})


def _print_map(console: Console, attention: "Attention", view: "View", plain: bool) -> None:
    """The large map of the picture as shaded cells."""
    from seqrev.plotting.export import picture_errors
    from seqrev.plotting.terminal import best_ramp, text_heatmap

    weights = attention.weights(view.kind, view.layer)
    weights = weights.mean(axis=0) if view.head is None else weights[view.head - 1]
    rows, columns = attention.tokens(view.kind)
    width = shutil.get_terminal_size().columns
    ramp = best_ramp("ascii" if plain else getattr(sys.stdout, "encoding", None))
    try:
        with picture_errors():
            drawn = text_heatmap(weights, rows, columns, width, ramp, is_live(sys.stdout) and not plain)
    except PictureError as error:  # the scores come next
        console.note(f"Warning: {error}")
        return
    if drawn is None:
        console.note(f"The map has {len(columns)} columns, too many for a terminal {width} wide; it is in the picture.")
    else:
        console.styled(drawn)


def _print_scores(console: Console, attention: "Attention", model: "Reverser", view: "View") -> dict[str, Any]:
    """The anti-diagonal of every layer and head of cross-attention; returns the document."""
    layers = range(1, model.config.model.decoder_layers + 1)
    scores = [score for layer in layers for score in attention.anti_diagonal(layer)]
    if view.kind == "cross":
        columns = {"layer": "", "head": "", "mass": ".3f", "hit": ".3f"}
        console.table(columns, [(score.layer, score.head or "mean", score.mass, score.hit) for score in scores])
    answer = {"source": attention.source, "output": attention.answer.output}
    return {"run": str(model.run), "type": view.kind, **answer, "anti_diagonal": [score.to_dict() for score in scores]}


def _draw_over_time(
    console: Console, spec: str | None, runs_dir: Path | None, options: dict[str, Any], out: Path | None
) -> None:
    """How the attention of a held-out sequence changed in training."""
    run = find_trained(spec, runs_dir, lambda run: run.snapshots.is_dir(), "attention that was saved in training", console)
    if spec in (None, "latest") and run.outputs == run.path:
        console.note(f"Run: {run}")

    from seqrev.workflows.attention import View, look_back, save_over_time  # which imports PyTorch

    history = look_back(run, View(**options), out)
    source = history.snapshots[0].source
    pairs = zip(history.snapshots, history.scores, strict=True)
    rows = [{"step": snapshot.step, "loss": snapshot.loss, **score.to_dict()} for snapshot, score in pairs]
    console.data(f"source  {' '.join(map(str, source))}")
    columns = {"step": ",", "loss": "#.2g", "mass": ".3f", "hit": ".3f"}
    console.table(columns, [[row[name] for name in columns] for row in rows])
    found: dict[str, Any] = {"run": str(run), "source": source, "snapshots": rows}
    with console.picture(found):
        found["out"] = str(save_over_time(history, run, View(**options), out))


def _print_report(console: Console, model: "Reverser", report: "HeadReport") -> None:
    """What every head does, over the test split."""
    step = model.checkpoint.step if model.checkpoint else 0
    console.line(f"{model.run}, step {step:,}: attention over {report.sequences:,} test sequences")
    columns = {"type": "", "layer": "", "head": "", "mass": ".3f", "hit": ".3f", "entropy": ".2f", "offset": "+.2f"}
    columns |= {"distance": ".2f", "exact match without": ".3f"}
    drop = ["distance", "offset", "entropy", "hit"]
    console.table(columns, [list(vars(head).values()) for head in report.heads], drop)
    answered = f"{report.answered:,} sequences that were answered"
    console.data(f"exact match with every head, on the {answered}: {report.exact_match:.3f}")
    if report.agreement is not None:
        causes.print_agreement(console, report.agreement)
    console.document({"run": str(model.run), "step": step, **report.to_dict()})
