"""Attention maps to figures: one large map above a grid of small ones. Knows nothing of models or runs.

Every place is computed here, in inches, instead of by a layout engine: what fits is known before anything is drawn, and a
picture costs less time than importing what draws it. For the same reason all small maps share one pair of axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from seqrev.console import literal

Map = NDArray[np.floating[Any]]
PALETTE = "viridis"  # perceptually uniform, and safe for the colour-blind
_GUIDE = "#FF8A5B"  # stands out from both ends of the palette
_LARGEST, _CELL = 5.0, 0.42  # inches: the longer side of the large map, and its largest cell
_BAND = 1.3  # inches: the height of the longest title of an axis
_LINE, _CHARACTER = 0.14, 0.085  # inches: room for a line, and for the widest character, of _FONT
_FONT = 8.0
_WIDTH = 7.4  # inches for the grid, if it needs them
_GAP, _MARGIN = 0.1, 0.2


@dataclass(frozen=True)
class Labels:
    """What stands along one axis of a map."""

    title: str
    named_by: str
    """What the tokens are, as in "token read"."""
    tokens: Sequence[str]
    first: int = 0
    """The number of the first position; where there is no room for tokens, positions are numbered."""

    def fit(self, inches: float) -> bool:
        """Whether there is room to name every position."""
        return inches >= _LINE * len(self.tokens)


def attention_figure(
    large: Map,
    grid: Map,
    rows: Labels,
    columns: Labels,
    title: Sequence[str],
    caption: str,
    guide: Sequence[int] = (),
    layers: Sequence[int] = (),
    footer: str = "",
) -> Figure:
    """Heatmaps on one scale from 0 to 1: one large map with its labels, below it a grid of small ones.

    Args:
        large: ``[tgt, src]``.
        grid: ``[layer, head, tgt, src]``; without layers or heads there is no grid.
        rows: the labels of ``tgt``.
        columns: the labels of ``src``.
        title: lines above the picture; what is too long is cut.
        caption: stands above the large map.
        guide: for each of the first rows the column where the largest weight should be; drawn as two thin lines that
            have these cells between them.
        layers: numbers of the layers in the grid.
        footer: stands below the picture.
    """
    height, width = _large_size(large)
    left, bottom = _room_for(rows, height), _room_for(columns, width, upright=True)
    panel_width, panel_height, grid_width, grid_height = _grid_size(grid)
    total_width = max(5.2, left + width + 0.9 + _MARGIN, grid_width + 2 * _MARGIN)
    above = _MARGIN + 0.2 * len(title) + 0.3
    band = max(height, _BAND)  # a low map must not be lower than the titles beside it
    total_height = above + band + bottom + grid_height + 0.2 * bool(footer) + _MARGIN
    figure = Figure(figsize=(total_width, total_height))

    for number, line in enumerate(title):
        text = _cut(line, total_width - 2 * _MARGIN)
        figure.text(0.5, 1 - (_MARGIN + 0.2 * number) / total_height, text, ha="center", va="center", fontsize=9)
    x = left + (total_width - left - width - 0.9 - _MARGIN) / 2
    axes = _axes(figure, x, above + (band - height) / 2, width, height)
    axes.set_title(caption, fontsize=9, pad=4)
    image = _draw(axes, large)
    if guide:
        _draw_guide(axes, guide, large)
    _label(axes.xaxis, columns, width, upright=True)
    _label(axes.yaxis, rows, height)
    bar = figure.colorbar(image, cax=_axes(figure, x + width + 0.15, above, 0.12, band), ticks=(0, 0.5, 1))
    bar.set_label("attention weight", fontsize=_FONT)
    bar.ax.tick_params(labelsize=_FONT)

    _text(figure, total_width / 2, total_height - 0.5 * _MARGIN - 0.1, footer)
    x, y = (total_width - grid_width) / 2, above + band + bottom
    canvas = _canvas(figure)
    for row in range(grid.shape[0] if grid_height else 0):
        top = y + 0.25 + row * (panel_height + _GAP)
        _text(figure, x, top + panel_height / 2, f"layer {layers[row]}", ha="left")
        for head in range(grid.shape[1]):
            from_left = x + 0.6 + head * (panel_width + _GAP)
            if not row:
                name = f"head {head + 1}" if panel_width > 7 * _CHARACTER else str(head + 1)
                _text(figure, from_left + panel_width / 2, y + 0.15, name)
            _draw(canvas, grid[row, head], (from_left, top, panel_width, panel_height))
    return figure


def frames_figure(maps: Sequence[Map], below: Sequence[str], title: Sequence[str]) -> Figure:
    """A strip of maps, in rows of at most eight, each with some lines of text below it.

    Args:
        maps: ``[tgt, src]`` each, of one shape.
        below: what stands below each.
        title: lines above the picture.
    """
    down = -(-len(maps) // 8)
    across = -(-len(maps) // down)  # so that no row is much shorter than the others
    height, width = _large_size(maps[0], 1.2)
    step_x, step_y = max(width, 1.25) + 0.15, height + _LINE * (1 + max(text.count("\n") for text in below)) + 0.3
    above = _MARGIN + 0.2 * len(title) + 0.1
    total_width, total_height = max(5.2, across * step_x + 2 * _MARGIN), above + down * step_y + 0.1
    figure = Figure(figsize=(total_width, total_height))
    for number, line in enumerate(title):
        text = _cut(line, total_width - 2 * _MARGIN)
        figure.text(0.5, 1 - (_MARGIN + 0.2 * number) / total_height, text, ha="center", va="center", fontsize=9)
    canvas = _canvas(figure)
    for number, (one, text) in enumerate(zip(maps, below, strict=True)):
        x = (total_width - across * step_x) / 2 + number % across * step_x
        y = above + number // across * step_y
        _draw(canvas, one, (x + (step_x - width) / 2, y, width, height))
        _text(figure, x + step_x / 2, y + height + 0.08, text, va="top")
    return figure


def _large_size(weights: Map, largest: float = _LARGEST) -> tuple[float, float]:
    """Height and width in inches; cells are squares unless the map is very long and thin."""
    rows, columns = weights.shape
    cell = min(_CELL, largest / max(rows, columns))
    return max(cell * rows, 0.3), max(cell * columns, 0.6)


def _grid_size(grid: Map) -> tuple[float, float, float, float]:
    """Width and height of a panel, and of the whole grid with its labels, in inches."""
    layers, heads, rows, columns = grid.shape
    if not layers * heads:
        return 0.0, 0.0, 0.0, 0.0
    width = min(1.5, max((_WIDTH - 0.6) / heads - _GAP, columns / 130, 0.25))  # where it can be, a pixel for each cell
    height = float(np.clip(width * rows / columns, 0.2, 1.5 * width))
    return width, height, 0.6 + heads * (width + _GAP), 0.25 + layers * (height + _GAP)


def _room_for(labels: Labels, inches: float, upright: bool = False) -> float:
    """Inches beside a map for its labels and the title of the axis."""
    widest = max(map(len, labels.tokens)) if labels.fit(inches) else len(str(labels.first + len(labels.tokens)))
    return 0.45 + 0.15 * (not upright) + (_LINE if upright and not labels.fit(inches) else widest * _CHARACTER)


def _label(axis: Axis, labels: Labels, inches: float, upright: bool = False) -> None:
    """Name every position if there is room; else number some."""
    cell = inches / len(labels.tokens)
    named = labels.fit(inches)
    between = " " if upright else "\n"
    axis.set_label_text(f"{labels.title}{between}({labels.named_by})" if named else labels.title, fontsize=9)
    if named:
        axis.set_ticks(range(len(labels.tokens)), labels.tokens, fontsize=_FONT)
        for text, token in zip(axis.get_ticklabels() if upright else (), labels.tokens, strict=False):
            text.set_rotation(90 if len(token) * _CHARACTER > cell else 0)
        return
    end = labels.first + len(labels.tokens)
    room = (len(str(end)) + 1) * _CHARACTER
    step = next(step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if step * cell >= room)
    numbers = range(step, end, step)
    axis.set_ticks([number - labels.first for number in numbers], list(map(str, numbers)), fontsize=_FONT)


def _draw(axes: Axes, weights: Map, place: tuple[float, float, float, float] | None = None) -> AxesImage:
    """One map; it fills the axes, or a place of it: left, top, width and height.

    Where there are fewer pixels than cells, weights are averaged, not colours.
    """
    extent = None
    if place is not None:
        left, top, width, height = place
        extent = (left, left + width, top + height, top)
    return axes.imshow(weights, cmap=PALETTE, vmin=0.0, vmax=1.0, aspect="auto", interpolation_stage="data", extent=extent)


def _draw_guide(axes: Axes, guide: Sequence[int], weights: Map) -> None:
    """Frame a cell in each of the first rows; where cells are small, beside them, not to cover them."""
    edges = np.arange(len(guide)).repeat(2) + np.tile((-0.5, 0.5), len(guide))
    dense = max(weights.shape) > 100
    beside = 0.5 + max(weights.shape) / 80 * dense
    for shift in (-beside, beside):
        axes.plot(np.repeat(guide, 2) + shift, edges, color=_GUIDE, linewidth=0.4 if dense else 0.8)
    for column, edge in ((guide[0], edges[0]), (guide[-1], edges[-1])):  # both ends are closed; the first is on the axis
        axes.hlines(edge, column - beside, column + beside, color=_GUIDE, linewidth=0.4 if dense else 0.8, clip_on=False)
    axes.set_xlim(-0.5, weights.shape[1] - 0.5)
    axes.set_ylim(weights.shape[0] - 0.5, -0.5)


def _canvas(figure: Figure) -> Axes:
    """Axes over the whole figure that are not drawn, in inches from the upper left corner."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    width, height = figure.get_size_inches()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return axes


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, ``top`` from the upper edge."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _text(figure: Figure, x: float, y: float, text: str, ha: str = "center", va: str = "center") -> None:
    """Small text at a place in inches, ``y`` from the upper edge."""
    across, down = figure.get_size_inches()
    figure.text(x / across, 1 - y / down, text, ha=ha, va=va, fontsize=_FONT)


def _cut(line: str, inches: float) -> str:
    """A line of a title, cut to the width of the figure."""
    most = int(inches / 0.075)  # the width of most characters of the titles' font
    return literal(line if len(line) <= most else line[: most - 1] + "…")
