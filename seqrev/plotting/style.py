"""The style of every picture: themes, and text that is drawn exactly as it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.typing import ColorType

from seqrev.errors import UsageError
from seqrev.plotting.fonts import FAMILY, drawable, families

ThemeName = Literal["paper", "slide", "dark"]
PALETTE = "viridis"  # of every heatmap: figures, pages and the terminal; perceptually uniform, safe for the colour-blind
MARKERS = "osD^vPX*"  # one more than colours: a pair of them comes back after 56 curves
SMALL, MEDIUM, LARGE = 8.0, 9.0, 11.0  # points: tick labels; labels of axes and captions; titles
MAX_LINE = 120  # characters in a line of a label


@dataclass(frozen=True)
class Theme:
    """How pictures look. Every line and every word has a contrast of at least 4.5 to what is behind it (WCAG 2.2, AA)."""

    background: str = "#FFFFFF"
    text: str = "#000000"
    """Words, axes and ticks."""
    grid: str = "#DDDDDD"
    shade: str = "#EBEBEB"
    """An area behind the curves."""
    curves: tuple[str, ...] = ("#1F5FD8", "#B54000", "#00564E", "#C0109A", "#544000", "#2A1090", "#000000")
    palette: str = PALETTE
    signed_palette: str | Colormap = "RdBu"
    """Of what may be negative: red below zero, blue above, at zero almost the background; safe for the colour-blind."""
    frame: tuple[str, str] = ("#FFFFFF", "#000000")
    """A line in a map, and its rim: on any colour, one of black and white has a contrast of at least 4.58."""
    scale: float = 1.0
    """Of letters and lines, beside the areas of the picture."""
    wide: bool = False
    """Parts stand side by side, not above one another."""

    @property
    def small(self) -> float:
        """Points of tick labels and legends."""
        return SMALL * self.scale

    @property
    def medium(self) -> float:
        """Points of the labels of axes, and of captions."""
        return MEDIUM * self.scale

    @property
    def large(self) -> float:
        """Points of titles."""
        return LARGE * self.scale

    def settings(self) -> Mapping[str, Any]:
        """The theme as Matplotlib's ``rcParams``."""
        scaled = {"axes.linewidth": 0.8, "grid.linewidth": 0.8, "lines.linewidth": 1.4, "lines.markersize": 4.0}
        for axis in "xy":
            scaled |= {f"{axis}tick.major.size": 3.5, f"{axis}tick.major.width": 0.8}
        words = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        return {
            "font.family": [FAMILY],
            "font.size": self.medium,
            **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), self.small),
            **dict.fromkeys(("axes.labelsize", "axes.titlesize"), self.medium),
            "figure.titlesize": self.large,
            **{name: value * self.scale for name, value in scaled.items()},
            **dict.fromkeys(words, self.text),
            **dict.fromkeys(("figure.facecolor", "axes.facecolor"), self.background),
            "grid.color": self.grid,
            "legend.frameon": False,
            "image.cmap": self.palette,
            "svg.fonttype": "none",  # words that can be searched, copied and edited, no outlines
            "svg.hashsalt": "seqrev",  # or each file had other ids
            "pdf.fonttype": 42,  # TrueType; journals refuse Type 3
        }


THEMES: Mapping[ThemeName, Theme] = {
    "paper": Theme(),
    "slide": Theme(scale=2.0, wide=True),
    "dark": Theme(
        background="#16181D",
        text="#F2F2F2",
        grid="#3A3D45",
        shade="#2B2E36",
        signed_palette=LinearSegmentedColormap.from_list("dark signed", ("#FF8A6B", "#2B2E36", "#6BB6FF")),
        curves=("#1E9AFF", "#EA8822", "#62E9A3", "#EE68A0", "#F8FF3A", "#9FC9FF", "#FFFFFF"),
    ),
}


def find_theme(theme: Theme | ThemeName) -> Theme:
    """The theme of a name, or a theme of one's own; raise ``UsageError`` for another name."""
    if isinstance(theme, Theme):
        return theme
    if theme not in THEMES:
        raise UsageError(f"There is no theme {theme!r}; {', '.join(THEMES)} were expected.", "--theme paper")
    return THEMES[theme]


def contrast(one: ColorType, other: ColorType) -> float:
    """The contrast of two colours, from 1 to 21: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.

    >>> round(contrast("black", "white"))
    21
    """
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def readable_on(background: ColorType) -> str:
    """Black or white, whichever is easier to read there."""
    return max(("black", "white"), key=lambda colour: contrast(colour, background))


def _luminance(colour: ColorType) -> float:
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def palette_colours() -> list[str]:
    """The 256 colours of the palette, ``#rrggbb``, from weight 0 to weight 1."""
    return [to_hex(colour) for colour in colormaps[PALETTE](range(256))]


def escape_mathtext(text: str, width: int = MAX_LINE) -> str:
    """Text that may hold a folder's name, to be drawn as it is, each line cut on the left to ``width`` characters."""
    lines = (line if len(line) <= width else "…" + line[-width:] for line in drawable(text).split("\n"))
    return "\n".join(lines).replace("$", r"\$")


def text_width(text: str, points: float) -> float:
    """The width in inches of a line of text in a font size."""
    font = FontProperties(family=families(text), size=points)
    width: float = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    return width / 72


def fit_line(text: str, inches: float, points: float) -> str:
    """Text to be drawn as it is, in one line of a font size; where it is too wide, its middle is left out."""
    whole = line = drawable(text).replace("\n", " ")
    kept = len(whole)
    while kept and (width := text_width(line, points)) > inches:
        kept = min(kept - 1, int(kept * inches / width))
        line = f"{whole[: kept - kept // 2]} … {whole[len(whole) - kept // 2 :]}"
    return line.replace("$", r"\$")
