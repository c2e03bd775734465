"""An attention map as text: shaded cells, with the tokens along both axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

from seqrev.heatmaps import PALETTE

BLOCKS, ASCII = " ░▒▓█", " .:-=+*#%@"  # from 0 to 1


def map_text(
    weights: NDArray[np.floating[Any]],
    rows: Sequence[str],
    columns: Sequence[str],
    width: int,
    ramp: str = BLOCKS,
    colours: bool = False,
) -> Text | None:
    """A map as lines of text; None where it is wider than ``width``.

    Args:
        weights: ``[tgt, src]``, from 0 to 1.
        rows: a label for each row.
        columns: a label for each column; written downwards, for cells are narrow.
        width: characters in a line, at most.
        ramp: the characters that stand for weights from 0 to 1, darkest last.
        colours: paint the cells in the colours of the pictures instead.
    """
    margin = max(map(len, rows)) + 1
    cell = min(2, (width - margin) // len(columns))
    if cell < 1:
        return None
    depth = max(map(len, columns))
    lines = []
    for line in range(depth):
        letters = (label.rjust(depth)[line] for label in columns)
        lines.append(Text((" " * margin + "".join(letter.ljust(cell) for letter in letters)).rstrip()))
    painted = colormaps[PALETTE](weights, bytes=True)
    for label, values, shades in zip(rows, weights, painted, strict=True):
        text = Text(label.rjust(margin - 1) + " ")
        for value, (red, green, blue, _) in zip(values, shades, strict=True):
            if colours:
                text.append(" " * cell, Style(bgcolor=f"rgb({red},{green},{blue})"))
            else:
                text.append(ramp[min(int(value * len(ramp)), len(ramp) - 1)] * cell)
        lines.append(text)
    return Text("\n").join(lines)
