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


def places_by_length(lengths: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each length that occurs, shortest first, and where."""
    small = lengths.astype(np.min_scalar_type(lengths.max(initial=0)))  # is sorted in a fifth of the time
    order = np.argsort(small, kind="stable")
    start = 0
    for length, count in enumerate(np.bincount(lengths).tolist()):
        if count:
            yield length, order[start : start + count]
            start += count
