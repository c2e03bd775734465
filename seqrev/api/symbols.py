"""Sequences as people have them in Python: lists, arrays, tensors."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqrev.data.sequences import Sequences
from seqrev.errors import UsageError
from seqrev.system.text import shorten

Symbols = Sequence[int] | NDArray[np.integer] | Tensor
"""One sequence: a list, an array or a tensor of whole numbers."""


def as_lists(sequences: Iterable[Symbols]) -> Sequence[Sequence[int]]:
    """The sequences as lists of Python's own numbers; those of a dataset, which may have answers, as they are.

    Raises:
        UsageError: one of them, or all together, cannot be gone through.
    """
    if isinstance(sequences, Sequences):
        return sequences
    return [
        [symbol.item() if isinstance(symbol, np.integer) else symbol for symbol in _items(sequence)]
        for sequence in _items(sequences)
    ]


def _items(value: object) -> list[Any]:
    items = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
    if isinstance(items, Iterable) and not isinstance(items, str):
        return [item.tolist() if isinstance(item, Tensor) else item for item in items]
    problem = f"{shorten(value)} is not a sequence; one like [4, 8, 2, 9] was expected."
    raise UsageError(problem, "model.decode([[4, 8, 2, 9]]), or model.reverse([4, 8, 2, 9])")
