"""``seqrev attention``: draw where a model looks, how that was learned, and what its heads do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqrev.api.reverser import Reverser
from seqrev.data.dataset import load_split
from seqrev.data.sequences import example
from seqrev.interpret.alignment import AntiDiagonal
from seqrev.interpret.attention import Attention
from seqrev.interpret.attention_kinds import Kind, check_layer_and_head
from seqrev.interpret.heads import HeadReport, report_heads
from seqrev.interpret.snapshots import AttentionSnapshot, load_snapshots
from seqrev.plotting.attention import draw_attention, draw_page, draw_snapshot, draw_strip
from seqrev.plotting.export import FORMATS, check_format, save_animation, save_arrays, save_figure, save_page
from seqrev.runs.folders import Run
from seqrev.system.threads import limit_threads
from seqrev.workflows.evaluate import run_of


@dataclass(frozen=True)
class View:
    """Which maps to draw: layer and head, counted from 1. None: the last and the mean, large, and all of them, small."""

    kind: Kind = "cross"
    layer: int | None = None
    head: int | None = None
    guide: bool = True
    """Frame where a perfect model would look."""


def draw(
    model: Reverser,
    sequence: Sequence[int] | None = None,
    view: View = View(),
    beam: int = 1,
    out: Path | None = None,
    arrays: Path | None = None,
) -> tuple[Attention, Path]:
    """Draw where a model looks while it answers a sequence (None: one of the test split of its run).

    Returns what was seen, and the path of the picture: ``out``, a ``.png``, ``.svg`` or ``.pdf``, or ``.html`` for a page;
    None: numbered in the run's ``attention`` folder. ``arrays``, an ``.npz`` file, gets all maps and labels.

    Raises:
        UsageError: no such layer or head, another suffix, or a sequence that the model does not take.
        InputError: a file cannot be written, or there is no test split.
    """
    check_layer_and_head(model.config.model, view.kind, view.layer, view.head)
    if out is not None:
        check_format(out, (*FORMATS, "html"))
    if arrays is not None:
        check_format(arrays, ("npz",))
    attention = model.attention(held_out_example(model) if sequence is None else sequence, beam)
    path = out or run_of(model).numbered("attention", ".png")
    name = str(model.run or "a model")
    if path.suffix.lower() == ".html":
        save_page(draw_page(attention, name, view.kind, view.layer, view.head), path)
    else:
        save_figure(draw_attention(attention, name, view.kind, view.layer, view.head, view.guide), path)
    if arrays is not None:
        save_arrays(attention.to_arrays(), arrays)
    return attention, path


def draw_over_time(
    run: Run, view: View = View(), out: Path | None = None
) -> tuple[list[AttentionSnapshot], list[AntiDiagonal], Path]:
    """Draw how the cross-attention of a held-out sequence was learned, from the snapshots that its training saved.

    Returns the snapshots, the score of each, and the path of the picture: ``out``, a ``.gif``, or ``.png``, ``.svg`` or
    ``.pdf`` for a strip; None: a GIF, numbered in the run.

    Raises:
        UsageError: no such layer or head, or another suffix.
        InputError: there are no snapshots, or the file cannot be written.
    """
    if out is not None:
        check_format(out, ("gif", *FORMATS))
    run.check()
    config = run.config()
    shape = config.model
    check_layer_and_head(shape, "cross", view.layer, view.head)
    layer = view.layer or shape.decoder_layers
    snapshots = load_snapshots(run.snapshots, config.task.rule)
    path = out or run.numbered("attention", ".gif")
    if path.suffix.lower() == ".gif":
        save_animation((draw_snapshot(one, str(run), layer, view.head, view.guide) for one in snapshots), path)
    else:
        save_figure(draw_strip(snapshots, str(run), layer, view.head), path)
    return snapshots, [snapshot.score(layer, view.head) for snapshot in snapshots], path


def report(model: Reverser) -> HeadReport:
    """What every head does, over the test split of the model's run; an ``InputError`` where that is missing or damaged."""
    rows = load_split(run_of(model).data, "test", model.config)
    with limit_threads(model.config.train.threads):
        return report_heads(model.model, rows)


def held_out_example(model: Reverser) -> list[int]:
    """A sequence of the test split of the model's run, to be shown as an example."""
    return example(load_split(run_of(model).data, "test", model.config))
