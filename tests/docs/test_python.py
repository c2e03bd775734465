"""The notebook of docs/python.md, in a real kernel, in an empty folder beside the package."""

import re
from pathlib import Path

from nbformat import NotebookNode

import seqrev
from tests.docs.guide import ROOT
from tests.kernel import outputs, run_cells

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## In a notebook")[2].partition("\n## ")[0]
CELLS = re.findall(r"^```python\n(.*?)^```", SECTION, flags=re.DOTALL | re.MULTILINE)


def shown(notebook: NotebookNode, kind: str) -> list[list[str]]:
    """Of each cell, what it shows of a kind."""
    return [[data[kind] for data in outputs(notebook, cell) if kind in data] for cell in range(len(CELLS))]


def test_it_has_twelve_lines() -> None:
    assert len([line for cell in CELLS for line in cell.splitlines() if line]) == 12


def test_it_runs_and_shows_what_the_page_says(tmp_path: Path) -> None:
    notebook = run_cells(CELLS, tmp_path)
    text, html, png = (shown(notebook, kind) for kind in ("text/plain", "text/html", "image/png"))
    assert [len(pictures) for pictures in png] == [0, 1, 1, 1, 0, 0, 0]
    (progress,) = html[0]
    assert progress.startswith('<div><progress value="60" max="60"></progress> step 60 of 60 · loss ')
    assert progress.count("<img") == 1  # the curve, in the same output as the bar
    assert text[0][1:] == ["[9, 2, 8, 4]"]
    (page,) = html[4]
    assert page.startswith("<iframe srcdoc=")
    report, table = text[5]
    assert report.startswith("<Evaluation: exact match ")
    assert "exact_match" in table
    assert text[6] == ["Run('runs/001')"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert seqrev.load(tmp_path / "runs" / "001").reverse([4, 8, 2, 9]) == [9, 2, 8, 4]


def test_a_training_that_is_told_to_be_quiet_shows_nothing_and_one_that_fails_what_there_was(tmp_path: Path) -> None:
    fail = """
import seqrev

def stop(event):
    raise ValueError

short = ["train.steps=3", "data.train=100", "data.validation=20"]
model = seqrev.train("fast", overrides=short, progress=False)
try:
    seqrev.train("fast", overrides=short, progress=stop)
except ValueError:
    print("stopped")
try:
    seqrev.train("fast", overrides=[*short, "train.lr=1e30", "train.max_grad_norm=0", "train.steps=50"])
except seqrev.SeqrevError as error:
    print(type(error).__name__)
"""
    found = outputs(run_cells([fail], tmp_path), 0)
    assert found[0] == {"text/plain": "stopped\n"}
    assert "of 50 · loss " in found[1]["text/plain"]
    assert found[1]["text/html"].count("<img") == 1
    assert found[2] == {"text/plain": "TrainingError\n"}
