"""The map in a terminal: in colour, in shades or in ASCII, by what the terminal can show."""

import contextlib
import io
import os
import pty
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from seqrev.cli import main
from seqrev.runs.folders import Run
from tests.helpers import Cli, run_process


def read_to_the_end(terminal: int) -> bytes:
    content = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(terminal, 4096):
            content += piece
    return content


def in_terminal(*arguments: object) -> str:
    """What ``seqrev ARGUMENTS`` writes where its stdout is a terminal."""
    parent, child = pty.openpty()
    with ThreadPoolExecutor(1) as pool:  # a terminal holds only so much that nobody has read
        content = pool.submit(read_to_the_end, parent)
        with os.fdopen(child, "w", encoding="utf-8") as stdout, contextlib.redirect_stdout(stdout):
            code = main([str(argument) for argument in arguments])
    os.close(parent)
    assert code == 0
    return content.result().decode()


def shaded(out: str) -> list[str]:
    """The lines of the map in what was printed."""
    lines = out.splitlines()
    return lines[2 : next(number for number, line in enumerate(lines) if line.startswith(("layer", "picture")))]


def test_the_map_can_be_printed_with_its_tokens(cli: Cli, own_run: Run) -> None:
    result = cli("attention", "4", "2", "1", "--run", own_run, "--text", "--out", "a.png", "--arrays", "a.npz")
    lines = shaded(result.out)
    assert lines[4] == "      > 4 2 1 >"
    with np.load("a.npz") as arrays:
        weights, emitted = arrays["cross"][-1].mean(axis=0), arrays["emitted_tokens"].tolist()
    assert [line.split()[0] for line in lines[5:]] == emitted
    for row, line in enumerate(lines[5:]):
        brightest = int(weights[row].argmax())
        cells = line[6:].ljust(10)
        assert " ░▒▓█".index(cells[2 * brightest]) == max(" ░▒▓█".index(cell) for cell in cells)
    assert "\x1b" not in result.out


def test_ascii_means_ascii(cli: Cli, own_run: Run) -> None:
    result = cli("attention", "4", "2", "1", "--run", own_run, "--ascii", "--head", "2", "--type", "encoder")
    assert len(shaded(result.out)) == 5 + 5
    assert result.out.isascii()


def test_neither_a_pipe_nor_json_gets_a_map(cli: Cli, own_run: Run) -> None:
    assert shaded(cli("attention", "4", "2", "1", "--run", own_run).out) == []
    result = cli("attention", "4", "2", "1", "--run", own_run, "--text", "--json")
    assert len(result.out.splitlines()) == 1
    assert result.document["source"] == [4, 2, 1]


def test_a_map_that_is_too_wide_says_so(cli: Cli, own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    result = cli("attention", "4", "2", "1", "--run", own_run, "--text")
    assert shaded(result.out) == []
    assert "The map has 5 columns, too many for a terminal 10 wide; it is in the picture." in result.err


@pytest.mark.parametrize(("environment", "painted"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_the_map_in_colour_where_that_is_allowed(
    own_run: Run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], painted: bool
) -> None:
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **environment}.items():
        monkeypatch.setenv(name, value)
    out = in_terminal("attention", "4", "2", "1", "--run", own_run)
    assert ("\x1b[48;" in out) is painted
    assert ("\x1b" in out) is painted
    assert ("█" in out) is not painted
    plain = in_terminal("attention", "4", "2", "1", "--run", own_run, "--ascii")
    assert "\x1b" not in plain
    assert re.search(r"[:=+*#%@]{2}", plain)  # cells are two characters wide
    assert "█" not in plain


def assert_ascii(out: str, cli: Cli, run: Run) -> None:
    plain = cli("attention", "--run", run, "1", "2", "3", "--ascii")
    assert out.isascii()
    assert out.splitlines()[:-1] == plain.out.splitlines()[:-1]
    assert "?" not in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_whose_encoding_has_no_shades_gets_a_map_in_ascii(cli: Cli, own_run: Run, encoding: str) -> None:
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding=encoding) as stdout, contextlib.redirect_stdout(stdout):
        assert main(["attention", "--run", str(own_run), "1", "2", "3", "--text"]) == 0
        stdout.flush()
        out = written.getvalue().decode(encoding)
    assert_ascii(out, cli, own_run)


def test_a_locale_without_shades_gets_a_map_in_ascii(cli: Cli, own_run: Run) -> None:
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    result = run_process("attention", "--run", own_run, "1", "2", "3", "--text", folder=Path.cwd(), stdin=b"", **locale)
    assert result.code == 0, result.err
    assert "?" not in result.err
    assert_ascii(result.out, cli, own_run)
