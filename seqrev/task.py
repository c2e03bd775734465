"""The task: the rules that can be learned, and the vocabulary.

A *symbol* is what people write and read: an integer from 0 to ``symbols - 1``. An *id* is what the model sees: the three
special tokens come first, so symbol ``s`` has the id ``s + 3``, and ten symbols make a vocabulary of 13.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqrev.errors import UsageError, command_line
from seqrev.system.text import shorten

Array = NDArray[np.integer]
Length = TypeVar("Length", int, Array)

PAD, BOS, EOS = 0, 1, 2
FIRST_SYMBOL = 3
ENDED = -1  # fills an array of symbols where a shorter sequence has ended
EXTRAPOLATE_LONGEST = 131_070  # symbols that the model of configs/extrapolate.yaml takes


RuleName = Literal["reverse", "copy", "sort", "rotate", "swap", "odd_first", "repeat", "pairs"]


def _odd_first(sources: Array) -> Array:
    positions = np.arange(sources.shape[-1])
    return np.concatenate((positions[::2], positions[1::2]))


def _swap(sources: Array) -> Array:
    length = sources.shape[-1]
    positions: Array = np.minimum(np.arange(length) ^ 1, length - 1)
    return positions


# Which source symbol is emitted at each step: from symbols, ``[..., length]``, to their indices, ``[..., steps]``, or only
# ``[steps]`` where they do not depend on the symbols. Nothing else knows what a rule does; a new one is a line
# here, and its name above. (``pairs`` is no rule: the answers are those that somebody gave.)
RULES: Mapping[RuleName, Callable[[Array], Array]] = {
    "reverse": lambda sources: np.arange(sources.shape[-1])[::-1],
    "copy": lambda sources: np.arange(sources.shape[-1]),
    "sort": lambda sources: sources.argsort(axis=-1, kind="stable"),
    "rotate": lambda sources: np.roll(np.arange(sources.shape[-1]), -1),  # the first symbol goes to the end
    "swap": _swap,  # each symbol changes places with its neighbour; of an odd number, the last one stays
    "odd_first": _odd_first,  # the first, third, fifth, … symbol, then the second, fourth, …
    "repeat": lambda sources: np.arange(sources.shape[-1]).repeat(2),  # each symbol twice
}
TIMES_AS_LONG: Mapping[RuleName, int] = {"repeat": 2}  # as its source, is an answer; else it is as long


def _indices(sources: Array, rule: RuleName) -> Array:
    if rule not in RULES:
        raise UsageError("What the answers are is known of the given pairs only.", "seqrev evaluate --split test")
    return RULES[rule](sources)


def answer_length(length: Length, rule: RuleName) -> Length:
    """Symbols in the answer to so many symbols; of ``pairs``, which nobody knows, as many."""
    return length * TIMES_AS_LONG.get(rule, 1)


def alignment(sources: Array, rule: RuleName) -> Array:
    """Which source symbol is emitted at each step, and so where a model that has learned the rule has to look.

    From symbols, ``[..., length]``, to indices into their last axis, ``[..., steps]``. Raises ``UsageError`` for ``pairs``.

    >>> alignment(np.array([4, 8, 2, 9]), "reverse").tolist()
    [3, 2, 1, 0]
    """
    indices = _indices(sources, rule)
    return np.broadcast_to(indices, (*sources.shape[:-1], indices.shape[-1]))


def alignment_name(rule: RuleName) -> str:
    """What the alignment looks like in a map."""
    return {"reverse": "anti-diagonal", "copy": "diagonal"}.get(rule, f"alignment of {rule}")


def apply_rule(sources: Array, rule: RuleName) -> Array:
    """What the model should answer, ``[..., steps]``; rows may be filled up with ``ENDED``.

    Raises ``UsageError`` for ``pairs``.

    >>> apply_rule(np.array([[4, 8, 2, 9], [7, 1, -1, -1]]), "reverse").tolist()
    [[9, 2, 8, 4], [1, 7, -1, -1]]
    """
    lengths = (sources != ENDED).sum(axis=-1)
    if not (lengths == sources.shape[-1]).all():
        answers = np.full((*sources.shape[:-1], answer_length(sources.shape[-1], rule)), ENDED, sources.dtype)
        for length in np.unique(lengths).tolist():
            rows = lengths == length
            answers[rows, : answer_length(length, rule)] = apply_rule(sources[rows, :length], rule)
        return answers
    indices = _indices(sources, rule)
    if indices.ndim == 1 < sources.ndim:  # the same for every sequence: ten times as fast
        return sources.take(indices, axis=-1)
    return np.take_along_axis(sources, indices, axis=-1)


def vocabulary_size(symbols: int) -> int:
    """Ids in use: 13 for ten symbols."""
    return FIRST_SYMBOL + symbols


def add_special_tokens(symbols: Array) -> NDArray[np.int64]:
    """Symbols, ``[..., longest]``, to ids between ``<BOS>`` and ``<EOS>``, ``[..., longest + 2]``; ``ENDED`` to ``<PAD>``.

    >>> add_special_tokens(np.array([[4, 8, 2], [9, -1, -1]])).tolist()
    [[1, 7, 11, 5, 2], [1, 12, 2, 0, 0]]
    """
    real = symbols != ENDED
    ids = np.full((*symbols.shape[:-1], symbols.shape[-1] + 2), PAD)
    ids[..., 0] = BOS
    np.add(symbols, FIRST_SYMBOL, out=ids[..., 1:-1], where=real, dtype=ids.dtype)
    np.put_along_axis(ids, real.sum(axis=-1, keepdims=True) + 1, EOS, axis=-1)
    return ids


def ids_to_symbols(ids: Sequence[int]) -> list[int]:
    """Ids to symbols, up to the first ``<EOS>``.

    >>> ids_to_symbols([12, 5, 11, 7, 2, 0, 0])
    [9, 2, 8, 4]
    """
    end = ids.index(EOS) if EOS in ids else len(ids)
    return [token - FIRST_SYMBOL for token in ids[:end]]


def check_sequence(sequence: Sequence[int], symbols: int, longest: int = sys.maxsize) -> None:
    """Raise ``UsageError`` if a sequence is empty or has more than ``longest`` symbols, or a symbol is out of range."""
    if not len(sequence):
        raise UsageError("The sequence is empty; at least one symbol was expected.", _example(symbols))
    check_length(len(sequence), longest)
    for symbol in sequence:
        if not isinstance(symbol, (int, np.integer)) or isinstance(symbol, bool) or not 0 <= symbol < symbols:
            raise _not_a_symbol(symbol, symbols)


def check_length(length: int, longest: int) -> None:
    """Raise ``UsageError`` if a sequence is too long for a model, naming the longest that it takes."""
    if length > longest:
        more = ("--set", f"model.max_positions={length + 2}") if length > EXTRAPOLATE_LONGEST else ()
        raise UsageError(
            f"The sequence has {length:,} symbols; this model takes 1 to {longest:,} (model.max_positions less two).",
            command_line("train", "--config", "extrapolate", *more),
        )


def parse_sequence(text: str, symbols: int, longest: int = sys.maxsize) -> list[int]:
    """Read a line of symbols, separated by spaces or commas; raise ``UsageError``, with the reason, for anything else.

    >>> parse_sequence("4 8, 2 9", symbols=10)
    [4, 8, 2, 9]
    """
    sequence = []
    for word in text.replace(",", " ").split():
        # int() also takes "1_0" and the digits of other scripts; a line with those is damaged rather than meant so
        if not (word.isascii() and word.removeprefix("-").isdigit()) or len(word) > 20:
            raise _not_a_symbol(word, symbols, "a whole number")
        sequence.append(int(word))
        if sequence[-1] >= symbols and symbols <= 10 and all(int(digit) < symbols for digit in word):
            error = _not_a_symbol(sequence[-1], symbols)
            digits = "".join(text.replace(",", " ").split())
            hint = command_line("decode", *digits) if digits.isdigit() else error.hint
            raise UsageError(f"{error} Put spaces between them.", hint)
    check_sequence(sequence, symbols, longest)
    return sequence


def _not_a_symbol(value: object, symbols: int, expected: str = "in the vocabulary") -> UsageError:
    return UsageError(f"{shorten(value)} is not {expected}; the symbols are 0 to {symbols - 1}.", _example(symbols))


def _example(symbols: int) -> str:
    return command_line("decode", *example_sequence(symbols))


def example_sequence(symbols: int, longest: int = 4) -> list[int]:
    """``4 8 2 9``, or what is nearest to it of an alphabet and a length.

    >>> example_sequence(symbols=2)
    [0, 0, 0, 1]
    """
    return [number % symbols for number in (4, 8, 2, 9)][:longest]
