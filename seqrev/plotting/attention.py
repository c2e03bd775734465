"""What was recorded of a model as figures and pages: which map, which labels, which words above it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from seqrev.interpret.attention import Attention
from seqrev.interpret.attention_kinds import ATTENTION_NAMES, Kind, check_layer_and_head
from seqrev.interpret.snapshots import AttentionSnapshot
from seqrev.plotting.heatmaps import LabelledMap, Map, attention_figure, axis_labels, snapshots_figure
from seqrev.plotting.page import Learned, Stage, attention_page
from seqrev.plotting.style import Theme, ThemeName, find_theme
from seqrev.system.text import shorten_sequence
from seqrev.task import alignment_name

VISIBLE = 0.05  # a change of a weight that is seen in its colour


def draw_attention(
    attention: Attention,
    name: str,
    kind: Kind = "cross",
    layer: int | None = None,
    head: int | None = None,
    guide: bool = True,
    *,
    theme: Theme | ThemeName = "paper",
) -> Figure:
    """One kind of attention as a figure: the head mean of a layer, large, and every head of every layer, small.

    A ``layer``, counted from 1, is drawn without the others, and a ``head`` alone, in the last layer if none is given.
    The ``guide`` frames the cells of the alignment, which only cross-attention has.

    Raises:
        UsageError: there is no such layer or head.
    """
    check_layer_and_head(attention.config, kind, layer, head)
    grid = attention.all_weights(kind)
    shown = layer or len(grid)
    title = [
        f"{name}: {ATTENTION_NAMES[kind]}",
        " → ".join(map(shorten_sequence, (attention.source, attention.answer.output))),
        f"the answer is {attention.verdict}",
    ]
    if kind == "cross":
        score = attention.anti_diagonal(shown)[head or 0]
        title[-1] += f"; {alignment_name(attention.rule)} {score.describe(2)}" if not math.isnan(score.mass) else ""
    weights, caption = _map_of(grid, shown, head)
    alignment = attention.alignment if guide and kind == "cross" else ()
    large = LabelledMap(weights, *axis_labels(kind, *attention.tokens(kind)), caption, alignment)
    small = grid if layer is None else grid[layer - 1 : layer]
    alone = head is not None or small.shape[:2] == (1, 1)
    return attention_figure(large, title, None if alone else small, layer or 1, theme=theme)


def draw_page(
    attention: Attention,
    name: str,
    stages: Sequence[Stage],
    kind: Kind = "cross",
    layer: int | None = None,
    head: int | None = None,
    longest_source: int | None = None,
) -> str:
    """A live page, HTML: the model answers in it, beginning with this sequence, at the ``stages`` of its training.

    The last stage is the model itself. Where a page cannot compute with it, or there is no stage, the page has the maps of
    this sequence. Kind, layer and head, as in ``draw_attention``, are of the map that is large at first. Of a sequence with
    more symbols than ``longest_source``, the longest of its training, the page says so.

    Raises:
        UsageError: there is no such layer or head, or there is too much for a page.
    """
    check_layer_and_head(attention.config, kind, layer, head)
    learned = Learned(attention.rule, longest_source, attention.longest_answer)
    title = f"{name}: {attention.rule}"
    return attention_page(attention.to_arrays(), attention.config, learned, title, stages, (kind, layer, head))


def draw_snapshot(
    snapshot: AttentionSnapshot,
    name: str,
    layer: int,
    head: int | None,
    guide: bool,
    *,
    theme: Theme | ThemeName = "paper",
) -> Figure:
    """Cross-attention at one step of a training, with its numbers below; all snapshots of a run have one size."""
    expected = map(str, snapshot.target)
    emitted, columns = axis_labels("cross", [*expected, "<EOS>"], ["<BOS>", *map(str, snapshot.source), "<EOS>"])
    rows = replace(emitted, meaning="token given next")
    weights, caption = _map_of(snapshot.cross, layer, head)
    large = LabelledMap(weights, rows, columns, caption, snapshot.alignment if guide else ())
    numbers = [one.replace(", ", "  ") for one in _numbers(snapshot, layer, head)]
    return attention_figure(large, _title(snapshot, name), footer="    ".join(numbers), theme=theme)


def draw_strip(
    snapshots: Sequence[AttentionSnapshot],
    name: str,
    layer: int,
    head: int | None,
    *,
    theme: Theme | ThemeName = "paper",
) -> Figure:
    """All snapshots of a training, side by side."""
    between = "\n" if find_theme(theme).wide else "  "  # of the score, in the caption of a map
    maps = [_map_of(snapshot.cross, layer, head) for snapshot in snapshots]
    return snapshots_figure(
        [weights for weights, _ in maps],
        ["\n".join(_numbers(snapshot, layer, head)).replace(", ", between) for snapshot in snapshots],
        [*_title(snapshots[0], name), f"{maps[0][1]}; rows: target steps, columns: source"],
        theme=theme,
    )


def visibly_different(snapshots: Sequence[AttentionSnapshot], layer: int, head: int | None) -> list[AttentionSnapshot]:
    """The first, the last, and those between whose map differs from the one before by at least ``VISIBLE`` somewhere.

    For an animation: at first a training changes little, and its first eight maps would be one grey picture.
    """
    first, *between, last = snapshots if len(snapshots) > 1 else [*snapshots, *snapshots]
    kept = [first]
    for snapshot in between:
        before, now = (_map_of(one.cross, layer, head)[0] for one in (kept[-1], snapshot))
        if np.abs(now - before).max() >= VISIBLE:
            kept.append(snapshot)
    return kept if last is first else [*kept, last]


def _map_of(grid: Map, layer: int, head: int | None) -> tuple[Map, str]:
    """From ``[layer, head, tgt, src]`` the map of a head, or the mean over the heads, and what it is in words."""
    layers, heads = grid.shape[:2]
    of_heads = "" if heads == 1 else f", mean of {heads} heads" if head is None else f", head {head} of {heads}"
    weights: Map = grid[layer - 1].mean(axis=0) if head is None else grid[layer - 1, head - 1]
    return weights, f"layer {layer} of {layers}{of_heads}"


def _title(snapshot: AttentionSnapshot, name: str) -> list[str]:
    return [f"{name}: cross-attention in training", f"a held-out sequence, {' '.join(map(str, snapshot.source))}"]


def _numbers(snapshot: AttentionSnapshot, layer: int, head: int | None) -> list[str]:
    score = snapshot.score(layer, head)
    return [f"step {snapshot.step:,}", f"loss {snapshot.loss:#.2g}", score.describe(2)]
