"""What the heads do: where each of them looks, how sharply, and what breaks without it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqrev.inference.batching import Sources
from seqrev.inference.evaluation import evaluate
from seqrev.interpret.ablation import ablate
from seqrev.interpret.agreement import AgreementReport, affordable, report_agreement
from seqrev.interpret.alignment import Weights, aligned_positions, mass_and_hit, teacher_forced_maps
from seqrev.interpret.attention_kinds import Kind
from seqrev.model.tensors import to_array
from seqrev.model.transformer import Transformer

ANSWERED = 300  # sequences that are answered without each head


@dataclass(frozen=True)
class Head:
    """One head over many sequences. Rows are those of content: neither ``<BOS>`` nor ``<EOS>``."""

    type: Kind
    layer: int
    head: int
    mass: float | None
    """As in ``AntiDiagonal``; cross-attention only."""
    hit: float | None
    entropy: float
    """Of a row's weights, in nats, the mean over rows: 0 is one position, ln n is n positions alike."""
    offset: float | None
    """How far right of its reference the largest weight is, in positions, the mean over rows. The reference is where
    the rule looks; in self-attention, the position itself. None: there is no rule."""
    distance: float | None
    """The same without sign, so that left and right do not cancel out."""
    exact_match_without: float
    """Exact match, free-running, without this head."""


@dataclass(frozen=True, repr=False)
class HeadReport:
    """All heads of a model."""

    sequences: int
    """Over which the attention was looked at, teacher-forced."""
    answered: int
    """The first of them, which were answered without each head."""
    exact_match: float
    """On these, with every head."""
    heads: list[Head]
    agreement: AgreementReport | None
    """How well the pictures of the cross-attention predict what happens when a symbol is changed, on the first sequences;
    None where that would take long, or there is only one symbol."""

    def __repr__(self) -> str:
        seen = f"{len(self.heads)} heads over {self.sequences:,} sequences"
        return f"<HeadReport: {seen}; exact match with all of them {self.exact_match:.4f}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "agreement": None if self.agreement is None else self.agreement.to_dict()}


def report_heads(model: Transformer, sources: Sources) -> HeadReport:
    """Look at every head of every layer, over many sequences.

    Raises:
        UsageError: there is no sequence.
    """
    answered = sources[:ANSWERED]  # of pairs, with their answers
    heads = []
    for (kind, layer), means in _measure_all(model, sources).items():
        for head, (mass, hit, entropy, *offsets) in enumerate(means.tolist(), start=1):
            with ablate(model, [f"{kind}.{layer}.{head}"]):
                without = evaluate(model, answered).overall.exact_match
            known = kind != "cross" or model.rule != "pairs"
            mass, hit = (mass, hit) if kind == "cross" and known else (None, None)
            offset, distance = offsets if known else (None, None)
            heads.append(Head(kind, layer, head, mass, hit, entropy, offset, distance, without))
    exact_match = evaluate(model, answered).overall.exact_match
    changed = sources[: affordable(model, sources)]
    agreement = report_agreement(model, changed) if changed else None
    return HeadReport(len(sources), len(answered), exact_match, heads, agreement)


def _measure_all(model: Transformer, sources: Sources) -> dict[tuple[Kind, int], NDArray[np.float64]]:
    """Means over all rows of mass, hit, entropy, offset and distance, ``[head, 5]``, of every kind and layer."""
    sums: dict[tuple[Kind, int], NDArray[np.float64]] = {}
    rows: dict[Kind, int] = {}
    for chunk, maps in teacher_forced_maps(model, sources):
        length, steps = chunk.shape[1], maps.cross[0].shape[2] - 1
        wanted = np.zeros((1, steps), int) if model.rule == "pairs" else aligned_positions(chunk, model.rule)
        references: dict[Kind, tuple[slice, NDArray[np.integer]]] = {
            "cross": (slice(steps), wanted),
            "encoder": (slice(1, -1), np.arange(1, length + 1)[None]),
            "decoder": (slice(steps), np.arange(steps)[None]),
        }
        for kind, (content, reference) in references.items():
            for layer, weights in enumerate(getattr(maps, kind), start=1):
                measured = _measure(to_array(weights[:, :, content]), reference)
                sums[kind, layer] = sums.get((kind, layer), 0.0) + measured
            rows[kind] = rows.get(kind, 0) + len(chunk) * reference.shape[1]
    return {(kind, layer): total / rows[kind] for (kind, layer), total in sums.items()}


def _measure(weights: Weights, reference: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sums over batch and rows of mass, hit, entropy, offset and distance, ``[head, 5]``.

    ``weights``: ``[batch, head, rows, columns]``; ``reference``: a column for each row, ``[batch or 1, rows]``.
    """
    mass, hit = mass_and_hit(weights, reference)
    offset = weights.argmax(axis=-1) - reference[:, None]
    entropy = -(weights * np.log(np.maximum(weights, 1e-30))).sum(axis=-1)
    measures = (mass, hit, entropy, offset, np.abs(offset))
    return np.stack([measure.sum(axis=(0, 2), dtype=np.float64) for measure in measures], axis=-1)
