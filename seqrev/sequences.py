"""Sequences of different lengths as one array, and as the lines of a dataset file."""

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

        The lines of one length are written together, as a table of bytes with equal room for every symbol.

        >>> Sequences(np.array([[4, 8, -1], [2, 9, 1]])).to_jsonl(symbols=10).decode().splitlines()
        ['{"src": [4, 8], "tgt": [8, 4]}', '{"src": [2, 9, 1], "tgt": [1, 9, 2]}']
        """
        digits, lines = len(str(symbols - 1)), np.empty(len(self), dtype=object)
        before, between, after = b'{"src": [', b'], "tgt": [', b"]}\n"
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
            lines[places] = table.view(f"S{len(line)}")[:, 0]
        text = b"".join(lines.tolist())
        return text if digits == 1 else text.translate(None, b"\0")
