"""``seqrev attention``: look inside."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seqrev.cli.options import DEFAULT_RUNS, LONGER, Beam, Device, Json, RunsDir, RunSpec, load_model
from seqrev.console import Console
from seqrev.errors import UsageError

if TYPE_CHECKING:
    from seqrev.api import Reverser
    from seqrev.config import ModelConfig
    from seqrev.interpret import Attention, Kind


def command(
    sequence: Annotated[
        list[str] | None,
        typer.Argument(metavar="SYMBOLS", help="The sequence, e.g. 4 8 2 9; left out: one from the test split."),
    ] = None,
    run: RunSpec = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Picture: .png, .svg or .pdf; .html: a page to explore; left out: numbered in the run."),
    ] = None,
    type_: Annotated[
        Literal["cross", "encoder", "decoder"],
        typer.Option("--type", help="Cross-attention, or the self-attention of encoder or decoder."),
    ] = "cross",
    layer: Annotated[
        int | None, typer.Option("--layer", help="Only this layer, from 1; left out: the last large, and all small.")
    ] = None,
    head: Annotated[
        int | None, typer.Option("--head", help="Only this head, counted from 1; left out: all, and the mean.")
    ] = None,
    no_guide: Annotated[bool, typer.Option("--no-guide", help="Do not frame where a perfect model would look.")] = False,
    arrays: Annotated[
        Path | None, typer.Option("--arrays", help="Also write all maps and labels to this .npz file.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the map, too; a terminal always gets it.")] = False,
    ascii_: Annotated[bool, typer.Option("--ascii", help="Print the map in plain ASCII.")] = False,
    over_time: Annotated[
        bool, typer.Option("--over-time", help="How it was learned: a .gif, or a strip as .png, .svg or .pdf.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="A table of what every head does, over the test split.")] = False,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Draw where a model looks while it answers.

    With a score of the anti-diagonal; or how that was learned, or what every head does.
    """
    console = Console(json)
    mode = "--over-time" if over_time else "--report" if report else ""
    if mode:
        given: dict[str, object] = {"a sequence": sequence or None, "--arrays": arrays, "--text": text, "--ascii": ascii_}
        given |= {"--beam": beam > 1, "--type": type_ != "cross"}
        given |= (
            {"--report": report}
            if over_time
            else {
                "--out": out,
                "--layer": layer,
                "--head": head,
                "--no-guide": no_guide,
            }
        )
        other = next((name for name, value in given.items() if value is not None and value is not False), None)
        if other is not None:
            raise UsageError(f"{mode} does not go together with {other}.", f"seqrev attention {mode}")
    if over_time:
        _draw_learning(console, run, runs_dir, out, layer, head, not no_guide)
        return
    model = load_model(run, runs_dir, device, console)
    if report:
        _report(console, model)
        return
    _check_numbers(model.config.model, type_, layer, head)
    from seqrev import pictures, plots

    if out is not None:
        plots.check_format(out, (*plots.FORMATS, "html"))
    if arrays is not None:
        plots.check_format(arrays, ("npz",))
    attention = _look(console, model, sequence, beam)
    path = out or model.run.numbered("attention", ".png")
    if path.suffix.lower() == ".html":
        plots.save_page(pictures.draw_page(attention, str(model.run), type_, layer, head), path)
    else:
        plots.save_figure(pictures.draw_attention(attention, str(model.run), type_, layer, head, not no_guide), path)
    if arrays is not None:
        plots.save_arrays(attention.to_arrays(), arrays)

    console.data(f"source  {' '.join(map(str, attention.source))}")
    console.data(f"output  {' '.join(map(str, attention.answer.output))} ({'right' if attention.correct else 'wrong'})")
    if text or ascii_ or (sys.stdout is not None and sys.stdout.isatty()):
        _print_map(console, attention, type_, layer, head, ascii_)
    _report_scores(console, attention, model, type_, path)


def _look(console: Console, model: "Reverser", words: list[str] | None, beam: int) -> "Attention":
    """What the model does with the sequence that was typed, or with one of the test split."""
    from seqrev.data import load_split
    from seqrev.sequences import example
    from seqrev.task import parse_sequence

    task = model.config.task
    if words:
        source = parse_sequence(" ".join(words), task.symbols, model.longest_source)
    else:
        source = example(load_split(model.run.data, "test", model.config))
    if len(source) > task.max_length:
        console.note(LONGER.format(task.max_length))
    return model.attention(source, beam)


