"""``metrics.jsonl``: the events of a training, one a line, without gap or repeat. Seconds, and nats per token."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqrev.errors import InputError
from seqrev.system.files import atomic_open, open_regular, parse_json, read_lines, read_regular, storage_errors
from seqrev.system.locks import check_held

LONGEST_EVENT = 100_000  # bytes; two hundred are usual
LARGEST = 1_000_000_000  # bytes of a file whose end is looked for
NUMBERS = {  # what every event must have
    "train": ("step", "seconds", "loss", "lr"),
    "validation": ("step", "seconds", "loss", "exact_match", "token_accuracy"),
}


class MetricsWriter:
    """Appends events to ``metrics.jsonl``, one strict JSON object a line."""

    def __init__(self, path: Path, steps_done: int, validated: bool = True) -> None:
        """Open, and drop what is to be repeated: the events after ``steps_done``, and its validation, if not ``validated``.

        All methods raise ``StorageError`` if the disk refuses.
        """
        self.seconds = 0.0  # training time up to the last event that was kept
        self._path = path
        with atomic_open(path) as file:
            for row in read_metrics(path):
                again = row["event"] == "validation" and row["step"] == steps_done and not validated
                if row["step"] <= steps_done and not again:
                    file.write(_to_line(row))
                    self.seconds = row["seconds"]
        with storage_errors(path):
            self._file = path.open("ab")

    def append(self, **values: Any) -> None:
        """Add one event."""
        check_held(self._path)
        with storage_errors(self._path):
            self._file.write(_to_line(values))

    def sync(self) -> None:
        """Bring all events to disk; to be called before the checkpoint that follows them is committed."""
        with storage_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file."""
        with storage_errors(self._path):
            self._file.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a run; raise ``InputError`` at a line that is none, unless it is the last, torn by a crash."""
    if not path.exists():
        return
    with open_regular(path, "a line of JSON for each event", follow=False) as file:
        for number, line in enumerate(read_lines(file, str(path), LONGEST_EVENT), start=1):
            row = _parse_event(line)
            if row is not None:
                yield row
            elif file.peek():  # it is not the last line
                raise InputError(f"{path} is damaged in line {number}: an event of a training was expected.")


def newest_events(path: Path) -> dict[str, dict[str, Any]]:
    """The last event of each kind, where there is one; also while a training writes. Lines that are none are passed over.

    Raises:
        InputError: it is not a file that can be read.
    """
    found: dict[str, dict[str, Any]] = {}
    lines = read_regular(path, LARGEST, "a line of JSON for each event", follow=False).splitlines() if path.exists() else []
    for line in reversed(lines):
        kinds = [kind for kind in NUMBERS if kind not in found and f'"{kind}"'.encode() in line]  # before it is parsed
        row = _parse_event(line) if kinds and len(line) <= LONGEST_EVENT else None
        if row is not None:
            found.setdefault(row["event"], row)
        if len(found) == len(NUMBERS):
            break
    return found


def _parse_event(line: bytes) -> dict[str, Any] | None:
    try:
        row = parse_json(line, "An event")
        numbers = [row[name] for name in {*NUMBERS[row["event"]], *row} - {"event"}]
    except (InputError, KeyError, TypeError):
        return None
    sound = all(type(number) in (int, float) and 0 <= number < 1e39 for number in numbers)  # as every float32 is
    return row if sound and type(row["step"]) is int else None


def _to_line(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, allow_nan=False) + "\n").encode()
