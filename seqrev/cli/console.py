"""The one sink of the command line: on stdout what was asked for, as text or JSON, and everything else on stderr.

A pipe, ``NO_COLOR`` or a dumb terminal gets no escape byte.
"""

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from seqrev.cli.tables import fit
from seqrev.errors import SeqrevError, StorageError
from seqrev.system.signals import Interrupted
from seqrev.system.text import pasteable, printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0  # of progress, where there is no terminal
LONGEST_MESSAGE = 2_000  # characters of an error


class Console:
    """Where a command reports to."""

    def __init__(self, json_mode: bool = False) -> None:
        self.json_mode = json_mode
        self.closed = False
        """The reader of stdout has gone, as in ``| head -1``: no failure, and no reason to leave the work undone."""

    def data(self, text: str) -> None:
        """A piece of the result, for people."""
        if not self.json_mode:
            self._write(printable(text))

    def line(self, text: str) -> None:
        """A piece of the result with a path in it: one line, whatever characters the path has."""
        self.data(_one_line(text))

    def styled(self, text: "Text") -> None:
        """A piece of the result, for people, in colour where that is allowed."""
        if is_live(sys.stdout) and not self.json_mode:
            from rich.console import Console as RichConsole

            RichConsole(file=sys.stdout, highlight=False).print(text, soft_wrap=True)
        else:
            self.data(text.plain)

    def document(self, value: Any) -> None:
        """The result, or a line of it, as JSON; only with ``--json``."""
        if self.json_mode:
            self._write(_to_json(value))

    def table(
        self, columns: Mapping[str, str], rows: Iterable[Iterable[object]], drop: Sequence[str | Sequence[str]] = ()
    ) -> None:
        """A table for people, as ``seqrev.cli.tables.fit`` makes it."""
        for line in fit(columns, rows, drop):
            self.line(line)

    def note(self, text: str) -> None:
        """Something worth knowing, on stderr: one line."""
        _to_stderr(_one_line(pasteable(text)))

    def warning(self, message: Warning | str) -> None:
        """What a library warns of, as of a driver that is too old for the GPU: without the place in its code."""
        self.note(f"Warning: {str(message).partition(' (Triggered internally')[0]}")

    def not_drawn(self, error: SeqrevError, again: str) -> None:
        """A picture that there is none of is no failure, where it is not the result; ``again``: what to type to draw it."""
        self.note(f"Warning: {error} To draw it again: {again}")

    def error(self, error: SeqrevError | Interrupted) -> None:
        """One short paragraph and the next command, on stderr."""
        message, hint = _one_line(str(error)), _one_line(pasteable(error.hint))
        if self.json_mode:
            _to_stderr(_to_json({"error": {"type": type(error).__name__, "message": message, "hint": hint}}))
        else:
            stopped = isinstance(error, Interrupted)  # on request: no error
            _to_stderr(f"{message}\nContinue: {hint}" if stopped else f"Error: {message}\nTry: {hint}")

    @contextlib.contextmanager
    def picture(self, document: dict[str, Any]) -> Iterator[None]:
        """The picture is saved in here, as ``out`` of the result, which is told even where it cannot be."""
        document["out"] = None
        try:
            yield
        except SeqrevError:
            self.document(document)
            raise
        self.line(f"picture: {document['out']}")
        self.document(document)

    def progress(self, unit: str) -> "contextlib.closing[Progress]":
        """Shows how far a long work is, counted in ``unit``, until the work ends."""
        return contextlib.closing(Progress(unit))

    def _write(self, text: str) -> None:
        if self.closed:
            return
        try:
            print(text, flush=True)
        except OSError as error:
            self.closed = isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL  # so Windows says it
            if not self.closed:
                problem = f"Standard output cannot be written: {error.strerror or error}."
                raise StorageError(problem, "the same command with its output to another place") from None


class Progress:
    """A live bar on a terminal, from the first update until all is done; else a plain line every few seconds."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: RichProgress | None = None
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def update(self, done: int, total: int, details: str = "") -> None:
        """``done`` out of ``total``; ``details`` is shown beside it."""
        if is_live(sys.stderr):
            self._bar = self._bar or _live_bar(total)
            self._bar.update(self._bar.task_ids[0], completed=done, details=details)
            if done >= total:
                self.close()
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            _to_stderr(f"{done:,} of {total:,} {self._unit}  {details}".rstrip())

    def note(self, text: str) -> None:
        """A line that stays."""
        text = _one_line(pasteable(text))
        if self._bar is None:
            _to_stderr(text)
        else:
            self._bar.console.print(printable(text), markup=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _live_bar(total: int) -> "RichProgress":
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    console = RichConsole(stderr=True, highlight=False, emoji=False)
    # What is left of a line, so that a number that is cut there ends in dots.
    rest = Column(no_wrap=True, overflow="crop" if console.options.ascii_only else "ellipsis", ratio=1)
    columns = (
        BarColumn(bar_width=6),
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(total)) + 1)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True, min_width=5)),
        TextColumn("left", table_column=Column(no_wrap=True, min_width=4)),
        TextColumn("{task.fields[details]}", markup=False, table_column=rest),
    )
    bar = RichProgress(*columns, console=console, transient=True, expand=True)
    bar.add_task("", total=total, details="")
    bar.start()
    return bar


def _to_stderr(text: str) -> None:
    """Messages that nobody can read (the reader has gone, the disk is full) are no reason to stop the work."""
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f")  # the one control character that JSON lets through


def _one_line(text: str) -> str:
    """A message that holds what a stranger chose, as a file's name: it neither forges lines nor fills the screen."""
    line = printable(text).replace("\n", "\\n")
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE // 2]} … {line[-LONGEST_MESSAGE // 3 :]}"


def open_missing_streams() -> None:
    """Let output go nowhere that has nowhere to go, as with ``2>&-``, in a daemon, or under ``pythonw``.

    ``print`` would write messages to stdout instead, and the next file that is opened would have the number of the stream.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def discard_unwritable(stream: TextIO) -> None:
    """Discard what cannot be written, as to a pipe without a reader; Python would complain when it flushes it at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal that may be sent escape sequences."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
