"""``metrics.jsonl``: the events of a training, one strict JSON object a line, without gap or repeat.

Times are in seconds, losses in nats per token.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqrev.errors import InputError
from seqrev.files import open_regular, open_whole, parse_json, read_lines, storage_errors

LONGEST_EVENT = 100_000  # bytes of a line of metrics.jsonl; two hundred are usual
LARGEST_NUMBER = 1e39  # more than any float32 is
NUMBERS = {  # what every event must have, and those who read them rely on
    "train": ("step", "seconds", "loss", "lr"),
    "validation": ("step", "seconds", "loss", "exact_match", "token_accuracy"),
}


class MetricsWriter:
    """Appends events to ``metrics.jsonl``, one strict JSON object a line."""

    def __init__(self, path: Path, steps_done: int, validated: bool = True) -> None:
        """Open; events that a continued training is about to repeat are dropped first.

        These are the events after ``steps_done``, and its validation if that is not ``validated``, which happens where
        a training was killed between writing the event and committing the checkpoint.

        Raises:
            StorageError: the disk refused; so do the other methods.
        """
        self.seconds = 0.0
        """Training time up to the last event that was kept."""
        self._path = path
        with open_whole(path) as file:
            for row in read_metrics(path):
                again = row["event"] == "validation" and row["step"] == steps_done and not validated
                if row["step"] <= steps_done and not again:
                    file.write(_to_line(row))
                    self.seconds = row["seconds"]
        with storage_errors(path):
            self._file = path.open("ab")

    def append(self, **values: Any) -> None:
        """Add one event."""
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
    """The events of a run, one after the other; a torn last line, as a crash leaves it, is passed over.

    Raises:
        InputError: the file cannot be read, or another line is not an event.
    """
    if not path.exists():
        return
    torn = 0
    with open_regular(path, "a line of JSON for each event", follow=False) as file:
        for number, line in enumerate(read_lines(file, str(path), LONGEST_EVENT), start=1):
            if torn:
                raise InputError(f"{path} is damaged in line {torn}: an event of a training was expected.")
            row = _parse_event(line)
            if row is None:
                torn = number
            else:
                yield row


def _parse_event(line: bytes) -> dict[str, Any] | None:
    try:
        row = parse_json(line, "An event")
        numbers = [row[name] for name in NUMBERS[row["event"]]] + [row[name] for name in row.keys() - {"event"}]
    except (InputError, KeyError, TypeError):
        return None
    sound = all(type(number) in (int, float) and 0 <= number <= LARGEST_NUMBER for number in numbers)
    return row if sound and type(row["step"]) is int else None


def _to_line(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, allow_nan=False) + "\n").encode()
