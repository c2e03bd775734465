"""What the heads do: where each of them looks, how sharply, and what breaks without it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqrev.batches import in_chunks
from seqrev.errors import UsageError
from seqrev.evaluation import evaluate
from seqrev.interpret import NAMES, Kind, Weights, count_maps
from seqrev.model.attention import MultiHeadAttention
from seqrev.model.transformer import Transformer
from seqrev.task import source_of_output
from seqrev.tensors import to_tensors

SWITCHED_OFF_ON = 300  # sequences that are answered with each head switched off


@dataclass(frozen=True)
class Head:
    """One head over many sequences. Rows are those of content: neither ``<BOS>`` nor ``<EOS>``."""

    type: Kind
    layer: int
    head: int
    mass: float | None
    """Cross-attention only: mean weight on the source position where the rule looks."""
    hit: float | None
    """Cross-attention only: share of rows whose largest weight stands there."""
    entropy: float
    """Of a row's weights, in nats, the mean over rows: 0 is one place, ln n is n places alike."""
    offset: float
    """How far right of its reference the largest weight stands, in positions, the mean over rows. The reference is where
    the rule looks; in self-attention, the position itself. Offsets to the left and to the right cancel out."""
    distance: float
    """The same without sign, which does not cancel out."""
    exact_match_without: float
    """Exact match, free-running, with this head switched off."""


@dataclass(frozen=True)
class Report:
    """All heads of a model."""

    sequences: int
    """Sequences over which the attention was looked at, teacher-forced."""
    answered: int
    """Sequences that were answered with each head switched off: the first of them."""
    exact_match: float
    """On these, with no head switched off."""
    heads: list[Head]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def report(model: Transformer, sources: Sequence[Sequence[int]]) -> Report:
    """Look at every head of every layer, over many sequences.

    Args:
        model: in evaluation mode. Its weights are the same afterwards.
        sources: symbols, at least one sequence.
    """
    if not sources:
        raise UsageError("There is no sequence to look at.")
    sums: dict[tuple[Kind, int], NDArray[np.float64]] = {}
    rows = 0
    device = model.output.weight.device
    for chunk in in_chunks(sources, count_maps(model) * model.config.heads, model.output.out_features):
        source, target = to_tensors(chunk, device)
        with torch.inference_mode():
            maps = model.attention_maps(source, target[:, :-1])
        length = chunk.shape[1]
        places: dict[Kind, tuple[slice, NDArray[np.integer]]] = {
            "cross": (slice(length), source_of_output(chunk) + 1),
            "encoder": (slice(1, -1), np.arange(1, length + 1)[None]),
            "decoder": (slice(length), np.arange(length)[None]),
        }
        for kind, (content, reference) in places.items():
            for layer, weights in enumerate(getattr(maps, kind), start=1):
                measured = _measure(weights[:, :, content].float().cpu().numpy(), reference)
                sums[kind, layer] = sums.get((kind, layer), 0.0) + measured
        rows += chunk.size
    some = sources[:SWITCHED_OFF_ON]
    heads = []
    for (kind, layer), total in sums.items():
        for head, (mass, hit, entropy, offset, distance) in enumerate((total / rows).tolist(), start=1):
            with switched_off(model, kind, layer, head):
                without = evaluate(model, some).overall.exact_match
            mass, hit = (mass, hit) if kind == "cross" else (None, None)
            heads.append(Head(kind, layer, head, mass, hit, entropy, offset, distance, without))
    return Report(len(sources), len(some), evaluate(model, some).overall.exact_match, heads)


@contextmanager
def switched_off(model: Transformer, kind: Kind, layer: int, head: int) -> Iterator[None]:
    """Take one head, counted from 1, out of a model: what it adds to the residual stream is zero.

    A head reaches the stream only by its ``d_head`` columns of ``out_proj``. They are zeroed, and put back at the end.

    Raises:
        UsageError: there is no such head.
    """
    layers = model.encoder_layers if kind == "encoder" else model.decoder_layers
    if not (1 <= layer <= len(layers) and 1 <= head <= model.config.heads):
        raise UsageError(f"There is no head {head} in the {NAMES[kind]} of layer {layer}.")
    block = layers[layer - 1].get_submodule("cross_attention" if kind == "cross" else "self_attention")
    assert isinstance(block, MultiHeadAttention)
    d_head = model.config.d_model // model.config.heads
    columns = block.out_proj.weight.detach()[:, (head - 1) * d_head : head * d_head]
    before = columns.clone()
    columns.zero_()
    try:
        yield
    finally:
        columns.copy_(before)


def _measure(weights: Weights, reference: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sums over batch and rows of mass, hit, entropy, offset and distance, ``[head, 5]``.

    ``weights``: ``[batch, head, rows, columns]``; ``reference``: a column for each row, ``[batch or 1, rows]``.
    """
    wanted = np.broadcast_to(reference[:, None], weights.shape[:3])
    mass = np.take_along_axis(weights, wanted[..., None], axis=-1)[..., 0]
    offset = weights.argmax(axis=-1) - wanted
    entropy = -(weights * np.log(np.maximum(weights, 1e-30))).sum(axis=-1)
    measures = (mass, offset == 0, entropy, offset, np.abs(offset))
    return np.stack([measure.sum(axis=(0, 2), dtype=np.float64) for measure in measures], axis=-1)
