import subprocess
import sys

import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from seqrev.plotting.style import MAX_LINE, PALETTE, escape_mathtext, fit_line, palette_colours


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


@pytest.mark.parametrize("module", ["curves", "export", "heatmaps", "page", "style", "terminal"])
def test_what_draws_does_not_import_pytorch(module: str) -> None:
    code = f"import sys, seqrev.plotting.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
