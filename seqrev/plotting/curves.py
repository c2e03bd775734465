"""Curves: a training over its steps, and exact match over the length of the sequence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from seqrev.plotting.style import CURVE_COLOURS, CURVE_MARKERS, LARGE, MEDIUM, SMALL, escape_mathtext

_Row = Mapping[str, Any]
_PANELS = {  # label and, for every line: its name, its colour, the event and the key of its values
    "loss (nats per token)": (("training", 0, "train", "loss"), ("validation", 1, "validation", "loss")),
    "exact match": (("", 2, "validation", "exact_match"),),
    "anti-diagonal": (("mass", 3, "validation", "mass"), ("hit", 4, "validation", "hit")),
    "learning rate": (("", 6, "train", "lr"),),
}
_HEIGHTS = {"loss (nats per token)": 2.4, "learning rate": 0.8}  # of the others 1


@dataclass(frozen=True)
class Curve:
    """Exact match of one model at several lengths."""

    label: str
    lengths: Sequence[int]
    exact_match: Sequence[float]
    intervals: Sequence[tuple[float, float]]


def training_curves(metrics: Sequence[_Row], title: str, alignment: str = "anti-diagonal") -> Figure:
    """The rows of ``metrics.jsonl`` over the steps: losses, exact match, anti-diagonal, learning rate.

    ``alignment``: what the alignment of the rule looks like. A panel for which there is nothing in the metrics (those of
    an older version) is left out.
    """
    rows = [row for row in metrics if row.get("event") in ("train", "validation")]
    kept = {(row["event"], key) for row in rows for key in row if row[key] is not None}
    labels = [label for label, lines in _PANELS.items() if any(line[2:] in kept for line in lines)]
    heights = [_HEIGHTS.get(label, 1.0) for label in labels]
    figure = Figure(figsize=(7.0, 1.2 + 1.1 * sum(heights)), layout="constrained")
    figure.suptitle(escape_mathtext(title), fontsize=LARGE)
    column = figure.subplots(len(labels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, label in zip(column, labels, strict=True):
        _panel(axes, label, rows)
        if label == "anti-diagonal":
            axes.set_ylabel(alignment)
    column[-1].set(xlabel="step", xlim=(0, max(row["step"] for row in rows)))
    figure.align_ylabels()
    return figure


def accuracy_by_length(curves: Sequence[Curve], trained: tuple[int, int], title: str) -> Figure:
    """Exact match against length (log axis), with 95 % intervals; from shortest to longest, ``trained`` is shaded."""
    labels = [escape_mathtext(curve.label, 59) for curve in curves]
    columns = max(1, min(4, 120 // (max(map(len, labels), default=0) + 10)))
    rows = math.ceil((len(labels) + 1) / columns)  # of the legend, which is below, clear of all curves
    figure = Figure(figsize=(7.5, 4.3 + 0.2 * rows), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(*trained, color="0.9", label=f"training lengths {trained[0]} to {trained[1]}")
    for index, curve in enumerate(curves):
        colour = CURVE_COLOURS[index % len(CURVE_COLOURS)]
        marker = CURVE_MARKERS[index // len(CURVE_COLOURS) % len(CURVE_MARKERS)]
        low, high = zip(*curve.intervals, strict=True)
        axes.fill_between(curve.lengths, low, high, color=colour, alpha=0.12, linewidth=0)
        if len(curve.lengths) == 1:  # of which the band has no width
            axes.vlines(curve.lengths, low, high, color=colour, alpha=0.4)
        axes.plot(curve.lengths, curve.exact_match, color=colour, marker=marker, markersize=5, label=labels[index])
    axes.set_title(escape_mathtext(title))
    axes.set(xscale="log", xlabel="length of the sequence", ylabel="exact match", ylim=(-0.03, 1.03))
    shown = [*trained, *(length for curve in curves for length in curve.lengths)]
    crowded = max(shown) > 20_000 * min(shown)  # the labels of 50,000 and 100,000 would touch
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if crowded else (1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, fontsize=SMALL, loc="outside lower center", ncols=columns)
    return figure


def _panel(axes: Axes, label: str, rows: Sequence[_Row]) -> None:
    """One quantity over the steps, its lines named at their ends."""
    ends = []
    for name, number, event, key in _PANELS[label]:
        points = [(row["step"], row[key]) for row in rows if row["event"] == event and row.get(key) is not None]
        if not points:
            continue
        steps, values = np.array(points, dtype=np.float64).T
        colour, marker = CURVE_COLOURS[number], "o" if event == "validation" else ""
        if name == "training":
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            values = _smooth(values)
        axes.plot(steps, values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=name, clip_on=False)
        ends.append((values[-1], name, colour))
    axes.set_ylabel(label, fontsize=MEDIUM)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    if label.startswith("loss"):
        axes.set_yscale("log")
    elif label == "learning rate":
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    else:
        axes.set_ylim(-0.03, 1.03)
    beside = ("axes fraction", "data")
    for index, (value, name, colour) in enumerate(sorted(ends)):  # above one another where the ends of curves meet
        offset = (6, 12 * index - 6 * (len(ends) - 1))  # points
        axes.annotate(name, (1, value), offset, beside, "offset points", color=colour, fontsize=MEDIUM, va="center")


def _smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The geometric mean over a sliding window: batches of short sequences are easier than those of long ones."""
    logs = np.log(np.maximum(losses, 1e-12))
    window = np.ones(2 * (len(logs) // 40) + 1)
    smoothed: NDArray[np.float64] = np.convolve(logs, window, "same") / np.convolve(np.ones_like(logs), window, "same")
    return np.exp(smoothed)
