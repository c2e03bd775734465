"""Influence: how much probability each emitted token loses when a symbol of the source is another one.

That is an experiment, and so shows causes; attention, or any other picture of one run, is an observation. How well a
picture predicts the causes is a number: the correlation of its cells with those of the influence (as Jain and Wallace,
"Attention is not Explanation", 2019, compare attention with the effect of leaving a word out).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.inference.batching import rows_for_forcing
from seqrev.interpret.attention import Attention
from seqrev.model.tensors import to_array
from seqrev.model.transformer import Transformer
from seqrev.task import FIRST_SYMBOL, add_special_tokens

Picture = NDArray[np.floating[Any]]
MOST_TOKENS = 50_000_000  # of all changed sources together: some minutes


@dataclass(frozen=True)
class Influence:
    """What was found by changing the symbols of one source."""

    seen: Attention
    effect: Picture
    """Mean loss of probability of each emitted token over all other symbols, ``[tgt, symbol]``; 1 is all of it."""

    def attention(self, layer: int | None = None, head: int | None = None) -> Picture:
        """Cross-attention to the symbols, ``[tgt, symbol]``, in a layer (None: the last), by a head (None: their mean)."""
        weights = self.seen.weights("cross", layer)
        weights = weights.mean(axis=0) if head is None else weights[head - 1]
        symbols: Picture = weights[:, 1:-1]
        return symbols

    def agreement(self, picture: Picture) -> float:
        """How well a picture of this shape predicts the influence, over all cells: ``correlation``."""
        return correlation(picture, self.effect)

    def by_row(self, picture: Picture) -> list[float]:
        """The same for each emitted token; NaN where it depends on no symbol, or on all alike."""
        return [correlation(*rows) for rows in zip(picture, self.effect, strict=True)]


def correlation(picture: Picture, effect: Picture) -> float:
    """Pearson's correlation of the cells of a picture with those of an influence: 1 is a picture of the causes.

    0 where all cells of the picture are equal, which tells nothing; NaN where those of the influence are, so that there is
    nothing to tell: no cell is a hundredth of probability from the mean.
    """
    one, other = (values - values.mean() for values in (picture.astype(np.float64), effect.astype(np.float64)))
    if np.abs(other).max(initial=0.0) < 0.01:
        return float("nan")
    length = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / length) if np.abs(one).max() > 1e-12 else 0.0


def influence(model: Transformer, seen: Attention) -> Influence:
    """Replace each symbol of a source by each other one, while the decoder is given the same answer.

    Raises:
        UsageError: there is only one symbol, or so much to try that it would take many minutes.
    """
    source = torch.from_numpy(add_special_tokens(np.array([seen.source]))).to(model.device)
    answer = torch.from_numpy(add_special_tokens(np.array([seen.answer.output], dtype=np.int64))).to(model.device)
    effect = source_influence(model, source, answer[:, : len(seen.emitted_tokens) + 1])
    return Influence(seen, to_array(effect[0]))


@torch.no_grad()
def source_influence(model: Transformer, source: Tensor, answer: Tensor) -> Tensor:
    """The influence of every symbol on every token of the answers, ``[batch, tgt, symbol]``.

    ``source``: ids of sources of one length, ``[batch, symbol + 2]``; ``answer``: from ``<BOS>`` on, ``[batch, tgt + 1]``.
    """
    symbols = model.vocabulary_size - FIRST_SYMBOL
    batch, length = len(source), source.shape[1] - 2
    changes = batch * length * (symbols - 1)
    if not changes or changes * source.shape[1] > MOST_TOKENS:
        raise UsageError(
            f"There are {changes:,} ways to change one of {batch * length:,} symbols; at least one was expected, and "
            f"at most {MOST_TOKENS:,} tokens to read for all of them.",
            "seqrev attention 4 8 2 9 --influence",
        )
    row, position, further = (index.flatten() for index in _grid(batch, length, symbols - 1, source.device))
    before = _probabilities(model, source, answer)
    total = torch.zeros(batch * length, answer.shape[1] - 1, device=source.device, dtype=before.dtype)
    size = max(1, rows_for_forcing(model, max(source.shape[1], answer.shape[1])))
    for start in range(0, changes, size):
        some = slice(start, start + size)
        rows, columns = row[some], position[some] + 1
        changed = source[rows]
        index = torch.arange(len(rows), device=source.device)
        changed[index, columns] = FIRST_SYMBOL + (changed[index, columns] - FIRST_SYMBOL + further[some]) % symbols
        total.index_add_(0, rows * length + columns - 1, before[rows] - _probabilities(model, changed, answer[rows]))
    return (total / (symbols - 1)).view(batch, length, -1).transpose(1, 2)


def _grid(batch: int, length: int, others: int, device: torch.device) -> tuple[Tensor, ...]:
    sizes = ((0, batch), (0, length), (1, others + 1))
    return torch.meshgrid(*(torch.arange(*size, device=device) for size in sizes), indexing="ij")


def _probabilities(model: Transformer, source: Tensor, answer: Tensor) -> Tensor:
    """Of the tokens of the answers, ``[batch, tgt]``."""
    logits: Tensor = model(source, answer[:, :-1], padded=False)
    return logits.softmax(-1).gather(-1, answer[:, 1:, None])[..., 0]