def _report_scores(console: Console, attention: "Attention", model: "Reverser", kind: "Kind", path: Path) -> None:
    """The anti-diagonal of every layer and head of cross-attention; and the document."""
    from seqrev.interpret import scores_to_json

    layers = range(1, model.config.model.decoder_layers + 1)
    scores = [score for layer in layers for score in attention.anti_diagonal(layer)]
    if kind == "cross":
        console.table(
            ("layer", "head", "mass", "hit"),
            [(str(s.layer), "mean" if s.head is None else str(s.head), f"{s.mass:.3f}", f"{s.hit:.3f}") for s in scores],
        )
    console.line(f"picture: {path}")
    console.document(
        {
            "run": str(model.run),
            "type": kind,
            "source": attention.source,
            "output": attention.answer.output,
            "anti_diagonal": scores_to_json(scores),
            "out": str(path),
        }
    )


def _check_numbers(shape: "ModelConfig", kind: "Kind", layer: int | None, head: int | None) -> None:
    """Refuse a layer or a head that the model does not have."""
    layers = shape.encoder_layers if kind == "encoder" else shape.decoder_layers
    for name, value, most in (("layer", layer, layers), ("head", head, shape.heads)):
        if value is not None and not 1 <= value <= most:
            raise UsageError(f"There is no {name} {value}; this model has {name}s 1 to {most}.", f"--{name} {most}")


def _print_map(
    console: Console, attention: "Attention", kind: "Kind", layer: int | None, head: int | None, plain: bool
) -> None:
    """The large map of the picture as shaded cells."""
    from seqrev.terminal import ASCII, BLOCKS, map_text

    weights = attention.weights(kind, layer)
    weights = weights.mean(axis=0) if head is None else weights[head - 1]
    rows, columns = attention.tokens(kind)
    width = shutil.get_terminal_size().columns
    drawn = map_text(weights, rows, columns, width, ASCII if plain else BLOCKS, console.colours and not plain)
    if drawn is None:
        console.note(f"The map has {len(columns)} columns, too many for a terminal {width} wide; it is in the picture.")
    else:
        console.styled(drawn)


def _draw_learning(
    console: Console,
    spec: str | None,
    runs_dir: Path,
    out: Path | None,
    layer: int | None,
    head: int | None,
    guide: bool,
) -> None:
    """How the attention of a held-out sequence changed in training."""
    from seqrev import pictures, plots
    from seqrev.interpret import scores_to_json
    from seqrev.learning import load_frames
    from seqrev.runs import find_run

    if out is not None:
        plots.check_format(out, ("gif", *plots.FORMATS))
    run = find_run(spec, runs_dir, lambda run: run.learning.is_dir(), "attention that was kept in training")
    if spec is None or spec == "latest":
        console.note(f"Run: {run}")
    shape = run.config().model
    _check_numbers(shape, "cross", layer, head)
    layer = layer or shape.decoder_layers
    frames = load_frames(run.learning)
    path = out or run.numbered("attention", ".gif")
    if path.suffix.lower() == ".gif":
        plots.save_film((pictures.draw_frame(frame, str(run), layer, head, guide) for frame in frames), path)
    else:
        plots.save_figure(pictures.draw_strip(frames, str(run), layer, head), path)
    scores = [frame.score(layer, head) for frame in frames]
    console.data(f"source  {' '.join(map(str, frames[0].source))}")
    console.table(
        ("step", "loss", "mass", "hit"),
        [(f"{f.step:,}", f"{f.loss:#.2g}", f"{s.mass:.3f}", f"{s.hit:.3f}") for f, s in zip(frames, scores, strict=True)],
    )
    console.line(f"picture: {path}")
    rows = zip(frames, scores_to_json(scores), strict=True)
    console.document(
        {
            "run": str(run),
            "source": frames[0].source,
            "frames": [{"step": frame.step, "loss": frame.loss, **score} for frame, score in rows],
            "out": str(path),
        }
    )


def _report(console: Console, model: "Reverser") -> None:
    """What every head does, over the test split."""
    from seqrev.data import load_split
    from seqrev.heads import report

    result = report(model.model, load_split(model.run.data, "test", model.config))
    console.line(f"{model.run}, step {model.checkpoint.step:,}: attention over {result.sequences:,} test sequences")
    console.table(
        ("type", "layer", "head", "mass", "hit", "entropy", "offset", "distance", "exact match without"),
        [
            (
                head.type,
                str(head.layer),
                str(head.head),
                *("-" if value is None else f"{value:.3f}" for value in (head.mass, head.hit)),
                f"{head.entropy:.2f}",
                f"{head.offset:+.2f}",
                f"{head.distance:.2f}",
                f"{head.exact_match_without:.3f}",
            )
            for head in result.heads
        ],
    )
    console.data(
        f"exact match with every head, on the {result.answered:,} sequences that were answered: {result.exact_match:.3f}"
    )
    console.document({"run": str(model.run), "step": model.checkpoint.step, **result.to_dict()})
