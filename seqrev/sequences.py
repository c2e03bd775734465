"""Sequences of different lengths as one array, and as the lines of a dataset file."""

import functools
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from seqrev.task import Array, apply_rule

NOTHING = -1  # stands where a sequence has ended


class Sequences(Sequence[list[int]]):
    """A read-only list of sequences, held as one array: a list of lists takes many times the memory.

    >>> Sequences(np.array([[4, 8, -1], [2, 9, 1]]))[0]
    [4, 8]
    """

    def __init__(self, padded: Array) -> None:
        """``padded``: symbols, ``[rows, longest]``, filled up with ``NOTHING``."""
        self.padded = padded
        self.lengths = (padded != NOTHING).sum(axis=1)

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
        for length in np.flatnonzero(np.bincount(self.lengths)):
            (places,) = np.nonzero(self.lengths == length)
            yield places, self.padded[places, :length]

    def to_jsonl(self, symbols: int) -> bytes:
        """A line for each sequence, ``{"src": [4, 8], "tgt": [8, 4]}``.

        The lines of one length are written together, as a table of bytes with a cell for each symbol.

        >>> Sequences(np.array([[4, 8, -1], [2, 9, 1]])).to_jsonl(symbols=10).decode().splitlines()
        ['{"src": [4, 8], "tgt": [8, 4]}', '{"src": [2, 9, 1], "tgt": [1, 9, 2]}']
        """
        words, lines = _words(symbols), np.empty(len(self), dtype=object)
        for places, sources in self.by_length():
            room = b" " * (sources.shape[1] * words.shape[1] - 2)  # there is no comma before the first
            before, between, after = b'{"src": [', b'], "tgt": [', b"]}\n"
            line = np.frombuffer(before + room + between + room + after, np.uint8)
            table = np.tile(line, (len(places), 1))
            for numbers, start in ((sources, len(before)), (apply_rule(sources), len(before + room + between))):
                table[:, start : start + len(room)] = words[numbers].reshape(len(places), -1)[:, 2:]
            lines[places] = table.view(f"S{len(line)}")[:, 0]
        text = b"".join(lines.tolist())
        return text if symbols <= 10 else text.translate(None, b"\0")  # what short numbers leave empty in their cells


@functools.lru_cache(maxsize=4)
def _words(symbols: int) -> NDArray[np.uint8]:
    """How each symbol is written, a comma before it: characters, ``[symbol, most]``, zero where a number is shorter."""
    numbers = np.arange(symbols).astype(f"S{len(str(symbols - 1))}")
    return np.strings.add(b", ", numbers).view(np.uint8).reshape(symbols, -1)
