"""The results of a sweep as a table, drawn."""

import math
import statistics
from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from seqrev.plotting.figures import ThemedFigure, themed
from seqrev.plotting.style import Theme, ThemeName, escape_mathtext, find_theme, fit_line, readable_on, text_width
from seqrev.system.text import mean_and_range

CELL, LINE = 0.85, 0.34  # inches, in the first theme
WIDEST_NAME = 4.0  # inches
DARKEST = 1.25  # what would be the darkest of the shades
SHADES = colormaps["Blues"].resampled(256)  # whatever the number of its colours is that a user set


@themed
def shaded_table(
    rows: Mapping[str, Sequence[Sequence[float]]],
    lengths: Sequence[int],
    title: str,
    *,
    theme: Theme | ThemeName = "paper",
) -> Figure:
    """Exact match by name and length, of every seed: the darker, the better. Curves would lie on each other at 0 and 1."""
    theme = find_theme(theme)
    names = [fit_line(name, WIDEST_NAME * theme.scale, theme.medium) for name in rows]
    beside = max(text_width(name, theme.medium) for name in names) + CELL * theme.scale * len(lengths)
    width = 0.4 * theme.scale + max(beside, text_width(title, theme.large))
    figure = ThemedFigure(theme, figsize=(width, theme.scale * (1.1 + LINE * len(rows))), layout="constrained")
    axes = figure.add_subplot()
    means = [[statistics.fmean(cell) if cell else math.nan for cell in cells] for cells in rows.values()]
    axes.imshow(means, cmap=SHADES, vmin=0.0, vmax=DARKEST, aspect="auto")
    for row, cells in enumerate(rows.values()):
        for column, cell in enumerate(cells):
            colour = readable_on(to_hex(SHADES(means[row][column] / DARKEST))) if cell else theme.text
            text = axes.text(column, row, mean_and_range(cell, "\n"), ha="center", va="center", color=colour)
            text.set_fontsize(theme.small - theme.scale)
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], fontsize=theme.medium)
    axes.set_yticks(range(len(rows)), names, fontsize=theme.medium)
    axes.set_xticks([column - 0.5 for column in range(1, len(lengths))], minor=True)
    axes.set_yticks([row - 0.5 for row in range(1, len(rows))], minor=True)
    axes.tick_params(which="both", length=0)
    axes.grid(which="minor", color=theme.background, linewidth=1.5)
    axes.set_xlabel("length of the sequence")
    figure.suptitle(escape_mathtext(title))
    return figure
