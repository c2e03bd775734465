"""Sequences of different lengths as one array, and as lines of text: those of a dataset, and those that people write."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from seqrev.errors import InputError, UsageError, shorten
from seqrev.files import open_regular, read_text_lines
from seqrev.task import Array, apply_rule, check, parse_sequence

NOTHING = -1  # stands where a sequence has ended
LONGEST_SEQUENCE = 10_000_000  # symbols, in a file
BLOCK = 1_048_576  # bytes of a dataset that are read together


class Sequences(Sequence[list[int]]):
    """A read-only list of sequences, held as one array: a list of lists takes many times the memory.

    >>> Sequences(np.array([[4, 8, -1], [2, 9, 1]]))[0]
    [4, 8]
    """

    def __init__(self, padded: Array, lengths: NDArray[np.intp] | None = None) -> None:
        """``padded``: symbols, ``[rows, longest]``, filled up with ``NOTHING``; ``lengths``: where they are known."""
        self.padded = padded
        self.lengths = (padded != NOTHING).sum(axis=1) if lengths is None else lengths

    @overload
    def __getitem__(self, place: int) -> list[int]: ...
    @overload
    def __getitem__(self, place: slice) -> "Sequences": ...
    def __getitem__(self, place: int | slice) -> "list[int] | Sequences":
        if isinstance(place, slice):
            return Sequences(self.padded[place])
        row: list[int] = self.padded[place, : self.lengths[place]].tolist()
        return row

    def __len__(self) -> int:
        return len(self.padded)

    def by_length(self) -> Iterator[tuple[NDArray[np.intp], Array]]:
        """For each length, shortest first: where its sequences stand, and the sequences, ``[rows, length]``."""
        for length, places in places_by_length(self.lengths):
            yield places, self.padded.take(places, axis=0)[:, :length]

    def to_jsonl(self, symbols: int) -> bytes:
        """A line for each sequence, ``{"src": [4, 8], "tgt": [8, 4]}``.

        The lines of one length are written together, as a table of bytes with equal room for every symbol.

        >>> Sequences(np.array([[4, 8, -1], [2, 9, 1]])).to_jsonl(symbols=10).decode().splitlines()
        ['{"src": [4, 8], "tgt": [8, 4]}', '{"src": [2, 9, 1], "tgt": [1, 9, 2]}']
        """
        digits = len(str(symbols - 1))
        before, between, after = b'{"src": [', b'], "tgt": [', b"]}\n"
        widths = len(before + between + after) + 2 * ((digits + 2) * self.lengths - 2)
        ends = np.cumsum(widths)
        text = np.empty(widths.sum(), np.uint8)
        for places, sources in self.by_length():
            room = b", ".join([b" " * digits] * sources.shape[1])
            line = np.frombuffer(before + room + between + room + after, np.uint8)
            table = np.empty((len(places), len(line)), np.uint8)
            table[:] = line
            for numbers, start in ((sources, len(before)), (apply_rule(sources), len(before + room + between))):
                for place in range(digits):
                    power = 10 ** (digits - 1 - place)
                    digit = numbers // power % 10 + ord("0") if digits > 1 else numbers + ord("0")
                    if power > 1:
                        digit[numbers < power] = 0  # nothing is written there
                    table[:, start + place : start + len(room) : digits + 2] = digit
            whole = np.dtype(f"V{len(line)}")  # a line as one element, to be put anywhere in the text
            anywhere = np.ndarray(len(text) - len(line) + 1, whole, text, strides=(1,))
            anywhere[ends[places] - len(line)] = table.view(whole)[:, 0]
        return text.tobytes() if digits == 1 else text.tobytes().translate(None, b"\0")


def integers_for(symbols: int) -> np.dtype[np.integer]:
    """The smallest integers that have all symbols, and ``NOTHING``."""
    return np.min_scalar_type(-symbols)


def places_by_length(lengths: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each length that occurs, shortest first, and where."""
    small = lengths.astype(np.min_scalar_type(lengths.max(initial=0)))  # is sorted in a fifth of the time
    order = np.argsort(small, kind="stable")
    start = 0
    for length, count in enumerate(np.bincount(lengths).tolist()):
        if count:
            yield length, order[start : start + count]
            start += count


