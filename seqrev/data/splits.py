"""Training, validation, test: which split a sequence belongs to is a function of the sequence itself."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seqrev.config import Config
from seqrev.task import ENDED, Array

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
HELD_OUT = 10  # per cent of all sequences that belong to validation, and as many to test
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio, and odd: it has an inverse modulo 2⁶⁴
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))


def split_of(sequences: Array) -> NDArray[np.int8]:
    """The split that each sequence belongs to: a function of the sequence alone, the same in every run.

    So a test sequence of one run was not trained on in any other, whatever their seeds. The function is a 64-bit
    polynomial hash (multiply by an odd constant, add the symbol), finished with the mixer of SplitMix64 (Steele et al.
    2014), taken modulo 100: 0–79 train, 80–89 validation, 90–99 test. From symbols, ``[rows, longest]``, filled up with
    ``ENDED``, to indices into ``SPLITS``, ``[rows]``.
    """
    percent = hash_rows(sequences) % np.uint64(100)
    return (percent >= 100 - 2 * HELD_OUT).astype(np.int8) + (percent >= 100 - HELD_OUT)


def hash_rows(sequences: Array) -> NDArray[np.uint64]:
    """The 64-bit hash of each sequence of ``[rows, longest]``, whatever it is filled up to, ``[rows]``.

    Of a sequence of n symbols it mixes ``n aⁿ + Σ (xᵢ + 1) aⁿ⁻¹⁻ⁱ``, computed as ``aⁿ (n + Σ (xᵢ + 1) b¹⁺ⁱ)``, where b is
    the inverse of a: so the factors are the same for all rows, and ``ENDED``, which is -1, adds nothing.
    """
    exponents = np.arange(sequences.shape[1] + 1, dtype=np.uint64)
    lengths = (sequences != ENDED).sum(axis=1)
    inverse = _INVERSE ** exponents[1:]
    mixed: NDArray[np.uint64] = lengths.astype(np.uint64) + inverse.sum()  # symbols count from one
    mixed = mixed + np.einsum("rl,l->r", sequences, inverse, dtype=np.uint64, casting="unsafe")
    return mix(mixed * (GOLDEN**exponents)[lengths])


def first_of_each(sequences: Array) -> NDArray[np.intp]:
    """Where each sequence of ``[rows, longest]`` is for the first time, in order: the others are repetitions."""
    return np.sort(np.unique(hash_rows(sequences), return_index=True)[1])


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The mixer of SplitMix64: every bit of a number decides about every bit of the result."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def split_sizes(config: Config) -> dict[Split, int]:
    """The splits that a configuration's dataset has, with their sizes; a stream needs no training split."""
    sizes: dict[Split, int] = {"validation": config.data.validation, "test": config.data.test}
    return sizes if config.data.stream else {"train": config.data.train, **sizes}
