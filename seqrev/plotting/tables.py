"""The results of a sweep as a table: what is in a cell, and the picture of all cells."""

import math
import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from seqrev.plotting.style import LARGE, MEDIUM, SMALL, escape_mathtext, fit_line, text_width

CELL, LINE = 0.85, 0.34  # inches
WIDEST_NAME = 4.0  # inches


def mean_and_range(values: Sequence[float], between: str = " ") -> str:
    """``0.35 (0.06–0.94)``: the mean, and the range where there is one; of nothing ``-``.

    >>> mean_and_range([0.0, 0.5])
    '0.25 (0.00–0.50)'
    """
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{statistics.fmean(values):.2f}" + (f"{between}({low:.2f}–{high:.2f})" if low < high else "")


def shaded_table(rows: Mapping[str, Sequence[Sequence[float]]], lengths: Sequence[int], title: str) -> Figure:
    """Exact match by name and length, of every seed: the darker, the better. Curves would lie on each other at 0 and 1."""
    names = [fit_line(name, WIDEST_NAME, MEDIUM) for name in rows]
    beside = max(text_width(name, MEDIUM) for name in names) + CELL * len(lengths)
    width = 0.4 + max(beside, text_width(title, LARGE))
    figure = Figure(figsize=(width, 1.1 + LINE * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    means = [[statistics.fmean(cell) if cell else math.nan for cell in cells] for cells in rows.values()]
    axes.imshow(means, cmap="Blues", vmin=0.0, vmax=1.25, aspect="auto")
    for row, cells in enumerate(rows.values()):
        for column, cell in enumerate(cells):
            colour = "white" if means[row][column] > 0.7 else "black"
            axes.text(column, row, mean_and_range(cell, "\n"), ha="center", va="center", color=colour, fontsize=SMALL - 1)
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], fontsize=MEDIUM)
    axes.set_yticks(range(len(rows)), names, fontsize=MEDIUM)
    axes.set_xticks([column - 0.5 for column in range(1, len(lengths))], minor=True)
    axes.set_yticks([row - 0.5 for row in range(1, len(rows))], minor=True)
    axes.tick_params(which="both", length=0)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.set_xlabel("length of the sequence", fontsize=MEDIUM)
    figure.suptitle(escape_mathtext(title), fontsize=LARGE)
    return figure
