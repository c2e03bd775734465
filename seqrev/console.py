"""The one sink of the command line: data on stdout, everything else on stderr, errors to exit codes.

On stdout goes what was asked for: text for people, or with ``--json`` exactly one JSON document (for ``decode``, a JSON
object a line). Messages, progress and errors go to stderr. A pipe, ``NO_COLOR`` or a dumb terminal gets no escape byte.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from seqrev.errors import SeqrevError, StorageError
from seqrev.signals import Interrupted

if TYPE_CHECKING:
    from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0  # of progress, where there is no terminal
LONGEST_MESSAGE = 2_000  # characters of an error
LONGEST_LINE = 120  # characters of a title


class OutputClosed(Exception):
    """The reader of stdout has gone, as in ``seqrev decode - | head -1``; that is no failure."""


class Console:
    """Where a command reports to."""

    def __init__(self, json_mode: bool = False) -> None:
        self.json_mode = json_mode

    def data(self, text: str) -> None:
        """A piece of the result, for people."""
        if not self.json_mode:
            self._write(visible(text))

    def line(self, text: str) -> None:
        """A piece of the result with a path in it: one line, whatever characters the path has."""
        self.data(_one_line(text))

    @property
    def colours(self) -> bool:
        """Whether the result may be coloured."""
        return sys.stdout is not None and is_live(sys.stdout)

    def styled(self, text: "Text") -> None:
        """A piece of the result, for people, in colour where that is allowed."""
        if self.colours and not self.json_mode:
            from rich.console import Console as RichConsole

            RichConsole(file=sys.stdout, highlight=False).print(text, soft_wrap=True)
        else:
            self.data(text.plain)

    def document(self, value: Any) -> None:
        """The result, or a line of it, as JSON; only with ``--json``."""
        if self.json_mode:
            self._write(_to_json(value))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table for people, columns aligned to the right."""
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            self.data("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))

    def note(self, text: str) -> None:
        """Something worth knowing, on stderr: one line."""
        _to_stderr(_one_line(text))

    def error(self, error: SeqrevError | Interrupted) -> None:
        """One short paragraph and the next command, on stderr."""
        message, hint = _one_line(str(error)), _one_line(error.hint)
        if self.json_mode:
            _to_stderr(_to_json({"error": {"type": type(error).__name__, "message": message, "hint": hint}}))
        else:
            stopped = isinstance(error, Interrupted)  # on request: no error
            _to_stderr(f"{message}\nContinue: {hint}" if stopped else f"Error: {message}\nTry: {hint}")

    @contextmanager
    def progress(self, total: int, unit: str) -> Iterator["Progress"]:
        """Show how far a long work is: a live bar on a terminal, else a plain line every few seconds."""
        if is_live(sys.stderr):
            with _rich_bar(total) as bar:
                yield bar
        else:
            yield _PlainProgress(total, unit)

    def _write(self, text: str) -> None:
        try:
            print(text, flush=True)
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            raise StorageError(f"Standard output cannot be written: {error.strerror or error}.") from None


class Progress:
    """Told how much is done, and shows it."""

    def update(self, done: int, details: str = "") -> None:
        """``done`` out of the total; ``details`` stands beside it."""

    def note(self, text: str) -> None:
        """A line that stays."""
        _to_stderr(text)


class _PlainProgress(Progress):
    def __init__(self, total: int, unit: str) -> None:
        self._total, self._unit = total, unit
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def update(self, done: int, details: str = "") -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            _to_stderr(f"{done:,} of {self._total:,} {self._unit}  {details}".rstrip())


@contextmanager
def _rich_bar(total: int) -> Iterator[Progress]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    columns = (
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(total)) + 1)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True, min_width=5)),
        TextColumn("left", table_column=Column(no_wrap=True, min_width=4)),
        TextColumn("{task.fields[details]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    with RichProgress(*columns, console=RichConsole(stderr=True, highlight=False, emoji=False), transient=True) as bar:
        task = bar.add_task("", total=total, details="")

        class Live(Progress):
            def update(self, done: int, details: str = "") -> None:
                bar.update(task, completed=done, details=details)

            def note(self, text: str) -> None:
                bar.console.print(visible(text), markup=False, soft_wrap=True)

        yield Live()


def _to_stderr(text: str) -> None:
    """Messages that nobody can read (the reader has gone, the disk is full) are no reason to stop the work."""
    with contextlib.suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f")  # the one control character that JSON lets through


def _one_line(text: str) -> str:
    """A message that holds what a stranger chose, as a file's name: it neither forges lines nor fills the screen."""
    line = visible(text).replace("\n", "\\n")
    if len(line) <= LONGEST_MESSAGE:
        return line
    return f"{line[: LONGEST_MESSAGE // 2]} … {line[-LONGEST_MESSAGE // 3 :]}"


def let_go(stream: TextIO | None) -> None:
    """Drop what a stream could not take, as a pipe without a reader; Python would complain when it flushes it at exit."""
    if stream is None:  # a daemon may have none
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def visible(text: str) -> str:
    """Text with its control characters, which could steer a terminal, written out; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def literal(text: str) -> str:
    """Text that may hold a folder's name, to be drawn as it is: no mathematics, no control characters, no endless line."""
    lines = visible(text).replace("$", r"\$").split("\n")
    return "\n".join(line if len(line) <= LONGEST_LINE else "…" + line[-LONGEST_LINE:] for line in lines)


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal that may be sent escape sequences."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
