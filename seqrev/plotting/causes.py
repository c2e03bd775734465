"""What experiments on a model have shown, as figures: influence, patching, and the residual stream."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from seqrev.interpret.attention_kinds import ATTENTION_NAMES
from seqrev.interpret.influence import Influence
from seqrev.interpret.patching import INPUTS, Patching, PathPatching
from seqrev.interpret.residual import ResidualReading
from seqrev.plotting.style import MEDIUM, PALETTE, SMALL, fit_line

Values = NDArray[np.floating[Any]]
SIGNED_PALETTE = "RdBu"  # of what may be negative: red below zero, white at zero, blue above; safe for the colour-blind
_CELL, _LINE = 0.36, 0.15  # inches: an ordinary cell; room for a line of small text
_TALLEST, _WIDEST = 4.2, 6.0  # inches of a map; where there is more to show, cells become smaller
_NAMES: dict[str, str] = {
    **dict(ATTENTION_NAMES.items()),
    "residual.encoder": "residual stream, encoder",
    "residual.decoder": "residual stream, decoder",
}


def draw_influence(found: Influence, name: str, layer: int | None = None, head: int | None = None) -> Figure:
    """Attention to the symbols beside their influence, and how well each row of the one predicts that of the other."""
    seen, picture = found.seen, found.attention(layer, head)
    symbols, emitted = [str(symbol) for symbol in seen.source], seen.emitted_tokens
    cell = _cell(len(emitted), len(symbols))
    width, height = cell * len(symbols), cell * len(emitted)
    title = [
        f"{name}: what is attended to, and what matters",
        f"correlation of all cells: {_number(found.agreement(picture))}",
    ]
    figure = _figure(2 * max(width, 1.6) + 2.6, height + 1.5, title)
    left, right = figure.subplots(1, 2)
    layer = layer or seen.config.decoder_layers
    caption = f"attention, layer {layer}, {'head mean' if head is None else f'head {head}'}"
    _map(left, picture, emitted, symbols, caption)
    image = _map(right, found.effect, emitted, symbols, "influence: probability lost")
    for axes in (left, right):
        axes.set_xlabel("symbol of the source", fontsize=MEDIUM)
    left.set_ylabel("token emitted", fontsize=MEDIUM)
    if len(emitted) * _LINE <= height:  # room for a number in each row
        right.yaxis.tick_right()
        right.set_yticks(range(len(emitted)), [_number(row) for row in found.by_row(picture)])
        right.yaxis.set_label_position("right")
        right.set_ylabel("correlation of the row", fontsize=MEDIUM)
    figure.colorbar(image, ax=(left, right), ticks=(0, 0.5, 1)).ax.tick_params(labelsize=SMALL)
    return figure


def draw_patching(found: Patching, name: str) -> Figure:
    """How much of the clean answer every activation brings back: the encoder on the left, the decoder on the right."""
    same_length = len(found.clean) == len(found.corrupt)
    pairs = zip(found.clean, found.corrupt, strict=False)
    source = ["<BOS>", *(_either(str(one), str(other)) for one, other in pairs), "<EOS>"]
    steps = [_either(*tokens) for tokens in zip(found.emitted, found.instead, strict=True)]
    kinds: list[list[str | None]] = [["residual.encoder", "residual.decoder"], ["encoder", "decoder"], [None, "cross"]]
    if not same_length:
        kinds = [[kind] for _, kind in kinds]
    rows = [max(len(found.maps[kind].points) for kind in line if kind) for line in kinds]
    columns = [len(steps) + 2] if not same_length else [len(source) + 2, len(steps) + 2]
    cell = min(_CELL, 2 * _TALLEST / sum(rows), _WIDEST / max(columns))
    title = [
        f"{name}: what brings the clean answer back",
        f"clean {' '.join(map(str, found.clean))}    corrupt {' '.join(map(str, found.corrupt))}",
    ]
    heights = [cell * count for count in rows]
    figure = _figure(sum(max(cell * count, 1.8) + 1.5 for count in columns), sum(heights) + 0.95 * len(rows) + 0.6, title)
    grid = figure.subplots(len(kinds), len(columns), height_ratios=heights, width_ratios=columns, squeeze=False)
    for line, row in zip(kinds, grid, strict=True):
        for kind, axes in zip(line, row, strict=True):
            if kind is None:
                axes.set_axis_off()
                continue
            one = found.maps[kind]
            tokens = source if "encoder" in kind else steps
            values = np.column_stack((one.whole, np.full(len(one.points), np.nan), one.recovery))
            labels = ["all", "", *tokens]
            image = _map(axes, values, [_short(point) for point in one.points], labels, _NAMES[kind], signed=True)
            axes.set_xlabel("source position" if "encoder" in kind else "target step", fontsize=MEDIUM)
            axes.set_ylabel("layer" if kind.startswith("residual") else "layer.head", fontsize=MEDIUM)
    place = {"cax": grid[-1, 0].inset_axes((0.05, 0.55, 0.9, 0.08))} if same_length else {"ax": grid[:, 0], "aspect": 40}
    bar = figure.colorbar(image, **place, orientation="horizontal" if same_length else "vertical", ticks=(-1, 0, 1))
    bar.set_label("recovery: 0 corrupt, 1 clean", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def draw_path(found: PathPatching, name: str) -> Figure:
    """What one head sends to each later head."""
    cell = _cell(len(found.receivers), len(INPUTS))
    title = [
        f"{name}: what {found.sender} sends",
        " ".join(_either(*tokens) for tokens in zip(found.emitted, found.instead, strict=True)),
    ]
    figure = _figure(4.6, cell * len(found.receivers) + 1.5, title)
    axes = figure.subplots()
    image = _map(axes, found.recovery, found.receivers, INPUTS, "recovery through one input", signed=True)
    axes.set_ylabel("head that receives", fontsize=MEDIUM)
    _bar(figure, image, axes, "recovery: 0 corrupt, 1 clean", (-1, 0, 1))
    return figure


def draw_residual(reading: ResidualReading, name: str) -> Figure:
    """What would be emitted at each layer, and below it what each part adds to the logit of the emitted token."""
    steps = reading.seen.emitted_tokens
    best = reading.most_probable()
    probabilities = np.array([[probability for _, probability in row] for row in best])
    added = reading.of_emitted()
    kept = [index for index, part in enumerate(reading.parts) if not part.startswith("bias.")]
    rest = np.delete(added, kept, axis=0).sum(axis=0)
    parts = [*(reading.parts[index] for index in kept), "biases of the heads"]
    values = np.vstack((added[kept], rest))
    cell = min(_CELL, 1.4 * _TALLEST / len(parts), _WIDEST / len(steps))
    heights = [cell * len(best), cell * len(parts)]
    figure = _figure(max(cell * len(steps) + 3.2, 4.6), sum(heights) + 2.6, [f"{name}: the residual stream of the decoder"])
    upper, lower = figure.subplots(2, 1, height_ratios=heights)
    layers = [str(layer) for layer in range(len(best))]
    image = _map(upper, probabilities, layers, steps, "what would be emitted after each layer", texts=False)
    for (row, step), probability in np.ndenumerate(probabilities):
        token = best[row][step][0].strip("<>")
        colour = "black" if probability > 0.6 else "white"
        upper.text(step, row, token, ha="center", va="center", fontsize=SMALL - 1.5, color=colour)
    upper.set_ylabel("after layer", fontsize=MEDIUM)
    _bar(figure, image, upper, "probability", (0, 0.5, 1))
    most = max(1.0, float(np.abs(values).max()))
    image = _map(lower, values, parts, steps, "added to the logit of the emitted token", signed=True, most=most)
    _bar(figure, image, lower, "less the mean of all logits", None)
    for axes in (upper, lower):
        axes.set_xlabel("token emitted", fontsize=MEDIUM)
    return figure


def _bar(figure: Figure, image: AxesImage, axes: Axes, label: str, ticks: Sequence[float] | None) -> None:
    bar = figure.colorbar(image, ax=axes, ticks=ticks, aspect=30)
    bar.set_label(label, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)


def _map(
    axes: Axes, values: Values, rows: Sequence[str], columns: Sequence[str], caption: str, signed: bool = False, **more: Any
) -> AxesImage:
    """One labelled map, from 0 to 1, or signed from −``most`` to ``most``; with numbers where there is room."""
    most = more.get("most", 1.0)
    image = axes.imshow(values, SIGNED_PALETTE if signed else PALETTE, vmin=-most if signed else 0.0, vmax=most)
    axes.set_title(caption, fontsize=MEDIUM, pad=4)
    axes.tick_params(labelsize=SMALL, length=2)
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        every = -(-len(names) // 40)
        places = [place for place in range(0, len(names), every) if names[place]]
        axis.set_ticks(places, [names[place] for place in places])
    if max(map(len, columns)) > 2 and len(columns) > 3:
        axes.tick_params(axis="x", labelrotation=90)
    if more.get("texts", True) and max(values.shape) <= 30:
        for (row, column), value in np.ndenumerate(values):
            if abs(value) >= 0.05 * most:
                share = value / most
                light = abs(share) < 0.6 if signed else share > 0.6
                axes.text(
                    column,
                    row,
                    f"{value:.2g}" if most > 1 else f"{value:.2f}".lstrip("0") if value < 0.995 else "1",
                    ha="center",
                    va="center",
                    fontsize=SMALL - 1.5,
                    color="black" if light else "white",
                )
    return image


def _figure(width: float, height: float, title: Sequence[str]) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle("\n".join(fit_line(line, width - 0.4, MEDIUM) for line in title), fontsize=MEDIUM, linespacing=1.5)
    return figure


def _cell(rows: int, columns: int) -> float:
    return min(_CELL, _TALLEST / rows, _TALLEST / columns)


def _short(point: str) -> str:
    """A point by its numbers."""
    return point.lstrip("abcdefghijklmnopqrstuvwxyz_.")


def _either(one: str, other: str) -> str:
    """A token, or what it is in the clean and in the corrupt run."""
    return one if one == other else f"{one}/{other}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
