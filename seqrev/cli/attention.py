"""``seqrev attention``: draw where the model looks."""

from pathlib import Path
from typing import Annotated

import typer

from seqrev.cli.options import DEFAULT_RUNS, LONGER, Beam, Device, Json, RunsDir, RunSpec, load_model
from seqrev.console import Console
from seqrev.errors import UsageError


def command(
    sequence: Annotated[
        list[str] | None,
        typer.Argument(metavar="SYMBOLS", help="The sequence, e.g. 4 8 2 9; left out: one from the test split."),
    ] = None,
    run: RunSpec = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Picture to write: .png, .svg or .pdf; left out: numbered in the run.")
    ] = None,
    layer: Annotated[int | None, typer.Option("--layer", help="Decoder layer, counted from 1; left out: the last.")] = None,
    head: Annotated[
        int | None, typer.Option("--head", help="Draw one head, counted from 1; left out: all, and the mean.")
    ] = None,
    arrays: Annotated[
        Path | None, typer.Option("--arrays", help="Also write all maps and labels to this .npz file.")
    ] = None,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Draw where a model looks while it answers.

    The cross-attention of a decoder layer, with a score of its anti-diagonal.
    """
    console = Console(json)
    model = load_model(run, runs_dir, device, console)
    from seqrev import plots
    from seqrev.data import load_split
    from seqrev.experiment import draw_attention, longest
    from seqrev.interpret import scores_to_json
    from seqrev.task import parse_sequence

    shape = model.config.model
    for name, value, most in (("layer", layer, shape.decoder_layers), ("head", head, shape.heads)):
        if value is not None and not 1 <= value <= most:
            raise UsageError(f"There is no {name} {value}; this model has {name}s 1 to {most}.", f"--{name} {most}")
    if out is not None:
        plots.check_format(out)
    if arrays is not None:
        plots.check_format(arrays, ("npz",))
    symbols = model.config.task.symbols
    if sequence:
        source = parse_sequence(" ".join(sequence), symbols, model.longest_source)
    else:
        source = longest(load_split(model.run.data, "test", symbols))

    if len(source) > model.config.task.max_length:
        console.note(LONGER.format(model.config.task.max_length))
    attention = model.attention(source, beam)
    scores = [score for number in range(1, shape.decoder_layers + 1) for score in attention.anti_diagonal(number)]
    path = out or model.run.numbered("attention", ".png")
    plots.save_figure(draw_attention(attention, str(model.run), layer, head), path)
    if arrays is not None:
        plots.save_arrays(attention.to_arrays(), arrays)

    console.data(f"source  {' '.join(map(str, source))}")
    console.data(f"output  {' '.join(map(str, attention.answer.output))} ({'right' if attention.correct else 'wrong'})")
    console.table(
        ("layer", "head", "mass", "hit"),
        [(str(s.layer), "mean" if s.head is None else str(s.head), f"{s.mass:.3f}", f"{s.hit:.3f}") for s in scores],
    )
    console.data(f"picture: {path}")
    console.document(
        {
            "run": str(model.run),
            "source": source,
            "output": attention.answer.output,
            "anti_diagonal": scores_to_json(scores),
            "out": str(path),
        }
    )
