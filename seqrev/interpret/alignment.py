"""How well attention is aligned with the rule: for reversal, how good an anti-diagonal a map of cross-attention is."""

import functools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqrev.data.sequences import indices_by_length, targets_of
from seqrev.errors import UsageError
from seqrev.inference.batching import Sources, chunks_by_length, rows_for_maps
from seqrev.interpret.attention_kinds import check_layer_and_head
from seqrev.model.tensors import to_array, to_tensors
from seqrev.model.transformer import AttentionMaps, Transformer
from seqrev.task import ENDED, Array, RuleName, alignment

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class AntiDiagonal:
    """How well one map is the anti-diagonal (for another task: how well it looks where the rule says)."""

    layer: int
    head: int | None
    """None for the mean over the heads."""
    mass: float
    """Mean weight that a content row puts on the source position of the token it should emit; 1 is all of it. NaN: there
    is no rule that would say where (``pairs``)."""
    hit: float
    """Share of content rows whose largest weight is there."""

    def describe(self, digits: int = 3) -> str:
        """In words."""
        mass, hit = ("-" if math.isnan(value) else f"{value:.{digits}f}" for value in (self.mass, self.hit))
        return f"mass {mass}, hit {hit}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``head`` is null for the mean, and what is not known is null."""
        return {name: None if value != value else value for name, value in asdict(self).items()}  # NaN is not itself


def aligned_positions(sources: Array, rule: RuleName) -> Array:
    """The source position where the rule looks at each step, of symbols ``[..., length]``; position 0 is ``<BOS>``.

    Raises ``UsageError`` for ``pairs``, of which nobody knows it.
    """
    positions: Array = alignment(sources, rule) + 1
    return positions


def mass_and_hit(weights: Weights, wanted: NDArray[np.integer]) -> tuple[Weights, NDArray[np.bool_]]:
    """For each row, the weight at the wanted column, and whether it is the largest, ``[batch, head, rows]`` each.

    ``weights``: ``[batch, head, rows, columns]``; ``wanted``: a column for each row, ``[batch or 1, rows]``.
    """
    index = np.broadcast_to(wanted[:, None], weights.shape[:3])
    mass = np.take_along_axis(weights, index[..., None], axis=-1)[..., 0]
    return mass, weights.argmax(axis=-1) == index


def alignment_scores(layer: int, weights: Weights, wanted: NDArray[np.integer] | None) -> list[AntiDiagonal]:
    """Scores of a layer: the mean over its heads first, then each head.

    ``weights``: ``[batch, head, tgt, src]``; ``wanted``: where each of the first rows should look, ``[batch, rows]``; None:
    nobody knows.
    """
    if wanted is None:
        return _all_alike(layer, weights.shape[1], math.nan)
    weights = weights[:, :, : wanted.shape[1]]
    if not wanted.size:  # an empty answer looks nowhere
        return _all_alike(layer, weights.shape[1], 0.0)
    mass, hit = mass_and_hit(np.concatenate((weights.mean(axis=1, keepdims=True), weights), axis=1), wanted)
    scores = zip(mass.mean(axis=(0, 2)).tolist(), hit.mean(axis=(0, 2)).tolist(), strict=True)
    return [AntiDiagonal(layer, head or None, *score) for head, score in enumerate(scores)]


def _all_alike(layer: int, heads: int, value: float) -> list[AntiDiagonal]:
    return [AntiDiagonal(layer, head or None, value, value) for head in range(heads + 1)]


def alignment_over(model: Transformer, sources: Sources, layer: int | None = None) -> list[AntiDiagonal]:
    """Scores of a decoder layer (None: the last) over many sequences, teacher-forced, as ``alignment_scores`` gives them.

    Raises:
        UsageError: there is no such layer, or no sequence.
    """
    layer = model.config.decoder_layers if layer is None else layer
    check_layer_and_head(model.config, "cross", layer)
    if model.rule == "pairs":
        return _all_alike(layer, model.config.heads, math.nan)
    total, rows = np.zeros((model.config.heads + 1, 2)), 0
    for chunk, maps in teacher_forced_maps(model, sources):
        wanted = aligned_positions(chunk, model.rule)
        scores = alignment_scores(layer, to_array(maps.cross[layer - 1]), wanted)
        total += np.array([[score.mass, score.hit] for score in scores]) * wanted.size
        rows += wanted.size
    return [AntiDiagonal(layer, head or None, *means) for head, means in enumerate((total / rows).tolist())]


def teacher_forced_maps(model: Transformer, sources: Sources) -> Iterator[tuple[Array, AttentionMaps]]:
    """Sources of one length at a time, ``[batch, length]``, and all maps while right answers of one length are given."""
    for symbols, source, target in teacher_forced_ids(model, sources):
        with torch.inference_mode():
            maps = model.attention_maps(source, target[:, :-1])
        yield symbols, maps


def teacher_forced_ids(model: Transformer, sources: Sources) -> Iterator[tuple[Array, Tensor, Tensor]]:
    """Sources of one length at a time, ``[batch, length]``, their ids, ``[batch, length + 2]``, and those of right answers
    of one length, from ``<BOS>`` to ``<EOS>``; as many as may have all their maps in memory.
    """
    if not sources:
        raise UsageError("There is no sequence to look at.")
    for rows, chunk in chunks_by_length(sources, functools.partial(rows_for_maps, model)):
        answers = targets_of(sources, np.array(rows), chunk, model.rule)
        for _, some in indices_by_length((answers != ENDED).sum(axis=1)):
            equal = answers[some]
            yield chunk[some], *to_tensors(chunk[some], equal[:, (equal != ENDED).all(axis=0)], model.device)
