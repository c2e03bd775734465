"""The history of a training as a table, with pandas and without."""

import sys

import pandas
import pytest

from seqrev.api.history import ENDS, Table, as_table

ROWS = [{"event": "train", "step": step, "loss": 2.0 / step} for step in range(1, 21)]
MIXED = [*ROWS, {"event": "validation", "step": 20, "exact_match": 0.5}]


def test_with_pandas_it_is_a_data_frame() -> None:
    frame = as_table(MIXED)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["event", "step", "loss", "exact_match"]
    assert frame["step"].tolist() == [row["step"] for row in MIXED]


def test_without_pandas_it_is_a_table_with_the_same_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = as_table(MIXED)
    assert isinstance(table, Table)
    assert repr(table) == "<Table: 21 rows of event, step, loss, exact_match>"
    assert table["step"] == [row["step"] for row in MIXED]
    assert table["exact_match"] == [None] * 20 + [0.5]
    assert table[-1] == MIXED[-1]
    assert list(table[1:3]) == MIXED[1:3]
    with pytest.raises(KeyError):
        table["nothing"]


def test_a_notebook_shows_both_ends_of_a_table() -> None:
    shown = Table([{"<name>": f"<{number}>", "loss": 0.123456} for number in range(100)])._repr_html_()
    assert "<th>&lt;name&gt;</th>" in shown
    assert shown.count("<tr>") == 2 + 2 * ENDS
    assert "… 90 more …" in shown
    assert "&lt;4&gt;" in shown
    assert "&lt;5&gt;" not in shown
    assert "&lt;95&gt;" in shown
    assert "<td>0.1235</td>" in shown
    assert Table([])._repr_html_().startswith("<table>")
