import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text

from seqrev.plotting.style import (
    MARKERS,
    MAX_LINE,
    PALETTE,
    THEMES,
    Theme,
    ThemeName,
    contrast,
    escape_mathtext,
    fit_line,
    palette_colours,
    readable_on,
)
from tests.plotting.pictures import FIGURES, drawn

RGB = tuple[float, float, float]


def test_the_palette_goes_from_weight_0_to_weight_1() -> None:
    colours = palette_colours()
    assert len(colours) == 256
    for weight, colour in ((0.0, colours[0]), (1.0, colours[-1])):
        assert to_rgb(colour) == pytest.approx(colormaps[PALETTE](weight)[:3], abs=1 / 255)


def test_text_is_escaped_and_kept_short() -> None:
    assert escape_mathtext("runs/001") == "runs/001"
    assert escape_mathtext("$x$\n\x1b[31m") == "\\$x\\$\n\\x1b[31m"
    assert escape_mathtext("a" * 1_000 + "\nb") == "…" + "a" * MAX_LINE + "\nb"
    assert escape_mathtext("$" * 1_000) == "…" + r"\$" * MAX_LINE  # shortened before it is escaped


def test_a_line_that_is_too_wide_loses_its_middle() -> None:
    assert fit_line("runs/001\n$x$", 4, 9) == r"runs/001 \$x\$"
    line = "abc" + "W" * 500 + "xyz"
    shown = [fit_line(line, inches, 9) for inches in (4, 2, 1)]
    assert [len(text) for text in shown] == sorted((len(text) for text in shown), reverse=True)
    for text in shown:
        assert text.startswith("abc")
        assert text.endswith("xyz")
        assert text.count("…") == 1
    assert fit_line(line, 0, 9) == " … "


# --- contrast ---------------------------------------------------------------------------------------------------------

AA = 4.5  # https://www.w3.org/TR/WCAG22/#contrast-minimum


@pytest.mark.parametrize(("one", "other", "ratio"), [("black", "white", 21), ("#777777", "white", 4.48), ("r", "r", 1)])
def test_the_contrast_is_that_of_wcag(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.005)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_on_every_colour_black_or_white_can_be_read_and_so_can_a_frame_with_its_rim(colour: RGB) -> None:
    assert contrast(readable_on(colour), colour) >= AA
    for theme in THEMES.values():
        assert max(contrast(part, colour) for part in theme.frame) >= AA
        assert contrast(*theme.frame) >= AA


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", FIGURES)
def test_every_line_and_every_word_stands_out_from_what_is_behind_it(name: str, theme: ThemeName) -> None:
    figure, look = drawn(name, theme), THEMES[theme]
    assert to_hex(figure.get_facecolor()).upper() == look.background
    in_cells = {text for axes in figure.axes if axes.images for text in axes.texts}  # whose background is that of the cell
    words = {text for text in figure.findobj(Text) if text.get_text() and text.get_visible()} - in_cells
    assert len(words) >= 4
    axises = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    grids = {tick.gridline for axis in axises for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())}  # say nothing
    lines = {line for line in figure.findobj(Line2D) if line.get_visible() and line not in grids}
    bars = {bars for bars in figure.findobj(LineCollection) if bars.get_visible() and bars.get_paths()}
    shades = [to_hex(patch.get_facecolor()) for axes in figure.axes for patch in axes.patches if patch.get_fill()]
    colours = {to_rgb(text.get_color()) for text in words} | {to_rgb(line.get_color()) for line in lines}
    colours |= {to_rgb(to_hex(colour)) for one in bars for colour in np.atleast_2d(one.get_edgecolor())}
    assert all(artist.get_alpha() in (None, 1) for artist in (*words, *lines, *bars))
    for background in (look.background, *shades):
        assert {colour: contrast(colour, background) for colour in colours if contrast(colour, background) < AA} == {}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["table", "influence", "patching", "path", "residual"])
def test_words_in_cells_stand_out_from_them(name: str, theme: ThemeName) -> None:
    for axes in drawn(name, theme).axes:
        for image in axes.images:
            shown = image.get_array()
            assert shown is not None
            colours = image.to_rgba(shown)
            for text in axes.texts:
                column, row = map(round, text.get_position())
                behind = to_hex(colours[row, column]) if colours[row, column, 3] else THEMES[theme].background
                assert contrast(text.get_color(), behind) >= AA


@pytest.mark.parametrize("theme", THEMES.values())
def test_curves_can_be_told_apart_by_colour_and_by_marker(theme: Theme) -> None:
    assert len(set(theme.curves)) == len(theme.curves) == 7
    assert all(contrast(colour, theme.shade) >= AA for colour in theme.curves)
    assert math.gcd(len(theme.curves), len(MARKERS)) == 1  # so that 56 curves have 56 looks


@pytest.mark.parametrize("module", ["curves", "export", "heatmaps", "page", "style", "terminal"])
def test_what_draws_does_not_import_pytorch(module: str) -> None:
    code = f"import sys, seqrev.plotting.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
