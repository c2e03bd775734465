"""An attention map as text: shaded cells, with the tokens along both axes. Only colours need Matplotlib."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from seqrev.plotting.heatmaps import Map

BLOCKS, ASCII = " ░▒▓█", " .:-=+*#%@"  # from 0 to 1


def best_ramp(encoding: str | None) -> str:
    """Shades that an encoding has (None: any)."""
    try:
        BLOCKS.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return ASCII
    return BLOCKS


def text_heatmap(
    weights: "Map", rows: Sequence[str], columns: Sequence[str], width: int, ramp: str = BLOCKS, colours: bool = False
) -> Text | None:
    """A map ``[tgt, src]`` as lines of text, the labels of its narrow columns written downwards.

    Cells are characters of ``ramp`` for weights from 0 to 1, or else painted in the colours of the figures.

    Returns:
        None if a line would have more than ``width`` characters.
    """
    margin, depth = max(map(len, rows)) + 1, max(map(len, columns))
    cell = min(2, (width - margin) // len(columns))
    if cell < 1:
        return None
    letters = zip(*(label.rjust(depth) for label in columns), strict=True)
    lines = [Text((" " * margin + "".join(letter.ljust(cell) for letter in line)).rstrip()) for line in letters]
    for label, values in zip(rows, weights, strict=True):
        line = Text(f"{label:>{margin - 1}} ")
        for value, style in zip(values, _styles(values) if colours else [None] * len(values), strict=True):
            shade = " " if colours else ramp[int(value * (len(ramp) - 1) + 0.5)]  # the nearest
            line.append(shade * cell, style)
        lines.append(line)
    return Text("\n").join(lines)


def _styles(weights: "NDArray[np.floating[Any]]") -> list[Style]:
    from matplotlib import colormaps

    from seqrev.plotting.style import PALETTE

    return [Style(bgcolor=f"rgb({red},{green},{blue})") for red, green, blue, _ in colormaps[PALETTE](weights, bytes=True)]
