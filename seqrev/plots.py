"""Curves of a training and of an evaluation, and how figures are saved (PNG, SVG, PDF, GIF). No global state, no pyplot."""

import io
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray
from PIL import Image

from seqrev.console import literal
from seqrev.errors import InputError, StorageError, UsageError
from seqrev.files import write_whole

FORMATS = ("png", "svg", "pdf")
_CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe, Ito: for the colour-blind
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


def save_film(figures: Iterable[Figure], path: Path, seconds: float = 0.6, pause: float = 3.0) -> None:
    """Write figures of one size as an animated GIF that begins again after a pause.

    Raises:
        UsageError: another suffix.
        InputError: the file cannot be written.
    """
    check_format(path, ("gif",))
    pages = []
    for figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        pages.append(Image.open(buffer).convert("RGB").quantize(dither=Image.Dither.NONE))
    buffer = io.BytesIO()
    times = [round(1000 * seconds)] * (len(pages) - 1) + [round(1000 * pause)]
    pages[0].save(buffer, format="GIF", save_all=True, append_images=pages[1:], duration=times, loop=0)
    _write(path, buffer.getvalue())


def training_curves(metrics: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """What happened in a training, over its steps: losses, exact match, anti-diagonal, learning rate.

    A panel for which there is nothing in the metrics (those of an older version) is left out.

    Args:
        metrics: rows of ``metrics.jsonl``.
        title: stands above the picture.
    """
    train = [row for row in metrics if row.get("event") == "train"]
    validation = [row for row in metrics if row.get("event") == "validation"]
    panels = [
        ("loss (nats per token)", 2.4, [_Line("training", train, "loss", 0), _Line("validation", validation, "loss", 1)]),
        ("exact match", 1.0, [_Line("", validation, "exact_match", 2)]),
        ("anti-diagonal", 1.0, [_Line("mass", validation, "mass", 3), _Line("hit", validation, "hit", 4)]),
        ("learning rate", 0.8, [_Line("", train, "lr", 6)]),
    ]
    panels = [panel for panel in panels if any(line.key in row for line in panel[2] for row in line.rows)]
    heights = [height for _, height, _ in panels]
    figure = Figure(figsize=(7.0, 1.2 + 1.1 * sum(heights)), layout="constrained")
    figure.suptitle(literal(title), fontsize=11)
    column = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (label, _, lines) in zip(column, panels, strict=True):
        _panel(axes, label, lines)
    column[-1].set_xlabel("step")
    column[-1].set_xlim(0, max(row["step"] for row in (*train, *validation)))
    figure.align_ylabels()
    return figure


class _Line(NamedTuple):
    """One value of the metrics over the steps."""

    name: str
    rows: Sequence[Mapping[str, Any]]
    key: str
    colour: int


def _panel(axes: Axes, label: str, lines: Sequence[_Line]) -> None:
    """One quantity over the steps, its lines named at their ends."""
    ends = []
    for line in lines:
        points = [(row["step"], row[line.key]) for row in line.rows if line.key in row]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        colour = _CYCLE[line.colour]
        if line.name == "training":
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            values = tuple(_smooth(values))
        marker = "o" if line.rows[0]["event"] == "validation" else ""
        axes.plot(steps, values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=line.name, clip_on=False)
        ends.append((float(values[-1]), line.name, colour))
    axes.set_ylabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    if label.startswith("loss"):
        axes.set_yscale("log")
    elif label == "learning rate":
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    else:
        axes.set_ylim(-0.03, 1.03)
    ends.sort()  # names stand beside the ends of their curves, above one another where these meet
    for place, (value, name, colour) in enumerate(ends):
        shift = 0.0 if len(ends) == 1 else 12.0 * place - 6.0
        axes.annotate(
            name, (1, value), (6, shift), ("axes fraction", "data"), "offset points", color=colour, fontsize=9, va="center"
        )


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
    labels = [literal(curve.label if len(curve.label) <= 60 else "…" + curve.label[-59:]) for curve in curves]
    columns = max(1, min(4, 120 // (max(map(len, labels), default=0) + 10)))
    rows = math.ceil((len(labels) + 1) / columns)  # of the legend, which stands below, clear of all curves
    figure = Figure(figsize=(7.5, 4.3 + 0.2 * rows), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(literal(title))
    axes.axvspan(*trained, color="0.9", label=f"training lengths {trained[0]} to {trained[1]}")
    for index, curve in enumerate(curves):
        colour, marker = _CYCLE[index % len(_CYCLE)], "osD^vPX*"[index // len(_CYCLE) % 8]
        low, high = zip(*curve.intervals, strict=True)
        axes.fill_between(curve.lengths, low, high, color=colour, alpha=0.12, linewidth=0)
        if len(curve.lengths) == 1:  # of which the band has no width
            axes.vlines(curve.lengths, low, high, color=colour, alpha=0.4)
        axes.plot(curve.lengths, curve.exact_match, color=colour, marker=marker, markersize=5, label=labels[index])
    axes.set_xscale("log")
    shown = [*trained, *(length for curve in curves for length in curve.lengths)]
    crowded = max(shown) > 20_000 * min(shown)  # the labels of 50,000 and 100,000 would touch
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if crowded else (1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("length of the sequence")
    axes.set_ylabel("exact match")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=columns)
    return figure


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


def save_page(html: str, path: Path) -> None:
    """Write an HTML page; the file appears whole or not at all.

    Raises:
        UsageError: another suffix.
        InputError: the file cannot be written.
    """
    check_format(path, ("html",))
    _write(path, html.encode())


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except StorageError as error:
        raise InputError(str(error), "--out with a folder that exists and can be written") from None
