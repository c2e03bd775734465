"""Curves: a training over its steps, several trainings in one picture, and what is right at which length."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from seqrev.plotting.figures import ThemedFigure, themed
from seqrev.plotting.style import MARKERS, Theme, ThemeName, escape_mathtext, find_theme

_Row = Mapping[str, Any]
_Line = tuple[str, int, str, str]  # its name, the number of its colour, the event and the key of its values
_PANELS: Mapping[str, Sequence[_Line]] = {
    "loss (nats per token)": (("training", 0, "train", "loss"), ("validation", 1, "validation", "loss")),
    "exact match": (("", 2, "validation", "exact_match"),),
    "anti-diagonal": (("mass", 3, "validation", "mass"), ("hit", 5, "validation", "hit")),
    "learning rate": (("", 6, "train", "lr"),),
}
_COMPARED = {  # of several runs: the event and the key
    "training loss": ("train", "loss"),
    "validation loss": ("validation", "loss"),
    "exact match": ("validation", "exact_match"),
}
_HEIGHTS = {"loss (nats per token)": 2.4, "learning rate": 0.8, "training loss": 1.8, "validation loss": 1.8}  # else 1
_ROOM = 0.01  # of the width of the axis: for the bar of an interval
_LONGEST = 59  # letters of a name in a legend


@dataclass(frozen=True)
class Curve:
    """What one model has right at several lengths."""

    label: str
    lengths: Sequence[int]
    exact_match: Sequence[float]
    intervals: Sequence[tuple[float, float]]
    token_accuracy: Sequence[float] | None = None
    """Drawn below, if it is given."""


@themed
def training_curves(
    metrics: Sequence[_Row], title: str, alignment: str = "anti-diagonal", *, theme: Theme | ThemeName = "paper"
) -> Figure:
    """The rows of ``metrics.jsonl`` over the steps: losses, exact match, anti-diagonal, learning rate.

    ``alignment``: what the alignment of the rule looks like. A panel for which there is nothing in the metrics (those of
    an older version) is left out.
    """
    rows = [row for row in metrics if row.get("event") in ("train", "validation")]
    kept = {(row["event"], key) for row in rows for key in row if row[key] is not None}
    labels = [label for label, lines in _PANELS.items() if any(line[2:] in kept for line in lines)]
    figure, panels = _panels(labels, title, max(row["step"] for row in rows), find_theme(theme))
    for label, axes in panels.items():
        _draw_history(axes, label, rows, find_theme(theme))
        if label == "anti-diagonal":
            axes.set_ylabel(alignment)
    return figure


@themed
def compare_trainings(runs: Mapping[str, Sequence[_Row]], title: str, *, theme: Theme | ThemeName = "paper") -> Figure:
    """Losses and exact match over the steps of several trainings, by their names; each has the rows of its metrics."""
    theme = find_theme(theme)
    found = {
        label: {name: points for name, rows in runs.items() if (points := _points(rows, event, key)).size}
        for label, (event, key) in _COMPARED.items()
    }
    found = {label: curves for label, curves in found.items() if curves}
    last = max(points[0, -1] for curves in found.values() for points in curves.values())
    names = list(runs)
    columns, rows = _legend_shape([escape_mathtext(name, _LONGEST) for name in names], theme)
    figure, panels = _panels(list(found), title, last, theme, 0.2 * rows * theme.scale)
    for label, axes in panels.items():
        for name, (steps, values) in found[label].items():
            colour, marker = _look(names.index(name), theme)
            smooth = _smooth(values) if label == "training loss" else values
            often = max(1, len(steps) // 12)
            look: dict[str, Any] = {"color": colour, "marker": marker, "markevery": often, "clip_on": False}
            axes.plot(steps, smooth, label=escape_mathtext(name, _LONGEST), **look)
    handles = {line.get_label(): line for axes in panels.values() for line in axes.get_lines()}
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=columns)
    return figure


@themed
def accuracy_by_length(
    curves: Sequence[Curve], trained: tuple[int, int], title: str, *, theme: Theme | ThemeName = "paper"
) -> Figure:
    """Exact match against length (log axis), with 95 % intervals; from shortest to longest, ``trained`` is shaded.

    Below it the token accuracy, where a curve has it.
    """
    theme = find_theme(theme)
    columns, rows = _legend_shape([escape_mathtext(curve.label, _LONGEST) for curve in curves], theme, more=1)
    shown = [*trained, *(length for curve in curves for length in curve.lengths)]
    tokens = any(curve.token_accuracy is not None for curve in curves)
    height = (4.3 + 2.2 * tokens + 0.19 * rows) * math.sqrt(theme.scale)
    figure = ThemedFigure(theme, figsize=(7.5 * math.sqrt(theme.scale), height), layout="constrained")
    above, *below = figure.subplots(1 + tokens, 1, sharex=True, height_ratios=(2, 1)[: 1 + tokens], squeeze=False)[:, 0]
    for axes in (above, *below):
        axes.axvspan(*trained, color=theme.shade, linewidth=0, label=f"training lengths {trained[0]} to {trained[1]}")
        axes.set(xscale="log", xlim=(0.9 * min(shown), max(shown) / 0.9), ylim=(-0.03, 1.03))
        axes.grid()
    for index, curve in enumerate(curves):
        colour, marker = _look(index, theme)
        look = {"color": colour, "marker": marker, "markevery": max(1, len(curve.lengths) // 20)}
        _draw_intervals(above, curve, colour, theme)
        above.plot(curve.lengths, curve.exact_match, label=escape_mathtext(curve.label, _LONGEST), **look)
        for axes in below if curve.token_accuracy is not None else ():
            axes.plot(curve.lengths, curve.token_accuracy, **look)
    above.set_ylabel("exact match")
    for axes in below:
        axes.set_ylabel("token accuracy")
    figure.suptitle(escape_mathtext(title), fontsize=theme.large)
    _name_lengths((above, *below)[-1], shown, theme)
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure


def _draw_intervals(axes: Axes, curve: Curve, colour: str, theme: Theme) -> None:
    """The interval of each length, and of nothing between them: a bar, or, where lengths are close, a band with steps.

    So a wide one, as of the only sequence of length 1, is no wide area.
    """
    lengths, (low, high) = np.array(curve.lengths), np.array(curve.intervals).T
    gaps = np.diff(np.log(lengths), prepend=-np.inf, append=np.inf)
    left, right = np.log(axes.get_xlim())
    close = np.minimum(gaps[:-1], gaps[1:]) < _ROOM * (right - left)
    axes.fill_between(lengths, low, high, close, step="mid", color=colour, alpha=0.25, linewidth=0)
    axes.vlines(lengths[~close], low[~close], high[~close], color=colour, linewidth=0.9 * theme.scale)


def _name_lengths(axes: Axes, lengths: Sequence[int], theme: Theme) -> None:
    """The lengths 1, 2, 5, 10, … as numbers, as far as there is room."""
    axes.set_xlabel("length of the sequence")
    crowded = max(lengths) > 20_000 / theme.scale**4 * min(lengths)  # the labels of 50,000 and 100,000 would touch
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if crowded else (1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")


def _look(index: int, theme: Theme) -> tuple[str, str]:
    """Colour and marker of one of many curves; each has its own marker, for those to whom colours are not enough."""
    return theme.curves[index % len(theme.curves)], MARKERS[index % len(MARKERS)]


def in_legend(words: Sequence[str]) -> str:
    """The first of some words, and of the others as many as a legend has room for.

    >>> in_legend(["001", "lr=0.001", "a" * 60, "heads=2"])
    '001 lr=0.001 …'
    """
    lengths = itertools.accumulate(len(word) + 1 for word in words)
    fitting = max(1, sum(length <= _LONGEST - 1 for length in lengths))  # and " …"
    whole = " ".join(words)
    return whole if len(whole) <= _LONGEST else " ".join([*words[:fitting], "…"])


def _legend_shape(labels: Sequence[str], theme: Theme, more: int = 0) -> tuple[int, int]:
    """Columns and rows of a legend below the curves, clear of all of them; ``more``: other entries than these."""
    letters = (100 if theme.wide else 120) / math.sqrt(theme.scale)
    columns = max(1, min(4, int(letters / (max(map(len, labels), default=0) + 10))))
    return columns, math.ceil((len(labels) + more) / columns)


def _panels(
    labels: Sequence[str], title: str, last: float, theme: Theme, legend: float = 0.0
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel for each quantity, above one another, or in a wide theme the others beside the first.

    ``last``: step at the end of the axis; ``legend``: inches for it.
    """
    ratios = [_HEIGHTS.get(label, 1.0) for label in labels]
    others = max(1, len(labels) - 1)
    if theme.wide:
        size, mosaic = (13.3, 7.0 + legend), [[labels[0], *labels[index : index + 1]] for index in range(1, others + 1)]
        options: dict[str, Any] = {}
    else:
        size, mosaic = (7.0, 1.2 + 1.1 * sum(ratios) + legend), [[label] for label in labels]
        options = {"height_ratios": ratios}
    figure = ThemedFigure(theme, figsize=size, layout="constrained")
    figure.suptitle(escape_mathtext(title))
    panels: dict[str, Axes] = figure.subplot_mosaic(cast(Any, mosaic), sharex=True, **options)
    for label, axes in panels.items():
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid()
        if "loss" in label:
            axes.set_yscale("log")
        elif label == "learning rate":
            axes.ticklabel_format(axis="y", scilimits=(-2, 3))
        else:
            axes.set_ylim(-0.03, 1.03)
        if not theme.wide or label in (labels[0], labels[-1]):
            axes.set_xlim(0, last)
    for label in {labels[0], labels[-1]} if theme.wide else {labels[-1]}:
        panels[label].set_xlabel("step")
    figure.align_ylabels()
    return figure, panels


