import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import colormaps
from rich.console import Console
from rich.style import Style

from seqrev.plotting.style import PALETTE
from seqrev.plotting.terminal import ASCII, BLOCKS, best_ramp, text_heatmap

KNOWN = np.array([[0.0, 0.3, 1.0], [0.5, 0.1, 0.75]])
ROWS, COLUMNS = ["8", "<EOS>"], ["<BOS>", "4", "12"]


def lines(width: int = 80, ramp: str = BLOCKS) -> list[str]:
    text = text_heatmap(KNOWN, ROWS, COLUMNS, width, ramp)
    assert text is not None
    return text.plain.split("\n")


def test_rows_and_columns_are_labelled_and_weights_are_shaded() -> None:
    assert lines() == [
        "      <",
        "      B",
        "      O",
        "      S   1",
        "      > 4 2",
        "    8   ░░██",
        "<EOS> ▒▒  ▓▓",
    ]
    assert lines(ramp=ASCII)[-2:] == ["    8   --@@", "<EOS> ++..##"]
    assert all(line.isascii() for line in lines(ramp=ASCII))


def test_cells_become_narrow_before_a_map_is_left_out() -> None:
    assert [len(line) for line in lines(12)[-2:]] == [12, 12]
    assert lines(11)[-2:] == ["    8  ░█", "<EOS> ▒ ▓"]
    assert text_heatmap(KNOWN, ROWS, COLUMNS, 9) is not None
    assert text_heatmap(KNOWN, ROWS, COLUMNS, 8) is None


@pytest.mark.parametrize("ramp", [BLOCKS, ASCII])
def test_a_darker_character_is_a_larger_weight(ramp: str) -> None:
    values = np.linspace(0, 1, 101)[None]
    text = text_heatmap(values, [""], ["x"] * 101, 200, ramp)
    assert text is not None
    shown = text.plain.split("\n")[-1][1:]
    assert [ramp.index(character) for character in shown] == sorted(ramp.index(character) for character in shown)
    assert set(shown) == set(ramp)


def test_cells_are_painted_in_the_colours_of_the_figures() -> None:
    text = text_heatmap(KNOWN, ROWS, COLUMNS, 80, colours=True)
    assert text is not None
    painted = [span.style for span in text.spans]
    for style, value in zip(painted, KNOWN.flat, strict=True):
        red, green, blue, _ = colormaps[PALETTE](value, bytes=True)
        assert isinstance(style, Style)
        assert style.bgcolor is not None
        assert style.bgcolor.triplet == (red, green, blue)
    console = Console(file=io.StringIO(), color_system="truecolor", force_terminal=True)
    console.print(text, soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[48;2;253;231;36m  \x1b[0m" in console.file.getvalue()  # the yellow of a weight of one


@pytest.mark.parametrize(
    ("encoding", "ramp"),
    [
        ("utf-8", BLOCKS),
        ("utf-16", BLOCKS),
        ("cp437", BLOCKS),
        (None, BLOCKS),
        ("ascii", ASCII),
        ("cp1252", ASCII),
        ("latin-1", ASCII),
    ],
)
def test_an_encoding_without_shades_gets_plain_characters(encoding: str | None, ramp: str) -> None:
    assert best_ramp(encoding) == ramp


def test_shades_need_no_matplotlib_which_needs_a_folder_that_can_be_written() -> None:
    code = """
import sys, numpy as np
sys.modules["matplotlib"] = None
from seqrev.plotting.terminal import text_heatmap
print(ascii(text_heatmap(np.eye(2), ["a", "b"], ["c", "d"], 80).plain))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ascii("█")[1:-1] in done.stdout
