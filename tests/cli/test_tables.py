"""Tables fit the terminal, say what they leave out, and leave out nothing elsewhere."""

import io
import os
import shutil
import sys
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.cli import tables
from seqrev.cli.tables import align, fit, terminal_width
from seqrev.runs.folders import Run
from tests.helpers import Cli
from tests.workflows.sweeps import write_sweep

NAMES = ("first", "b", "a column", "d", "last")


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal_width() is None
    master, slave = os.openpty()
    with os.fdopen(master), os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert terminal_width() == 30
    monkeypatch.setattr(sys, "stdout", None)
    assert terminal_width() is None


@given(
    st.lists(st.lists(st.text("ab", max_size=9), min_size=5, max_size=5)), st.integers(1, 60), st.permutations(NAMES[1:])
)
def test_what_is_left_out_is_named_and_is_as_little_as_can_be(rows: list[list[str]], width: int, drop: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "terminal_width", lambda: width)
        lines = fit(dict.fromkeys(NAMES, ""), rows, drop)
    whole = align(dict.fromkeys(NAMES, ""), rows)
    if max(map(len, whole)) <= width:
        assert lines == whole
        return
    *table, last = lines
    left_out = last.removeprefix("Left out: ").removesuffix("; --json has all.").split(", ")
    assert sorted(left_out) == sorted(drop[: len(left_out)])
    kept = [place for place, name in enumerate(NAMES) if name not in left_out]
    one_less = [place for place, name in enumerate(NAMES) if name not in drop[: len(left_out) - 1]]
    cut, wider = (
        align(dict.fromkeys([NAMES[place] for place in places], ""), [[row[place] for place in places] for row in rows])
        for places in (kept, one_less)
    )
    assert table == cut
    assert max(map(len, wider)) > width
    assert max(map(len, cut)) <= width or len(left_out) == len(drop)


WIDE = (
    ("evaluate",),
    ("evaluate", "--exhaustive", "2"),
    ("evaluate", "--families"),
    ("evaluate", "--protocol", "chomsky", "--lengths", "3,12"),
    ("evaluate", "--run", "1", "--run", "2", "--run", "runs/001", "--run", "2", "--lengths", "3,5,7,9,11"),
    ("attention", "--report"),
    ("attention", "1", "2", "3", "--influence"),
    ("attention", "1", "2", "3", "--lens"),
    ("attention", "--patch", "1 2 3", "4 2 3"),
    ("attention", "--ablate", "cross.1.1,decoder.1.2", "--ablate", "feed_forward.decoder.1"),
    ("runs",),
)


def tables_of(text: str) -> list[str]:
    """The lines of what a command prints that are rows of a table."""
    return [line for line in text.splitlines() if "  " in line.strip()]


@pytest.mark.parametrize("width", [60, 50])
@pytest.mark.parametrize("command", WIDE, ids=lambda command: " ".join(command))
def test_every_table_fits_a_narrow_terminal_and_is_whole_in_a_pipe(
    cli: Cli, own_run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], width: int
) -> None:
    shutil.copytree(own_run.path, own_run.path.with_name("002"))
    monkeypatch.setenv("COLUMNS", str(width))
    whole = cli(*command).out
    assert "Left out" not in whole
    monkeypatch.setattr(tables, "terminal_width", lambda: width)
    shown = cli(*command).out
    assert max(map(len, tables_of(shown))) <= width
    left_out = chain.from_iterable(
        line.removeprefix("Left out: ").removesuffix("; --json has all.").split(", ")
        for line in shown.splitlines()
        if line.startswith("Left out: ")
    )
    assert all(name in whole for name in left_out)


def test_the_table_of_a_sweep_leaves_out_short_lengths(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sweep(Path(), seeds=[0], variants={"a variant with a long name": []}, lengths=[2, 3, 4, 5])
    whole = cli("sweep", "mine.yaml").out
    assert whole.splitlines()[0].split() == ["variant", "2", "3", "4", "5"]
    monkeypatch.setattr(tables, "terminal_width", lambda: 40)
    lines = cli("sweep", "mine.yaml").out.splitlines()
    assert lines[0].split() == ["variant", "4", "5"]
    assert lines[2] == "Left out: 2, 3; --json has all."