def _points(rows: Sequence[_Row], event: str, key: str) -> NDArray[np.float64]:
    """The values of a quantity, ``[2, row]``: steps, values."""
    points = [(row["step"], row[key]) for row in rows if row.get("event") == event and row.get(key) is not None]
    return np.array(points, dtype=np.float64).reshape(-1, 2).T


def _draw_history(axes: Axes, label: str, rows: Sequence[_Row], theme: Theme) -> None:
    """One quantity over the steps, its lines named at their ends; of a single point, which is no line, with its value."""
    ends = []
    for name, number, event, key in _PANELS[label]:
        steps, values = _points(rows, event, key)
        if not steps.size:
            continue
        colour, marker = theme.curves[number], "o" if event == "validation" else ""
        if name == "training":
            axes.fill_between(steps, *_range(values), color=colour, alpha=0.2, linewidth=0)
            values = _smooth(values)
        axes.plot(steps, values, color=colour, marker=marker, label=name, clip_on=False)
        ends.append((values[-1], name if len(steps) > 1 else f"{name} {values[-1]:.3g}".strip(), colour))
    if label == "learning rate":
        axes.set_ylim(bottom=0)
    beside = ("axes fraction", "data")
    for index, (value, name, colour) in enumerate(sorted(ends)):  # above one another where the ends of curves meet
        offset = (6 * theme.scale, (12 * index - 6 * (len(ends) - 1)) * theme.scale)  # points
        axes.annotate(name, (1, value), offset, beside, "offset points", color=colour, va="center")


def _reach(losses: NDArray[np.float64]) -> int:
    """How many losses on either side of each one a smooth curve takes into account."""
    return len(losses) // 40


def _range(losses: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest over the window that is smoothed over, but at least over the two neighbours."""
    reach = max(1, _reach(losses))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(losses, reach, "edge"), 2 * reach + 1)
    return windows.min(axis=1), windows.max(axis=1)


def _smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The geometric mean over a sliding window: batches of short sequences are easier than those of long ones."""
    logs = np.log(np.maximum(losses, 1e-12))
    window = np.ones(2 * _reach(losses) + 1)
    smoothed: NDArray[np.float64] = np.convolve(logs, window, "same") / np.convolve(np.ones_like(logs), window, "same")
    return np.exp(smoothed)
