"""What experiments on a model have shown, as figures: influence, patching, and the residual stream."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from seqrev.interpret.attention_kinds import ATTENTION_NAMES
from seqrev.interpret.influence import Influence
from seqrev.interpret.patching import INPUTS, Patching, PathPatching
from seqrev.interpret.residual import ResidualReading
from seqrev.plotting.figures import ThemedFigure, themed
from seqrev.plotting.style import Theme, ThemeName, find_theme, fit_line, readable_on

Values = NDArray[np.floating[Any]]
_CELL, _LEAST, _LINE = 0.36, 0.17, 0.15  # inches in the first theme: a cell with room for a number, the smallest, a line
_TALLEST, _WIDEST = 4.2, 6.0  # inches of a map; where there is more to show, cells become smaller
_NAMES: dict[str, str] = {
    **dict(ATTENTION_NAMES.items()),
    "residual.encoder": "residual stream, encoder",
    "residual.decoder": "residual stream, decoder",
}


@themed
def draw_influence(
    found: Influence,
    name: str,
    layer: int | None = None,
    head: int | None = None,
    *,
    theme: Theme | ThemeName = "paper",
) -> Figure:
    """Attention to the symbols beside their influence, and how well each row of the one predicts that of the other."""
    theme = find_theme(theme)
    seen, picture = found.seen, found.attention(layer, head)
    symbols, emitted = [str(symbol) for symbol in seen.source], seen.emitted_tokens
    cell = _cell(theme, len(emitted), len(symbols))
    width, height = cell * len(symbols), cell * len(emitted)
    title = [
        f"{name}: what is attended to, and what matters",
        f"correlation of all cells: {_number(found.agreement(picture))}",
    ]
    least = 3.9 if theme.wide else 1.6  # inches of the caption of a map
    figure = _figure((2 * max(width, least), 2.6), (height, 1.5), title, theme)
    left, right = figure.subplots(1, 2)
    layer = layer or seen.config.decoder_layers
    caption = f"attention, layer {layer}, {'head mean' if head is None else f'head {head}'}"
    _map(left, picture, (emitted, symbols), caption, theme, numbers=_has_room(cell, theme))
    image = _map(
        right, found.effect, (emitted, symbols), "influence: probability lost", theme, numbers=_has_room(cell, theme)
    )
    for axes in (left, right):
        axes.set_xlabel("symbol of the source")
    left.set_ylabel("token emitted")
    if len(emitted) * _LINE * theme.scale <= height:  # room for a number in each row
        right.yaxis.tick_right()
        right.set_yticks(range(len(emitted)), [_number(row) for row in found.by_row(picture)])
        right.yaxis.set_label_position("right")
        right.set_ylabel("correlation of the row")
    figure.colorbar(image, ax=(left, right), ticks=(0, 0.5, 1))
    return figure


@themed
def draw_patching(found: Patching, name: str, *, theme: Theme | ThemeName = "paper") -> Figure:
    """How much of the clean answer every activation brings back: the encoder on the left, the decoder on the right.

    In a wide theme the encoder is above, the decoder below.
    """
    theme = find_theme(theme)
    same_length = len(found.clean) == len(found.corrupt)
    pairs = zip(found.clean, found.corrupt, strict=False)
    source = ["<BOS>", *(_either(str(one), str(other)) for one, other in pairs), "<EOS>"]
    steps = [_either(*tokens) for tokens in zip(found.emitted, found.instead, strict=True)]
    kinds: list[list[str | None]] = [["residual.encoder", "residual.decoder"], ["encoder", "decoder"], [None, "cross"]]
    if not same_length:
        kinds = [[kind] for _, kind in kinds]
    if theme.wide:
        kinds = [list(line) for line in zip(*kinds, strict=True)]
    rows = [max(len(found.maps[kind].points) for kind in line if kind) for line in kinds]
    tokens = {kind: source if kind and "encoder" in kind else steps for line in kinds for kind in line}
    columns = [max(len(tokens[kind]) + 2 for kind in line) for line in zip(*kinds, strict=True)]
    room = (
        (_TALLEST / sum(rows), _WIDEST / sum(columns)) if theme.wide else (2 * _TALLEST / sum(rows), _WIDEST / max(columns))
    )
    cell = max((_LINE if theme.wide else _LEAST) * theme.scale, min(_CELL * theme.scale, *room))
    title = [
        f"{name}: what brings the clean answer back",
        f"clean {' '.join(map(str, found.clean))}    corrupt {' '.join(map(str, found.corrupt))}",
    ]
    heights = [cell * count for count in rows]
    width = sum(max(cell * count, 1.8) for count in columns)
    words = 0.95 * len(rows) + 0.5 if theme.wide else 1.2 * len(rows) + 0.6
    figure = _figure((width, 1.5 * len(columns)), (sum(heights), words), title, theme)
    grid = figure.subplots(len(kinds), len(columns), height_ratios=heights, width_ratios=columns, squeeze=False)
    for line, row in zip(kinds, grid, strict=True):
        for kind, axes in zip(line, row, strict=True):
            if kind is None:
                axes.set_axis_off()
                free = axes
                continue
            one = found.maps[kind]
            values = np.column_stack((one.whole, np.full(len(one.points), np.nan), one.recovery))
            names = [_short(point) for point in one.points], ["all", "", *tokens[kind]]
            image = _map(axes, values, names, _NAMES[kind], theme, numbers=_has_room(cell, theme), signed=1.0)
            axes.set_xlabel("source position" if "encoder" in kind else "target step")
            axes.set_ylabel("layer" if kind.startswith("residual") else "layer.head")
            axes.set_anchor(
                "S" if theme.wide else "C"
            )  # beside higher maps, so that what is below it is where it was measured
    place = {"cax": free.inset_axes((0.05, 0.55, 0.9, 0.08))} if same_length else {"ax": grid[:, -1], "aspect": 40}
    bar = figure.colorbar(image, **place, orientation="horizontal" if same_length else "vertical", ticks=(-1, 0, 1))
    bar.set_label("recovery: 0 corrupt, 1 clean", fontsize=theme.small)
    return figure


@themed
def draw_path(found: PathPatching, name: str, *, theme: Theme | ThemeName = "paper") -> Figure:
    """What one head sends to each later head."""
    theme = find_theme(theme)
    cell = _cell(theme, len(found.receivers), len(INPUTS))
    title = [
        f"{name}: what {found.sender} sends",
        "answer, clean/corrupt: " + " ".join(_either(*tokens) for tokens in zip(found.emitted, found.instead, strict=True)),
    ]
    figure = _figure((1.0, 3.6), (cell * len(found.receivers), 1.5), title, theme)
    axes = figure.subplots()
    numbers, names = _has_room(cell, theme), (found.receivers, INPUTS)
    image = _map(axes, found.recovery, names, "recovery through one input", theme, numbers=numbers, signed=1.0)
    axes.set_aspect("auto")  # the title needs more room than three columns of squares
    axes.set_ylabel("head that receives")
    _bar(image, axes, "recovery: 0 corrupt, 1 clean", (-1, 0, 1), theme)
    return figure


@themed
def draw_residual(reading: ResidualReading, name: str, *, theme: Theme | ThemeName = "paper") -> Figure:
    """What would be emitted at each layer, and below or beside it what each part adds to the emitted logit."""
    theme = find_theme(theme)
    steps = reading.seen.emitted_tokens
    best = reading.most_probable()
    probabilities = np.array([[probability for _, probability in row] for row in best])
    added = reading.of_emitted()
    kept = [index for index, part in enumerate(reading.parts) if not part.startswith("bias.")]
    rest = np.delete(added, kept, axis=0).sum(axis=0)
    parts = [*(reading.parts[index] for index in kept), "biases of the heads"]
    values = np.vstack((added[kept], rest))
    cell = max(_LEAST * theme.scale, min(_CELL * theme.scale, 1.4 * _TALLEST / len(parts), _WIDEST / len(steps)))
    heights, width = [cell * len(best), cell * len(parts)], max(cell * len(steps), 1.4)
    title = [f"{name}: the residual stream of the decoder"]
    if theme.wide:
        figure = _figure((2.5 * width, 4.6), (max(heights), 1.3), title, theme)
        upper, lower = figure.subplots(1, 2, width_ratios=(1.5, 1))
    else:
        figure = _figure((width, 3.6), (sum(heights), 2.6), title, theme)
        upper, lower = figure.subplots(2, 1, height_ratios=heights)
    layers = [str(layer) for layer in range(len(best))]
    image = _map(upper, probabilities, (layers, steps), "emitted if read there", theme)
    for row, step in np.ndindex(*probabilities.shape) if theme.wide or _has_room(cell, theme) else ():
        _write(upper, image, (row, step), probabilities[row, step], best[row][step][0].strip("<>"), theme)
    upper.set_ylabel("after layer")
    _bar(image, upper, "probability", (0, 0.5, 1), theme)
    most = max(1.0, float(np.abs(values).max()))
    numbers = _has_room(cell, theme)
    image = _map(lower, values, (parts, steps), "added to its logit", theme, numbers=numbers, signed=most)
    _bar(image, lower, "less the mean of all logits", None, theme)
    for axes in (upper, lower):
        axes.set_xlabel("token emitted")
    return figure


def _bar(image: AxesImage, axes: Axes, label: str, ticks: Sequence[float] | None, theme: Theme) -> None:
    place: dict[str, Any] = {"ax": axes, "aspect": 30}
    if theme.wide:  # as high as the map, which need not be as high as its place
        place = {"cax": axes.inset_axes((1.04, 0, 0.04, 1))}
    axes.figure.colorbar(image, **place, ticks=ticks).set_label(label, fontsize=theme.small)


def _map(
    axes: Axes,
    values: Values,
    names: tuple[Sequence[str], Sequence[str]],
    caption: str,
    theme: Theme,
    *,
    numbers: bool = False,
    signed: float = 0.0,
) -> AxesImage:
    """One map with the names of its rows and columns, from 0 to 1, or from −``signed`` to ``signed``, and its numbers."""
    palette, least, most = (theme.signed_palette, -signed, signed) if signed else (theme.palette, 0.0, 1.0)
    image = axes.imshow(values, palette, vmin=least, vmax=most)
    axes.set_title(caption, pad=4 * theme.scale)
    for axis, labels in zip((axes.yaxis, axes.xaxis), names, strict=True):
        every = -(-len(labels) // 40)
        places = [place for place in range(0, len(labels), every) if labels[place]]
        axis.set_ticks(places, [labels[place] for place in places])
    columns = names[1]
    if max(map(len, columns)) > 2 and len(columns) > 3:
        axes.tick_params(axis="x", labelrotation=90)
    for place, value in np.ndenumerate(values) if numbers else ():
        if abs(value) >= 0.05 * most:
            text = f"{value:.2g}" if most > 1 else f"{value:.2f}".lstrip("0") if value < 0.995 else "1"
            _write(axes, image, place, value, text, theme)
    return image


def _write(axes: Axes, image: AxesImage, place: tuple[int, ...], value: Any, text: str, theme: Theme) -> None:
    """Write into a cell, so that it can be read on the colour of the cell."""
    row, column = place
    colour = readable_on(to_rgb(image.to_rgba(np.array([value]))[0]))
    size = (1 if theme.wide else 0.8) * theme.small
    axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def _figure(width: tuple[float, float], height: tuple[float, float], title: Sequence[str], theme: Theme) -> Figure:
    """A figure of a size in inches, each the sum of what the maps take and what the words beside them take."""
    across, up = (maps + theme.scale * words for maps, words in (width, height))
    figure = ThemedFigure(theme, figsize=(across, up), layout="constrained")
    lines = (fit_line(line, across - 0.4, theme.medium) for line in title)
    figure.suptitle("\n".join(lines), fontsize=theme.medium, linespacing=1.5)
    return figure


def _cell(theme: Theme, rows: int, columns: int) -> float:
    return max(_LEAST * theme.scale, min(_CELL * theme.scale, _TALLEST / rows, _TALLEST / columns))


def _has_room(cell: float, theme: Theme) -> bool:
    """Whether a number fits into a cell."""
    return cell >= 0.7 * _CELL * theme.scale


def _short(point: str) -> str:
    """A point by its numbers."""
    return point.lstrip("abcdefghijklmnopqrstuvwxyz_.")


def _either(one: str, other: str) -> str:
    """A token, or what it is in the clean and in the corrupt run."""
    return one if one == other else f"{one}/{other}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
