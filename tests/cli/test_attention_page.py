"""``seqrev attention --out map.html``; the page itself is tested in ``tests/plotting/test_page.py``."""

import shutil
import sys
from pathlib import Path

import pytest

from seqrev.runs.folders import Run
from tests.helpers import Cli, assert_refused


def test_a_page_is_written(cli: Cli, own_run: Run) -> None:
    result = cli(
        "attention", "4", "2", "1", "--out", "map.HTML", "--layer", "1", "--head", "2", "--type", "decoder", "--json"
    )
    assert result.code == 0, result.err
    assert result.document["out"] == "map.HTML"
    assert Path("map.HTML").read_text().lstrip().startswith("<!DOCTYPE html>")
    assert not (own_run.path / "attention").exists()


def test_the_name_of_the_run_is_text(cli: Cli, own_run: Run) -> None:
    hostile = Path("<script>broken<!--")
    shutil.move(own_run.path, hostile)
    assert cli("attention", "4", "2", "1", "--run", hostile, "--out", "map.html").code == 0
    page = Path("map.html").read_text()
    assert str(hostile) not in page
    assert "&lt;script&gt;broken&lt;!--" in page


def test_without_the_extra_it_says_what_to_type(cli: Cli, own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    result = cli("attention", "4", "2", "1", "--run", own_run, "--out", "map.html")
    assert_refused(result, 2, "Bokeh, which is not installed", "pip install 'seqrev[explorer]'")
    assert not Path("map.html").exists()


def test_a_picture_does_not_import_bokeh(cli: Cli, own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, name)
    assert cli("attention", "4", "2", "1", "--run", own_run, "--out", "map.png").code == 0
    assert "bokeh" not in sys.modules


def test_a_page_in_a_folder_that_is_not_there_is_refused(cli: Cli, own_run: Run) -> None:
    assert_refused(cli("attention", "4", "2", "1", "--run", own_run, "--out", "none/map.html"), 3, "cannot be written")
