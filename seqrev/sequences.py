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
        for length in np.unique(self.lengths):
            (places,) = np.nonzero(self.lengths == length)
            yield places, self.padded[places, :length]

    def answers(self) -> Array:
        """What the task makes of each, padded alike."""
        answers = np.full_like(self.padded, NOTHING)
        for places, sources in self.by_length():
            answers[places, : sources.shape[1]] = apply_rule(sources)
        return answers

    def to_jsonl(self, symbols: int) -> bytes:
        """A line for each sequence, ``{"src": [4, 8], "tgt": [8, 4]}``.

        All lines are written into one table of bytes, a cell of fixed width for each symbol; what stays empty is then
        taken out.

        >>> Sequences(np.array([[4, 8, -1], [2, 9, 1]])).to_jsonl(symbols=10).decode().splitlines()
        ['{"src": [4, 8], "tgt": [8, 4]}', '{"src": [2, 9, 1], "tgt": [1, 9, 2]}']
        """
        words, rows = _words(symbols), len(self)
        last = np.arange(self.padded.shape[1]) == self.lengths[:, None] - 1
        after = np.where(last, symbols, 0)  # the last symbol has no comma after it

        def cells(padded: Array) -> NDArray[np.uint8]:
            chosen = words[np.where(padded == NOTHING, 2 * symbols, padded + after)]
            return chosen.view(np.uint8).reshape(rows, padded.shape[1] * words.itemsize)

        def always(text: bytes) -> NDArray[np.uint8]:
            return np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text)))

        pieces = (always(b'{"src": ['), cells(self.padded), always(b'], "tgt": ['), cells(self.answers()), always(b"]}\n"))
        return np.concatenate(pieces, axis=1).tobytes().translate(None, b"\0")


@functools.lru_cache(maxsize=4)
def _words(symbols: int) -> NDArray[np.bytes_]:
    """How each symbol is written: with a comma after it, then without; then nothing at all."""
    numbers = np.arange(symbols).astype(bytes)
    width = -(-(numbers.itemsize + 2) // 4) * 4  # whole machine words are copied much faster
    return np.concatenate((np.strings.add(numbers, b", "), numbers, [b""])).astype(f"S{width}")
