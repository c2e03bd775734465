"""Sequences of different lengths as one array, and the answers to them."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from seqrev.task import ENDED, Array, RuleName, apply_rule, check_sequence


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
            return self.pick(index)
        row: list[int] = self.padded[index, : self.lengths[index]].tolist()
        return row

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} of at most {self.lengths.max(initial=0):,} symbols>"

    def pick(self, rows: slice | NDArray[np.integer]) -> "Sequences":
        """Some of them: a slice, or any in any order."""
        return Sequences(self.padded[rows])

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


class Pairs(Sequences):
    """Sequences, each with the answer that somebody gave to it. As a list, it is the list of the sources."""

    def __init__(self, sources: Sequences, targets: Sequences) -> None:
        super().__init__(sources.padded, sources.lengths)
        self.targets = targets
        """The answers, in the same order."""

    def pick(self, rows: slice | NDArray[np.integer]) -> "Pairs":
        """Some of the pairs: a slice, or any in any order."""
        return Pairs(super().pick(rows), self.targets.pick(rows))

    def targets_at(self, rows: NDArray[np.integer]) -> Array:
        """The answers of some rows: symbols, ``[rows, longest]``, filled up with ``ENDED``."""
        targets: Array = self.targets.padded[rows][:, : self.targets.lengths[rows].max()]
        return targets

    @classmethod
    def from_pairs(cls, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], symbols: int) -> "Pairs":
        """Of ``(source, target)``, symbols; at least one pair.

        Raises:
            UsageError: a source or a target is empty, or has a symbol that is not one of 0 to ``symbols - 1``.
        """
        sources, targets = zip(*pairs, strict=True)
        for sequence in (*sources, *targets):
            check_sequence(sequence, symbols)
        return cls(Sequences.from_lists(sources, symbols), Sequences.from_lists(targets, symbols))


def pick(sequences: Sequence[Sequence[int]], rows: Sequence[int]) -> Sequence[Sequence[int]]:
    """Some of the sequences, in this order, with the answers that were given to them."""
    if isinstance(sequences, Sequences):
        return sequences.pick(np.array(rows, dtype=np.intp))
    return [sequences[row] for row in rows]


def answers_to(sources: Sequence[Sequence[int]], rule: RuleName) -> list[list[int]]:
    """What should be answered: as it was given, or else by a rule, all sequences of a length at once.

    Raises:
        UsageError: the answers were not given, and the rule is ``pairs``.
    """
    if isinstance(sources, Pairs):
        return list(sources.targets)
    answers: list[list[int]] = [[] for _ in sources]
    for indices, group in group_by_length(sources):
        for index, answer in zip(indices.tolist(), apply_rule(group, rule).tolist(), strict=True):
            answers[index] = answer
    return answers


def targets_of(sources: Sequence[Sequence[int]], rows: NDArray[np.integer], chunk: Array, rule: RuleName) -> Array:
    """The same for some ``rows`` of the sources, which are ``chunk``: ``[rows, longest]``, filled up with ``ENDED``."""
    return sources.targets_at(rows) if isinstance(sources, Pairs) else apply_rule(chunk, rule)


def smallest_integers(symbols: int) -> np.dtype[np.integer]:
    """The smallest integers that have all symbols, and ``ENDED``."""
    return np.min_scalar_type(-symbols)


def digits(numbers: Array, length: int, symbols: int) -> Array:
    """Numbers as sequences: their digits in base ``symbols``, ``[len(numbers), length]``."""
    powers = symbols ** np.arange(length - 1, -1, -1)
    rows: Array = (numbers[:, None] // powers % symbols).astype(smallest_integers(symbols))
    return rows


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


def example(sequences: Sequence[Sequence[int]], at_most: int = 20) -> list[int]:
    """The sequence of ``example_row``, to be shown."""
    return list(sequences[example_row(sequences, at_most)])


def example_row(sequences: Sequence[Sequence[int]], at_most: int = 20) -> int:
    """Where the first of the longest sequences is that a picture has room for, or else of the shortest."""
    lengths = [len(sequence) for sequence in sequences]
    wanted = max((length for length in lengths if length <= at_most), default=min(lengths))
    return lengths.index(wanted)