def read_jsonl(file: BinaryIO, most: int, longest: int, symbols: int) -> Sequences | None:
    """Read what ``Sequences.to_jsonl`` wrote, many lines at a time: ten times as fast as line by line.

    The numbers are taken out of the text without a look at what stands between them, and written again: if that is the
    same text, they are right, and so is all else.

    Returns:
        None where it is not the same, or there are more than ``most`` sequences, or longer ones, or other symbols; and
        where a table of the longest would take many times the memory of the text.
    """
    digits_only = bytes(byte if chr(byte).isdigit() else ord(" ") for byte in range(128)).ljust(256)
    longest_text = 32 + 2 * (len(str(symbols)) + 2) * longest  # of a line: one without an end is not read to its end
    blocks = [np.empty((0, longest), integers_for(symbols))]
    room = 0  # symbols that the table may still have: eight for each byte that was read
    while text := file.read(BLOCK):
        text += file.readline(longest_text)
        lengths = np.array([line.count(b",") // 2 + 1 for line in text.splitlines()])
        most -= len(lengths)
        room += 8 * len(text) - len(lengths) * longest
        if most < 0 or room < 0 or lengths.max() > longest:
            return None
        numbers = np.fromstring(text.translate(digits_only), np.int64, sep=" ")
        if 2 * lengths.sum() != len(numbers) or numbers.max() >= symbols:
            return None
        rows = np.full((len(lengths), longest), NOTHING, blocks[0].dtype)
        is_source = np.tile([True, False], len(lengths)).repeat(lengths.repeat(2))
        rows[np.arange(longest) < lengths[:, None]] = numbers[is_source]
        if Sequences(rows, lengths).to_jsonl(symbols) != text:
            return None
        blocks.append(rows)
    return Sequences(np.concatenate(blocks))


def read_sequences(path: Path, symbols: int, longest: int = LONGEST_SEQUENCE) -> list[list[int]]:
    """Read source sequences from a file: JSONL rows with ``src`` (and ``tgt``, checked), or one sequence a line.

    Raises:
        InputError: the file is missing, empty or not text.
        UsageError: a line is not a sequence over the vocabulary; the message has its number.
    """
    with open_regular(path, "a file with one sequence a line", "seqrev evaluate --split test") as file:
        lines = read_text_lines(file, str(path), longest_line(longest))
        sequences = [parse_line(line, number, symbols, longest) for number, line in enumerate(lines, start=1)]
    if not sequences:
        raise InputError(f"{path} is empty; one sequence a line was expected.")
    return sequences


def longest_line(symbols: int) -> int:
    """Bytes that a line with so many symbols may have, a row with source and target included."""
    return 100_000 + 25 * symbols


def parse_line(line: str, number: int, symbols: int, longest: int = LONGEST_SEQUENCE) -> list[int]:
    """One line of a file or of standard input: ``4 8 2 9``, or a JSON row ``{"src": [4, 8, 2, 9]}``.

    Raises:
        UsageError: with the line's number.
    """
    try:
        if line.lstrip().startswith("{"):
            return _parse_row(line, symbols, longest)
        return parse_sequence(line, symbols, longest)
    except UsageError as error:
        raise UsageError(f"Line {number}: {error}", error.hint) from None


def _parse_row(line: str, symbols: int, longest: int) -> list[int]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError('This is not valid JSON; {"src": [4, 8, 2, 9]} was expected.') from None
    source = row.get("src")
    if not isinstance(source, list) or not all(type(symbol) is int for symbol in source):
        raise UsageError('"src" must be a list of whole numbers, as in {"src": [4, 8, 2, 9]}.')
    check(source, symbols, longest)
    if "tgt" in row and row["tgt"] != apply_rule(np.array(source)).tolist():
        raise UsageError(f'"tgt" is not what the task makes of "src" ({shorten(source)}).')
    return source


def example(sequences: Sequence[Sequence[int]], at_most: int = 20) -> list[int]:
    """The first of the longest sequences that a picture has room for, or else of the shortest; shown as an example."""
    lengths = [len(sequence) for sequence in sequences]
    wanted = max((length for length in lengths if length <= at_most), default=min(lengths))
    return list(sequences[lengths.index(wanted)])
