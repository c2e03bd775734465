"""Sequences of different lengths as one array, and as lines of text that people write."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from seqrev.config import TaskConfig
from seqrev.errors import InputError, UsageError
from seqrev.system.files import open_regular, read_lines
from seqrev.system.text import shorten
from seqrev.task import ENDED, Array, apply_rule, check_sequence, parse_sequence


class Sequences(Sequence[list[int]]):
    """A read-only list of sequences, held as one array: a list of lists takes many times the memory.

    >>> Sequences(np.array([[4, 8, -1], [2, 9, 1]]))[0]
    [4, 8]
    """

    def __init__(self, padded: Array, lengths: NDArray[np.intp] | None = None) -> None:
        """``padded``: symbols, ``[rows, longest]``, filled up with ``ENDED``; ``lengths``: where they are known."""
        self.padded = padded
        self.lengths = (padded != ENDED).sum(axis=1) if lengths is None else lengths

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequences": ...
    def __getitem__(self, index: int | slice) -> "list[int] | Sequences":
        if isinstance(index, slice):
            return Sequences(self.padded[index])
        row: list[int] = self.padded[index, : self.lengths[index]].tolist()
        return row

    @classmethod
    def from_lists(cls, sequences: Sequence[Sequence[int]], symbols: int, longest: int = 0) -> "Sequences":
        """The same sequences as one array, of at least ``longest`` columns."""
        longest = max([longest, *map(len, sequences)])
        padded = np.full((len(sequences), longest), ENDED, smallest_integers(symbols))
        for row, sequence in zip(padded, sequences, strict=True):
            row[: len(sequence)] = sequence
        return cls(padded)

    def __len__(self) -> int:
        return len(self.padded)


def smallest_integers(symbols: int) -> np.dtype[np.integer]:
    """The smallest integers that have all symbols, and ``ENDED``."""
    return np.min_scalar_type(-symbols)


def indices_by_length(lengths: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each length that occurs, shortest first, and the indices that have it."""
    small = lengths.astype(np.min_scalar_type(lengths.max(initial=0)))  # is sorted in a fifth of the time
    order = np.argsort(small, kind="stable")
    start = 0
    for length, count in enumerate(np.bincount(lengths).tolist()):
        if count:
            yield length, order[start : start + count]
            start += count


def group_by_length(sequences: Sequence[Sequence[int]]) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """For each length, shortest first: the indices of the sequences that have it, and these, ``[rows, length]``."""
    if isinstance(sequences, Sequences):
        for length, indices in indices_by_length(sequences.lengths):
            yield indices, sequences.padded.take(indices, axis=0)[:, :length]
    else:
        for _, indices in indices_by_length(np.array([len(sequence) for sequence in sequences], dtype=np.intp)):
            yield indices, np.array([sequences[index] for index in indices.tolist()])


def read_sequences(path: Path, task: TaskConfig, longest: int = 10_000_000) -> list[list[int]]:
    """Read source sequences from a file; raise ``InputError`` if it cannot be read, and as ``parse_lines`` does."""
    with open_regular(path, "a file with one sequence a line", "seqrev evaluate --split test") as file:
        return list(parse_lines(file, str(path), task, longest))


def parse_lines(file: BinaryIO, name: str, task: TaskConfig, longest: int, hint: str = "") -> Iterator[list[int]]:
    """The sequence of each line: ``4 8 2 9``, or a JSON row with ``src`` (and ``tgt``, checked).

    Raises:
        InputError: there is no line, or one is not text, or far too long.
        UsageError: a line is not a sequence over the vocabulary; the message has its number.
    """
    number, bytes_of_a_line = 0, 100_000 + 25 * longest  # at most, for source and target
    for number, line in enumerate(read_lines(file, name, bytes_of_a_line), start=1):
        try:
            text = line.decode()
            if text.lstrip().startswith("{"):
                sequence = _parse_row(text, task, longest)
            else:
                sequence = parse_sequence(text, task.symbols, longest)
        except UnicodeDecodeError:
            raise InputError(f"{name} is not text: line {number} is not UTF-8.") from None
        except UsageError as error:
            raise UsageError(f"Line {number}: {error}", error.hint) from None
        yield sequence
    if number == 0:
        raise InputError(f"{name} is empty; one sequence a line was expected.", hint)


def _parse_row(line: str, task: TaskConfig, longest: int) -> list[int]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError('This is not valid JSON; {"src": [4, 8, 2, 9]} was expected.') from None
    source = row.get("src")
    if not isinstance(source, list) or not all(type(symbol) is int for symbol in source):
        raise UsageError('"src" must be a list of whole numbers, as in {"src": [4, 8, 2, 9]}.')
    check_sequence(source, task.symbols, longest)
    if "tgt" in row and row["tgt"] != apply_rule(np.array(source), task.rule).tolist():
        raise UsageError(f'"tgt" is not what the rule {task.rule} makes of "src" ({shorten(source)}).')
    return source


def example(sequences: Sequence[Sequence[int]], at_most: int = 20) -> list[int]:
    """The first of the longest sequences that a picture has room for, or else of the shortest; shown as an example."""
    lengths = [len(sequence) for sequence in sequences]
    wanted = max((length for length in lengths if length <= at_most), default=min(lengths))
    return list(sequences[lengths.index(wanted)])
