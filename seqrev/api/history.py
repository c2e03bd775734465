"""The history of a training as a table: a pandas ``DataFrame`` where pandas is installed."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, overload

ENDS = 5  # rows that a notebook shows of the beginning, and of the end


class Table(Sequence[Mapping[str, Any]]):
    """A read-only table, for those without pandas: rows by number, columns by name.

    >>> table = Table([{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.0}])
    >>> table
    <Table: 2 rows of step, loss>
    >>> table["loss"]
    [2.5, 2.0]
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = list(rows)
        self.columns = list(dict.fromkeys(name for row in self._rows for name in row))

    def __repr__(self) -> str:
        return f"<Table: {len(self):,} rows of {', '.join(self.columns)}>"

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> "Table": ...
    @overload
    def __getitem__(self, index: str) -> list[Any]: ...
    def __getitem__(self, index: int | slice | str) -> "Mapping[str, Any] | Table | list[Any]":
        if isinstance(index, slice):
            return Table(self._rows[index])
        if isinstance(index, int):
            return self._rows[index]
        if index not in self.columns:
            raise KeyError(index)
        return [row.get(index) for row in self._rows]

    def _repr_html_(self) -> str:
        names = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        lines = [self._line(row) for row in self._rows]
        if len(lines) > 2 * ENDS:
            lines[ENDS:-ENDS] = [f"<tr><td colspan={len(self.columns)}>… {len(lines) - 2 * ENDS:,} more …</td></tr>"]
        return f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"

    def _line(self, row: Mapping[str, Any]) -> str:
        values = (row.get(name) for name in self.columns)
        texts = ("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
        return f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in texts)}</tr>"


def as_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a ``DataFrame`` where pandas is installed, or else as a ``Table``."""
    try:
        import pandas
    except ImportError:
        return Table(rows)
    return pandas.DataFrame(rows)
