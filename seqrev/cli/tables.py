"""Tables as lines of text, as wide as the terminal; what goes to a pipe or a file is never cut."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

from seqrev.system.text import printable


def align(columns: Mapping[str, str], rows: Iterable[Iterable[object]]) -> list[str]:
    """The lines of a table; each column has a format, for what is not text. What is not known, None or NaN, is ``-``.

    Columns are aligned to the right, and those whose format is ``<`` to the left.
    """
    lines = [list(columns)]
    for row in rows:
        cells = zip(row, columns.values(), strict=True)
        lines.append([_cell(value, form) for value, form in cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    kinds = list(zip(widths, (">" if form != "<" else form for form in columns.values()), strict=True))
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, (width, side) in zip(line, kinds, strict=True)).rstrip()
        for line in lines
    ]


def _cell(value: object, form: str) -> str:
    if isinstance(value, str):
        return printable(value)
    return "-" if value is None or value != value else format(value, form)  # NaN is not itself


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None: it is none, and there is room for everything."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def fits(lines: Iterable[str]) -> bool:
    """Whether there is room for all of them."""
    width = terminal_width()
    return width is None or max(map(len, lines), default=0) <= width


def in_lines(words: Iterable[str], indent: str) -> list[str]:
    """Words in as many lines as they need in the terminal; none is broken."""
    lines: list[str] = []
    for word in words:
        if lines and fits([f"{lines[-1]} {word}"]):
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word)
    return lines


def fit(columns: Mapping[str, str], rows: Iterable[Iterable[object]], drop: Sequence[str | Sequence[str]]) -> list[str]:
    """A table as ``align`` makes it, without as many columns as there is no room for, and a line that names these.

    ``drop``: which may be left out, the least important first; those of a group go together.
    """
    cells = [list(row) for row in rows]
    left_out: list[str] = []
    for group in ((), *drop):
        left_out += [group] if isinstance(group, str) else group
        kept = {name: form for name, form in columns.items() if name not in left_out}
        places = [place for place, name in enumerate(columns) if name in kept]
        lines = align(kept, [[row[place] for place in places] for row in cells])
        if fits(lines):
            break
    named = [name for name in columns if name in left_out]
    return [*lines, f"Left out: {', '.join(named)}; --json has all."] if named else lines
