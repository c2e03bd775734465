"""The task: the rule that is learned, and the vocabulary.

A *symbol* is what people write and read: an integer from 0 to ``symbols - 1``. An *id* is what the model sees: the three
special tokens come first, so symbol ``s`` has the id ``s + 3``, and ten symbols make a vocabulary of 13.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqrev.errors import UsageError, shorten

Array = NDArray[np.integer]

PAD, BOS, EOS = 0, 1, 2
SPECIAL_TOKENS = ("<PAD>", "<BOS>", "<EOS>")
FIRST_SYMBOL = len(SPECIAL_TOKENS)
LONGEST_OF_EXTRAPOLATE = 131_070  # symbols that the model of configs/extrapolate.yaml takes


def source_of_output(sources: Array) -> Array:
    """Which source symbol is emitted at each step: the rule, and the only place that knows that it is reversal.

    It is also where a model that has learned the rule has to look: for reversal, the anti-diagonal. To teach another
    rule, return other indices: ``np.arange(length)`` copies, ``sources.argsort(axis=-1, kind="stable")`` sorts.

    Args:
        sources: symbols, ``[..., length]``.

    Returns:
        Indices into the last axis of ``sources``, ``[..., length]``.

    >>> source_of_output(np.array([4, 8, 2, 9])).tolist()
    [3, 2, 1, 0]
    """
    length = sources.shape[-1]
    return np.broadcast_to(np.arange(length)[::-1], sources.shape)


def apply_rule(sources: Array) -> Array:
    """What the model should answer.

    >>> apply_rule(np.array([4, 8, 2, 9])).tolist()
    [9, 2, 8, 4]
    """
    places = source_of_output(sources)
    if sources.size and not any(places.strides[:-1]):  # the same for every sequence: ten times as fast
        return sources.take(places.flat[: sources.shape[-1]], axis=-1)
    return np.take_along_axis(sources, places, axis=-1)


def vocabulary_size(symbols: int) -> int:
    """Ids in use: 13 for ten symbols."""
    return FIRST_SYMBOL + symbols


def frame(symbols: Array) -> NDArray[np.int64]:
    """Symbols ``[..., length]`` to ids between ``<BOS>`` and ``<EOS>``, ``[..., length + 2]``.

    >>> frame(np.array([4, 8, 2, 9])).tolist()
    [1, 7, 11, 5, 12, 2]
    """
    edges = [(0, 0)] * (symbols.ndim - 1) + [(1, 1)]
    framed = np.pad(symbols.astype(np.int64) + FIRST_SYMBOL, edges)
    framed[..., 0], framed[..., -1] = BOS, EOS
    return framed


def frame_all(sequences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Sequences of different lengths to one array of ids, padded at the end, ``[rows, longest + 2]``.

    >>> frame_all([[4, 8, 2], [9]]).tolist()
    [[1, 7, 11, 5, 2], [1, 12, 2, 0, 0]]
    """
    framed = np.full((len(sequences), max(map(len, sequences)) + 2), PAD)
    framed[:, 0] = BOS
    for row, sequence in zip(framed, sequences, strict=True):
        row[1 : len(sequence) + 1] = sequence
        row[1 : len(sequence) + 1] += FIRST_SYMBOL
        row[len(sequence) + 1] = EOS
    return framed


def decode(ids: Sequence[int]) -> list[int]:
    """Ids to symbols, up to the first ``<EOS>``.

    >>> decode([12, 5, 11, 7, 2, 0, 0])
    [9, 2, 8, 4]
    """
    end = ids.index(EOS) if EOS in ids else len(ids)
    return [token - FIRST_SYMBOL for token in ids[:end]]


def check(sequence: Sequence[int], symbols: int, longest: int | None = None) -> None:
    """Refuse what the vocabulary does not have, or the model is too short for.

    Raises:
        UsageError: the sequence is empty or has more than ``longest`` symbols, or a symbol is out of range.
    """
    if not len(sequence):
        raise UsageError("The sequence is empty; at least one symbol was expected.", _example(symbols))
    if longest is not None:
        check_length(len(sequence), longest)
    for symbol in sequence:
        if not isinstance(symbol, (int, np.integer)) or isinstance(symbol, bool) or not 0 <= symbol < symbols:
            raise UsageError(
                f"{shorten(symbol)} is not in the vocabulary; the symbols are 0 to {symbols - 1}.", _example(symbols)
            )


def check_length(length: int, longest: int) -> None:
    """Refuse what is too long for a model, before any work is done.

    Raises:
        UsageError: naming the longest that it takes.
    """
    if length > longest:
        raise UsageError(
            f"The sequence has {length:,} symbols; this model takes 1 to {longest:,} (model.max_positions less two).",
            "seqrev train --config configs/extrapolate.yaml"
            + (f" --set model.max_positions={length + 2}" if length > LONGEST_OF_EXTRAPOLATE else ""),
        )


def parse_sequence(text: str, symbols: int, longest: int | None = None) -> list[int]:
    """Read one line of symbols, separated by spaces or commas.

    >>> parse_sequence("4 8, 2 9", symbols=10)
    [4, 8, 2, 9]

    Raises:
        UsageError: a word that is not a whole number, symbols that are not separated, or what ``check`` refuses.
    """
    sequence = []
    for word in text.replace(",", " ").split():
        # int() also takes "1_0" and the digits of other scripts; a line with those is damaged rather than meant so
        if not (word.isascii() and word.removeprefix("-").isdigit()) or len(word) > 20:
            raise UsageError(
                f"{shorten(word)} is not a whole number; the symbols are 0 to {symbols - 1}.", _example(symbols)
            )
        sequence.append(int(word))
        if sequence[-1] >= symbols and symbols <= 10 and all(int(digit) < symbols for digit in word):
            raise UsageError(
                f"{word} is not in the vocabulary; the symbols are 0 to {symbols - 1}. Put spaces between them.",
                f"seqrev decode {' '.join(''.join(text.split()))}"
                if text.replace(" ", "").isdigit()
                else _example(symbols),
            )
    check(sequence, symbols, longest)
    return sequence


def _example(symbols: int) -> str:
    return "seqrev decode " + " ".join(str(number % symbols) for number in (4, 8, 2, 9))
