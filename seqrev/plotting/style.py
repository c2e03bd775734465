"""The style of every picture: colours, font sizes, and text that is drawn exactly as it is written."""

from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from seqrev.system.text import printable

PALETTE = "viridis"  # of every heatmap: figures, pages and the terminal; perceptually uniform, safe for the colour-blind
GUIDE_COLOUR = "#FF8A5B"  # frames in a heatmap; stands out from both ends of the palette
HIGHLIGHT_COLOUR = "#D55E00"  # the selected row of a page
CURVE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
CURVE_MARKERS = "osD^vPX*"  # the next one when the colours are used up
SMALL, MEDIUM, LARGE = 8.0, 9.0, 11.0  # points: tick labels; labels of axes and captions; titles
MAX_LINE = 120  # characters in a line of a label


def palette_colours() -> list[str]:
    """The 256 colours of the palette, ``#rrggbb``, from weight 0 to weight 1."""
    return [to_hex(colour) for colour in colormaps[PALETTE](range(256))]


def escape_mathtext(text: str, width: int = MAX_LINE) -> str:
    """Text that may hold a folder's name, to be drawn as it is, each line cut on the left to ``width`` characters."""
    lines = (line if len(line) <= width else "…" + line[-width:] for line in printable(text).split("\n"))
    return "\n".join(lines).replace("$", r"\$")


def text_width(text: str, points: float) -> float:
    """The width in inches of a line of text in a font size."""
    width: float = text_to_path.get_text_width_height_descent(text, FontProperties(size=points), ismath=False)[0]
    return width / 72


def fit_line(text: str, inches: float, points: float) -> str:
    """Text to be drawn as it is, in one line of a font size; where it is too wide, its middle is left out."""
    whole = line = printable(text).replace("\n", " ")
    kept = len(whole)
    while kept and (width := text_width(line, points)) > inches:
        kept = min(kept - 1, int(kept * inches / width))
        line = f"{whole[: kept - kept // 2]} … {whole[len(whole) - kept // 2 :]}"
    return line.replace("$", r"\$")
