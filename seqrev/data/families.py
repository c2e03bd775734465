"""Sequences that random data hardly ever has: every short one, and families with a pattern."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from seqrev.config import TaskConfig
from seqrev.data.sampling import FAMILY
from seqrev.data.sequences import Sequences, digits
from seqrev.errors import UsageError, command_line
from seqrev.system.resources import check_memory
from seqrev.task import Array

MOST_SEQUENCES = 2_000_000  # that are tried: some minutes
ROWS_AT_ONCE = 100_000
FAMILY_SIZE = 2_000  # sequences of a family, over all lengths, where it has so many
MOST_LENGTHS = 100  # of a family; of more, so many are tried, as far apart as possible


def count_up_to(longest: int, symbols: int) -> int:
    """How many sequences of 1 to ``longest`` symbols there are.

    Raises:
        UsageError: more than can be listed.

    >>> count_up_to(5, 10)
    111110
    """
    total = 0
    for length in range(1, longest + 1):
        total += symbols**length
        if total > MOST_SEQUENCES:
            hint = command_line("evaluate", "--exhaustive", length - 1) if length > 1 else "seqrev evaluate --families"
            problem = f"There are too many sequences of up to {longest:,} symbols; at most {MOST_SEQUENCES:,} are tried."
            raise UsageError(problem, hint)
    return total


def sequences_up_to(longest: int, symbols: int) -> Iterator[Sequences]:
    """Every sequence of 1 to ``longest`` symbols, in order, in chunks of one length."""
    for length in range(1, longest + 1):
        for start in range(0, symbols**length, ROWS_AT_ONCE):
            numbers = np.arange(start, min(start + ROWS_AT_ONCE, symbols**length))
            yield Sequences(digits(numbers, length, symbols))


def _constant(letters: Array, length: int) -> Array:
    return letters[:, [0] * length]


def _alternating(letters: Array, length: int) -> Array:
    different: Array = letters[letters[:, 0] != letters[:, 1]] if length > 1 else letters[:0]
    return different[:, np.arange(length) % 2]


def _palindromes(letters: Array, length: int) -> Array:
    return np.concatenate((letters, letters[:, : length // 2][:, ::-1]), axis=1)


def _two_symbols(letters: Array, length: int) -> Array:
    return np.take_along_axis(letters[:, :2], letters[:, 2 : length + 2] % 2, axis=1)


def _ascending(letters: Array, length: int) -> Array:
    return np.sort(letters[:, :length], axis=1)


def _descending(letters: Array, length: int) -> Array:
    return _ascending(letters, length)[:, ::-1]


# Each makes sequences, ``[rows, length]``, from letters, ``[rows, n]``: n depends on the length.
FAMILIES: Mapping[str, tuple[Callable[[int], int], Callable[[Array, int], Array]]] = {
    "constant": (lambda length: 1, _constant),
    "alternating": (lambda length: 2, _alternating),
    "palindromes": (lambda length: (length + 1) // 2, _palindromes),
    "two symbols": (lambda length: length + 2, _two_symbols),
    "ascending": (lambda length: length, _ascending),
    "descending": (lambda length: length, _descending),
}


def families(task: TaskConfig) -> Iterator[tuple[str, Sequences]]:
    """Names and sequences of all families, of the lengths of the task: the same ones in every run.

    ``constant``, ``alternating`` (two different symbols in turn), ``palindromes``, ``two symbols`` (in any order),
    ``ascending`` and ``descending``. Of a length that has few of the letters which a family is made of, all are there; else
    different ones, chosen at random, at most its share of ``FAMILY_SIZE``.

    Raises:
        UsageError: they do not fit in memory.
    """
    symbols, count = task.symbols, min(MOST_LENGTHS, task.max_length - task.min_length + 1)
    lengths = np.linspace(task.min_length, task.max_length, count).round().astype(int).tolist()
    share = FAMILY_SIZE // count
    check_memory(FAMILY_SIZE * task.max_length * 200, f"Sequences of {task.max_length:,} symbols")
    for name, (count_letters, make) in FAMILIES.items():
        rows: list[list[int]] = []
        for length in lengths:
            letters = count_letters(length)
            rng = np.random.default_rng([FAMILY, length])
            if letters * math.log(symbols) <= math.log(4 * share):
                words = digits(np.arange(symbols**letters), letters, symbols)
            else:
                words = rng.integers(symbols, size=(4 * share, letters))
            made = np.unique(make(words, length), axis=0)
            rows += rng.permutation(made)[:share].tolist()
        if rows:
            yield name, Sequences.from_lists(rows, symbols)
