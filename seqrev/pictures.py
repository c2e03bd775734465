"""From what was seen of a model to pictures: which map, which labels, which words above it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from seqrev import explorer
from seqrev.heatmaps import Labels, Map, attention_figure, frames_figure
from seqrev.interpret import NAMES, Attention, Kind
from seqrev.learning import Frame
from seqrev.task import apply_rule


def draw_attention(
    attention: Attention,
    name: str,
    kind: Kind = "cross",
    layer: int | None = None,
    head: int | None = None,
    guide: bool = True,
) -> Figure:
    """One kind of attention as a figure: the head mean of a layer, large, above every head of every layer.

    Args:
        attention: what was seen.
        name: of the run.
        kind: which attention.
        layer: only this layer, counted from 1; None: the last one large, and all of them below.
        head: only this head (of the last layer, unless ``layer`` says another).
        guide: frame the cells where the rule looks; only cross-attention has them.
    """
    grid = attention.all_weights(kind)
    count, heads = grid.shape[:2]
    shown = layer or count
    weights = attention.weights(kind, shown)
    first = shown if layer else 1
    grid = grid[first - 1 : shown]
    if head is not None or grid.shape[:2] == (1, 1):
        grid = grid[:, :0]
    title = [
        f"{name}: {NAMES[kind]}",
        f"{' '.join(map(str, attention.source))} → {' '.join(map(str, attention.answer.output))}",
        "the answer is " + ("right" if attention.correct else "wrong"),
    ]
    if kind == "cross":
        score = attention.anti_diagonal(shown)[head or 0]
        title[-1] += f"; anti-diagonal mass {score.mass:.2f}, hit {score.hit:.2f}"
    return attention_figure(
        weights.mean(axis=0) if head is None else weights[head - 1],
        grid,
        *axis_labels(attention, kind),
        title,
        _which(shown, count, head, heads),
        attention.right_places if guide and kind == "cross" else (),
        range(first, shown + 1),
    )


def draw_page(
    attention: Attention, name: str, kind: Kind = "cross", layer: int | None = None, head: int | None = None
) -> str:
    """Every kind, layer and head as a page to explore, HTML; the arguments are those of ``draw_attention``.

    Raises:
        UsageError: the extra that it takes is not installed, or there is too much for a page.
    """
    layers = range(1, len(attention.maps.cross) + 1)
    scores = [score for layer in layers for score in attention.anti_diagonal(layer)]
    captions = [f"anti-diagonal mass {score.mass:.3f}, hit {score.hit:.3f}" for score in scores]
    verdict = "right" if attention.correct else "wrong"
    return explorer.page(attention.to_arrays(), captions, f"{name}: the answer is {verdict}", kind, layer, head)


def axis_labels(attention: Attention, kind: Kind) -> tuple[Labels, Labels]:
    """What stands along the rows and along the columns. Source position 0 is ``<BOS>``; the first target step is 1."""
    rows, columns = attention.tokens(kind)
    if kind == "encoder":
        return Labels("source position", "token that looks", rows), Labels("source position", "token looked at", columns)
    emitted = Labels("target step", "token emitted", rows, 1)
    if kind == "decoder":
        return emitted, Labels("target step", "token read", columns, 1)
    return emitted, Labels("source position", "token read", columns)


def draw_frame(frame: Frame, name: str, layer: int, head: int | None, guide: bool) -> Figure:
    """What was kept at one step of a training, with its numbers below; all frames of a run have one size."""
    expected = [str(symbol) for symbol in apply_rule(np.array(frame.source))]
    rows = Labels("target step", "token given next", [*expected, "<EOS>"], 1)
    columns = Labels("source position", "token read", ["<BOS>", *map(str, frame.source), "<EOS>"])
    return attention_figure(
        _one(frame, layer, head),
        frame.cross[:0],
        rows,
        columns,
        _frame_title(frame, name),
        _which(layer, len(frame.cross), head, frame.cross.shape[1]),
        frame.right_places if guide else (),
        footer="    ".join(_numbers(frame, layer, head)),
    )


def draw_strip(frames: Sequence[Frame], name: str, layer: int, head: int | None) -> Figure:
    """All that was kept of a training, side by side."""
    title = _frame_title(frames[0], name)
    title.append(
        _which(layer, len(frames[0].cross), head, frames[0].cross.shape[1]) + "; rows: target steps, columns: source"
    )
    below = ["\n".join(_numbers(frame, layer, head)) for frame in frames]
    return frames_figure([_one(frame, layer, head) for frame in frames], below, title)


def _frame_title(frame: Frame, name: str) -> list[str]:
    return [f"{name}: cross-attention in training", f"a held-out sequence, {' '.join(map(str, frame.source))}"]


def _one(frame: Frame, layer: int, head: int | None) -> Map:
    weights: Map = frame.cross[layer - 1]
    mean: Map = weights.mean(axis=0)
    return mean if head is None else weights[head - 1]


def _numbers(frame: Frame, layer: int, head: int | None) -> list[str]:
    score = frame.score(layer, head)
    return [f"step {frame.step:,}", f"loss {frame.loss:#.2g}", f"mass {score.mass:.2f}  hit {score.hit:.2f}"]


def _which(layer: int, layers: int, head: int | None, heads: int) -> str:
    """What a map is of, in words."""
    which = "" if heads == 1 else f", mean of {heads} heads" if head is None else f", head {head} of {heads}"
    return f"layer {layer} of {layers}{which}"
