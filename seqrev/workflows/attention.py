"""``seqrev attention``: draw where a model looks, how that was learned, and what its heads do."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seqrev.api.attention import SeenAttention
from seqrev.api.reverser import Reverser
from seqrev.data.dataset import load_split
from seqrev.data.sequences import example
from seqrev.interpret.alignment import AntiDiagonal
from seqrev.interpret.attention import Attention
from seqrev.interpret.attention_kinds import Kind, check_layer_and_head
from seqrev.interpret.heads import HeadReport, report_heads
from seqrev.interpret.snapshots import AttentionSnapshot, load_snapshots
from seqrev.plotting.export import (
    ARRAYS,
    FORMATS,
    check_format,
    picture_errors,
    save_animation,
    save_arrays,
    save_figure,
    save_page,
)
from seqrev.runs.folders import Run
from seqrev.system.threads import limit_threads
from seqrev.workflows.evaluate import run_of

if TYPE_CHECKING:
    from seqrev.plotting.style import ThemeName


@dataclass(frozen=True)
class View:
    """Which maps to draw, and how. Layer and head from 1; None: the last and the mean, large, and all of them, small."""

    kind: Kind = "cross"
    layer: int | None = None
    head: int | None = None
    guide: bool = True
    """Frame where a perfect model would look."""
    theme: "ThemeName" = "paper"


def draw(
    model: Reverser,
    sequence: Sequence[int] | None = None,
    view: View = View(),
    beam: int = 1,
    out: Path | None = None,
    arrays: Path | None = None,
    on_warning: Callable[[str], None] = lambda message: None,
) -> tuple[Attention, Path]:
    """Draw where a model looks while it answers a sequence: ``look``, then ``save``.

    Raises:
        UsageError, InputError, PictureError: as these two do.
    """
    attention = look(model, sequence, view, beam, out, arrays)
    return attention, save(attention, model.run, view, out, arrays, on_warning)


def look(
    model: Reverser,
    sequence: Sequence[int] | None = None,
    view: View = View(),
    beam: int = 1,
    out: Path | None = None,
    arrays: Path | None = None,
) -> SeenAttention:
    """Where a model looks while it answers a sequence (None: one of the test split of its run), for a picture to be saved.

    Raises:
        UsageError: no such layer or head, another suffix, or a sequence that the model does not take.
        InputError: there is no test split.
    """
    check_layer_and_head(model.config.model, view.kind, view.layer, view.head)
    if out is not None:
        check_format(out, (*FORMATS, "html"))
    else:
        run_of(model)
    if arrays is not None:
        check_format(arrays, ARRAYS)
    return model.attention(held_out_example(model) if sequence is None else sequence, beam)


def save(
    attention: SeenAttention,
    run: Run | None,
    view: View = View(),
    out: Path | None = None,
    arrays: Path | None = None,
    on_warning: Callable[[str], None] = lambda message: None,
) -> Path:
    """Save the picture of what was seen; returns its path.

    That is ``out``, a ``.png``, ``.svg`` or ``.pdf``, or ``.html`` for a page in which the model lives; None: numbered in
    the run's ``attention`` folder. ``arrays``, an ``.npz`` file, gets all maps and labels. ``on_warning`` is told of stages
    of the training that are damaged.

    Raises:
        InputError: a file cannot be written.
        PictureError: the picture cannot be drawn.
    """
    if arrays is not None:
        save_arrays(attention.to_arrays(), arrays)
    with picture_errors(), picture_path(run, out, ".png") as path:
        if path.suffix.lower() == ".html":
            save_page(attention.page(view.kind, view.layer, view.head, on_warning), path)
        else:
            save_figure(attention.plot(view.kind, view.layer, view.head, view.guide, theme=view.theme), path)
    return path


@dataclass(frozen=True)
class History:
    """How the cross-attention of a held-out sequence was learned: snapshots of the training, and the score of each."""

    snapshots: list[AttentionSnapshot]
    scores: list[AntiDiagonal]


def draw_over_time(
    run: Run, view: View = View(), out: Path | None = None
) -> tuple[list[AttentionSnapshot], list[AntiDiagonal], Path]:
    """Draw how the cross-attention of a held-out sequence was learned: ``look_back``, then ``save_over_time``.

    Raises:
        UsageError, InputError, PictureError: as these two do.
    """
    history = look_back(run, view, out)
    return history.snapshots, history.scores, save_over_time(history, run, view, out)


def look_back(run: Run, view: View = View(), out: Path | None = None) -> History:
    """The snapshots that a training has saved, for a picture to be saved.

    Raises:
        UsageError: no such layer or head, or another suffix.
        InputError: there are no snapshots, or they are damaged.
    """
    if out is not None:
        check_format(out, ("gif", *FORMATS))
    run.check()
    config = run.config()
    check_layer_and_head(config.model, "cross", view.layer, view.head)
    layer = view.layer or config.model.decoder_layers
    snapshots = load_snapshots(run.snapshots, config.task.rule)
    return History(snapshots, [snapshot.score(layer, view.head) for snapshot in snapshots])


def save_over_time(history: History, run: Run, view: View = View(), out: Path | None = None) -> Path:
    """Save the picture; returns its path: ``out``, or a numbered GIF in the run.

    A ``.gif`` is an animation of the snapshots that differ visibly; ``.png``, ``.svg`` or ``.pdf`` a strip of all.

    Raises:
        InputError: the file cannot be written.
        PictureError: the picture cannot be drawn.
    """
    layer, name = history.scores[0].layer, str(run)
    with picture_errors(), picture_path(run, out, ".gif") as path:
        from seqrev.plotting.attention import draw_snapshot, draw_strip, visibly_different  # which import Matplotlib

        if path.suffix.lower() == ".gif":
            chosen = visibly_different(history.snapshots, layer, view.head)
            save_animation(
                (draw_snapshot(one, name, layer, view.head, view.guide, theme=view.theme) for one in chosen), path
            )
        else:
            save_figure(draw_strip(history.snapshots, name, layer, view.head, theme=view.theme), path)
    return path


def picture_path(run: Run | None, out: Path | None, suffix: str) -> AbstractContextManager[Path]:
    """``out``, or the next number in the run's ``attention`` folder, which is free again if nothing was written."""
    if out is not None:
        return nullcontext(out)
    assert run is not None  # one of them is there: ``look`` refuses a model that comes from no run
    return run.output("attention", suffix)


def report(model: Reverser) -> HeadReport:
    """What every head does, over the test split of the model's run; an ``InputError`` where that is missing or damaged."""
    rows = load_split(run_of(model).data, "test", model.config)
    with limit_threads(model.config.train.threads):
        return report_heads(model.model, rows)


def held_out_example(model: Reverser) -> list[int]:
    """A sequence of the test split of the model's run, to be shown as an example."""
    return example(load_split(run_of(model).data, "test", model.config))
