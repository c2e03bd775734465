"""Attention maps as figures: one large map above a grid of small ones, or a strip of maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from seqrev.interpret.attention_kinds import Kind
from seqrev.plotting.figures import ThemedFigure, themed
from seqrev.plotting.style import Theme, ThemeName, find_theme, fit_line

Map = NDArray[np.floating[Any]]
_MAP, _CELL, _LOW = 5.0, 0.42, 1.4  # inches: longest side of a large map; its usual cell; room for a title beside it
_LINE, _CHARACTER = 0.14, 0.085  # inches: room for a line, and for the widest character, of small text in the first theme
_GRID, _BESIDE, _GAP = 7.0, 6.5, 0.1  # inches: width of the grid, if it needs them, below or beside; between its maps


@dataclass(frozen=True)
class AxisLabels:
    """The labels along one axis of a map; where there is no room for tokens, positions are numbered from ``first``."""

    title: str
    meaning: str  # of the tokens, as in "token read"
    tokens: Sequence[str]
    first: int = 0


def axis_labels(kind: Kind, rows: Sequence[str], columns: Sequence[str]) -> tuple[AxisLabels, AxisLabels]:
    """The labels of the rows and of the columns. Source position 0 is ``<BOS>``; the first target step is 1."""
    if kind == "encoder":
        return AxisLabels("source position", "query token", rows), AxisLabels("source position", "key token", columns)
    emitted = AxisLabels("target step", "token emitted", rows, 1)
    if kind == "decoder":
        return emitted, AxisLabels("target step", "token read", columns, 1)
    return emitted, AxisLabels("source position", "token read", columns)


@dataclass(frozen=True)
class LabelledMap:
    """A map ``[tgt, src]`` that is drawn large."""

    weights: Map
    rows: AxisLabels
    columns: AxisLabels
    caption: str
    guide: Sequence[int] = ()
    """For each of the first rows the column where the largest weight should be; these cells are framed."""

    def size(self, scale: float) -> tuple[float, float]:
        """Height and width in inches; cells are squares unless the map is very long and thin. ``scale``: of the labels."""
        height, width = self.weights.shape
        cell = min(_MAP / max(height, width), max(_CELL * scale, _LOW / min(height, width)))
        return max(cell * height, 0.3), max(cell * width, _LOW)


@themed
def attention_figure(
    large: LabelledMap,
    title: Sequence[str],
    grid: Map | None = None,
    first_layer: int = 1,
    footer: str = "",
    *,
    theme: Theme | ThemeName = "paper",
) -> Figure:
    """One large map with its labels, and a grid ``[layer, head, tgt, src]``, its layers numbered from ``first_layer``.

    The grid is below, or in a wide theme beside it.
    """
    theme = find_theme(theme)
    height, width = large.size(theme.scale)
    heights, widths = [max(height, _LOW)], [width + 2.2 * math.sqrt(theme.scale)]
    if grid is not None:
        layers, heads, _, columns = grid.shape
        across = min(1.5, max((_BESIDE if theme.wide else _GRID) / heads - _GAP, columns / 130, 0.25))
        down = across * min(1.5, height / width)  # where it can be, a pixel for each cell
        heights.append(layers * (down + _GAP))
        widths.append(heads * (across + _GAP) + 0.9 * math.sqrt(theme.scale))
    beside = theme.wide and grid is not None
    total = (max(heights) if beside else sum(heights)) + 0.5 * theme.scale * (1 if beside else len(heights))
    total += theme.scale * (0.2 * len(title) + 0.9 + 0.2 * bool(footer))
    figure = _figure(max(5.2 * theme.scale, sum(widths) if beside else max(widths)), total, title, theme)
    if beside:
        upper, *lower = figure.subplots(1, 2, width_ratios=widths, squeeze=False)[0]
    else:
        upper, *lower = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_large(upper, large, theme)
    if grid is not None:
        _draw_grid(lower[0], grid, first_layer, (across, down), theme)
    if footer:
        figure.supxlabel(footer, fontsize=theme.small)
    return figure


@themed
def snapshots_figure(
    maps: Sequence[Map], captions: Sequence[str], title: Sequence[str], *, theme: Theme | ThemeName = "paper"
) -> Figure:
    """A strip of maps ``[tgt, src]`` of one shape, in rows of at most eight (wide: nine), each with a caption below it."""
    theme = find_theme(theme)
    down = -(-len(maps) // (9 if theme.wide else 8))
    across = -(-len(maps) // down)  # so that no row is much shorter than the others
    rows, columns = maps[0].shape
    text = (_LINE * (1 + max(caption.count("\n") for caption in captions)) + 0.25) * theme.scale
    width = max(5.2 * theme.scale, (1.8 if theme.wide else 1.5 * math.sqrt(theme.scale)) * across + 0.2)
    height = min(2.0, (width - 0.2) / across - 0.15) * min(1, rows / columns) + text
    figure = _figure(width, down * height + theme.scale * (0.2 * len(title) + 0.3), title, theme)
    panels = figure.subplots(down, across, squeeze=False).flat
    for weights, caption, axes in zip(maps, captions, panels, strict=False):  # the panels last: zip takes none too many
        _draw_map(axes, weights)
        axes.set(xticks=(), yticks=(), anchor="S")  # on the ground of its place, so that there is room for the caption
        axes.spines[:].set_visible(False)
        axes.set_xlabel(caption, fontsize=theme.small)
    for axes in panels:
        axes.remove()
    return figure


def _figure(width: float, height: float, title: Sequence[str], theme: Theme) -> Figure:
    """An empty figure of a size in inches, with its title, whose lines are cut where they are too long."""
    figure = ThemedFigure(theme, figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    lines = (fit_line(line, width - 0.4, theme.medium) for line in title)
    figure.suptitle("\n".join(lines), fontsize=theme.medium, linespacing=1.5)
    return figure


def _draw_map(axes: Axes, weights: Map, **options: Any) -> AxesImage:
    """One map on the scale from 0 to 1; where there are fewer pixels than cells, weights are averaged, not colours."""
    return axes.imshow(weights, vmin=0.0, vmax=1.0, interpolation_stage="data", **options)


def _draw_large(axes: Axes, large: LabelledMap, theme: Theme) -> None:
    """The large map with its labels, guide and colour bar; coordinates are the numbers of the positions."""
    height, width = large.size(theme.scale)
    rows, columns = large.weights.shape
    left, top = large.columns.first - 0.5, large.rows.first - 0.5
    extent = (left, left + columns, top + rows, top)
    image = _draw_map(axes, large.weights, aspect=height / rows / (width / columns), extent=extent)
    axes.set_title(large.caption, pad=4 * theme.scale)
    _label(axes.xaxis, large.columns, width / theme.scale, upright=True)
    _label(axes.yaxis, large.rows, height / theme.scale)
    if large.guide:
        _draw_guide(axes, large, theme)
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1 + 0.15 / width, 0, 0.12 / width, 1)), ticks=(0, 0.5, 1))
    bar.set_label("attention weight", fontsize=theme.small)


def _label(axis: Axis, labels: AxisLabels, inches: float, upright: bool = False) -> None:
    """Name every position if there is room, ``inches`` for text of the first theme; else number some."""
    count = len(labels.tokens)
    if inches < _LINE * count:
        axis.set_label_text(labels.title)
        axis.set_major_locator(MaxNLocator(max(1, int(inches / 0.4)), steps=(1, 2, 5, 10), integer=True))
        return
    axis.set_label_text(f"{labels.title}{' ' if upright else chr(10)}({labels.meaning})")
    axis.set_ticks(range(labels.first, labels.first + count), labels.tokens)
    for text, token in zip(axis.get_ticklabels() if upright else (), labels.tokens, strict=False):
        text.set_rotation(90 if len(token) * _CHARACTER > inches / count else 0)


def _draw_guide(axes: Axes, large: LabelledMap, theme: Theme) -> None:
    """Frame a cell in each of the first rows; where cells are small, beside them, not to cover them."""
    longest = max(large.weights.shape)
    dense = longest > 100
    beside, linewidth = (0.5 + longest / 80, 0.4) if dense else (0.5, 0.8)
    colour, rim = theme.frame
    guide = np.array(large.guide)
    apart = np.flatnonzero(np.abs(np.diff(guide)) > 1) + 1  # rows whose frame does not touch that of the row above
    for first, rows in zip((0, *apart), np.split(guide, apart), strict=True):
        columns = np.repeat(rows, 2) + large.columns.first
        edges = np.repeat(np.arange(len(rows) + 1), 2)[1:-1] + large.rows.first + first - 0.5
        outline = np.concatenate((np.stack((columns - beside, edges), 1), np.stack((columns + beside, edges), 1)[::-1]))
        frame = Polygon(outline, fill=False, edgecolor=colour, linewidth=linewidth * theme.scale, clip_on=dense, zorder=3)
        frame.set_path_effects([withStroke(linewidth=3 * linewidth * theme.scale, foreground=rim)])
        axes.add_artist(frame)


def _draw_grid(axes: Axes, grid: Map, first_layer: int, size: tuple[float, float], theme: Theme) -> None:
    """Every head of every layer, of a width and a height in inches, on one pair of axes: the layout of many is slow."""
    (layers, heads), (width, height) = grid.shape[:2], size
    left, top = np.arange(heads) * (width + _GAP), np.arange(layers) * (height + _GAP)
    for layer, head in np.ndindex(layers, heads):
        x, y = left[head], top[layer]
        _draw_map(axes, grid[layer, head], extent=(x, x + width, y + height, y))
    axes.set(xlim=(0, left[-1] + width), ylim=(top[-1] + height, 0))
    word = "head " if width > 6 * _CHARACTER * theme.scale else ""
    axes.set_xticks(left + width / 2, [f"{word}{head + 1}" for head in range(heads)])
    axes.set_yticks(top + height / 2, [f"layer {first_layer + layer}" for layer in range(layers)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
