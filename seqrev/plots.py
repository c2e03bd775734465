"""Arrays to pictures (PNG, SVG or PDF). Knows nothing of models or runs, and keeps no global state (no pyplot)."""

import io
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from seqrev.errors import InputError, StorageError, UsageError
from seqrev.files import write_whole

FORMATS = ("png", "svg", "pdf")
_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "exact": "#009E73"}  # Okabe and Ito: safe for the colour-blind
_CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # no "building the font cache" on the first start


def check_format(path: Path, formats: Sequence[str] = FORMATS) -> str:
    """The format that a file's suffix asks for.

    Raises:
        UsageError: it is none of ``formats``.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in formats:
        raise UsageError(f"{path} must end in {', '.join('.' + name for name in formats)}.", f"map.{formats[0]}")
    return suffix


def save_figure(figure: Figure, path: Path) -> None:
    """Draw a figure in the format of the path's suffix; the file appears whole or not at all.

    Raises:
        UsageError: an unknown suffix.
        InputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=check_format(path), dpi=160)
    _write(path, buffer.getvalue())


def loss_curve(metrics: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Training and validation loss (log scale), and below them the exact match on validation, over the steps.

    Args:
        metrics: rows of ``metrics.jsonl``.
        title: stands above the picture.
    """
    train = [row for row in metrics if row.get("event") == "train"]
    validation = [row for row in metrics if row.get("event") == "validation"]
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.suptitle(title)
    steps, losses = [row["step"] for row in train], [row["loss"] for row in train]
    above.semilogy(steps, losses, color=_COLOURS["train"], alpha=0.25, linewidth=0.8)
    above.semilogy(steps, _smooth(losses), color=_COLOURS["train"], label="training (bold: smoothed)")
    style: dict[str, Any] = {"marker": "o", "markersize": 5}
    steps = [row["step"] for row in validation]
    above.semilogy(steps, [row["loss"] for row in validation], color=_COLOURS["validation"], label="validation", **style)
    above.set_ylabel("cross-entropy (nats per token)")
    above.legend(frameon=False)
    above.grid(alpha=0.3)
    below.plot(steps, [row["exact_match"] for row in validation], color=_COLOURS["exact"], **style)
    below.set_ylabel("exact match")
    below.set_ylim(-0.05, 1.05)
    below.set_xlabel("step")
    below.set_xlim(left=0)
    below.grid(alpha=0.3)
    return figure


def _smooth(losses: Sequence[float]) -> NDArray[np.float64]:
    """The geometric mean over a sliding window: batches of short sequences are easier than those of long ones."""
    logs = np.log(np.maximum(np.array(losses, dtype=np.float64), 1e-12))
    reach = len(logs) // 40
    smoothed = [logs[max(0, place - reach) : place + reach + 1].mean() for place in range(len(logs))]
    return np.array([math.exp(value) for value in smoothed])


@dataclass(frozen=True)
class Curve:
    """Exact match of one model at several lengths."""

    label: str
    lengths: Sequence[int]
    exact_match: Sequence[float]
    intervals: Sequence[tuple[float, float]]


def accuracy_by_length(curves: Sequence[Curve], trained: tuple[int, int], title: str) -> Figure:
    """Exact match against length (log axis), with 95 % intervals; the lengths seen in training are shaded.

    Args:
        curves: one for each model.
        trained: shortest and longest length in training.
        title: stands above the picture.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.axvspan(*trained, color="0.9", label=f"training lengths {trained[0]} to {trained[1]}")
    for index, curve in enumerate(curves):
        colour, marker = _CYCLE[index % len(_CYCLE)], "osD^vPX*"[index // len(_CYCLE) % 8]
        low, high = zip(*curve.intervals, strict=True)
        axes.fill_between(curve.lengths, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(curve.lengths, curve.exact_match, color=colour, marker=marker, markersize=5, label=curve.label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("length of the sequence")
    axes.set_ylabel("exact match")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="center left" if len(curves) == 1 else "best")
    return figure


def attention_maps(
    weights: NDArray[np.floating[Any]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    head: int | None = None,
) -> Figure:
    """Heatmaps of one layer: the mean over the heads, large, and every head beside it; or one head alone.

    Args:
        weights: ``[head, tgt, src]``, each row summing to one; the colour scale is 0 to 1 everywhere.
        row_labels: the token emitted at each target step.
        column_labels: the source tokens.
        title: stands above the picture.
        head: counted from 1: draw only this one; None: all of them.
    """
    heads, rows, columns = weights.shape
    cell = min(0.42, 9.0 / max(rows, columns))  # inches
    width, height = max(3.0, cell * columns), max(2.4, cell * rows)
    margin_x, margin_y = 1.1, 1.9  # for labels and titles
    alone = head is not None or heads == 1
    across = math.ceil(math.sqrt(heads))
    down = math.ceil(heads / across)
    figure = Figure(figsize=((1 if alone else 2) * width + 1 + margin_x, max(3.2, height + margin_y)), layout="constrained")
    figure.suptitle(title, fontsize=10)
    if alone:
        shown = head or 1
        shared: list[Axes] = [figure.add_subplot()]
        image = _heatmap(shared[0], weights[shown - 1], row_labels, column_labels)
        shared[0].set_title(f"head {shown} of {heads}", fontsize=9)
    else:
        grid = figure.add_gridspec(down, 2 * across)
        shared = [figure.add_subplot(grid[:, :across])]
        image = _heatmap(shared[0], weights.mean(axis=0), row_labels, column_labels)
        shared[0].set_title(f"mean of {heads} heads", fontsize=9)
        for index in range(heads):
            axes = figure.add_subplot(grid[index // across, across + index % across])
            _heatmap(axes, weights[index], (), ())
            axes.set_title(f"head {index + 1}", fontsize=9)
            shared.append(axes)
    figure.colorbar(image, ax=shared, label="attention weight", shrink=0.9)
    return figure


def _heatmap(
    axes: Axes, weights: NDArray[np.floating[Any]], row_labels: Sequence[str], column_labels: Sequence[str]
) -> AxesImage:
    """One map; without labels it is a small one, whose axes are those of the large one beside it."""
    image = axes.imshow(weights, cmap="viridis", vmin=0.0, vmax=1.0, interpolation="nearest", aspect="equal")
    if not row_labels:
        axes.set_xticks([])
        axes.set_yticks([])
        return image
    axes.set_xlabel("source position (token read)")
    axes.set_ylabel("target step (token emitted)")
    _label(axes.xaxis, column_labels, upright=True)
    _label(axes.yaxis, row_labels)
    return image


def _label(axis: Axis, labels: Sequence[str], upright: bool = False) -> None:
    """Name every position as long as there is room; beyond that number them."""
    if len(labels) > 26:
        axis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        return
    axis.set_ticks(range(len(labels)), labels, fontsize=8)
    for text in axis.get_ticklabels() if upright else ():
        text.set_rotation(90 if len(text.get_text()) > 2 else 0)


def save_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write named arrays to a compressed ``.npz``; the file appears whole or not at all.

    Raises:
        UsageError: another suffix.
        InputError: the file cannot be written.
    """
    check_format(path, ("npz",))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except StorageError as error:
        raise InputError(str(error), "--out with a folder that exists and can be written") from None
