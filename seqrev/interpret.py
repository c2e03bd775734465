"""Looking inside: where a trained model looks while it answers, and how well that is the anti-diagonal.

Layers and heads are counted from 1, as they are printed. Rows look, columns are looked at. In the decoder's maps (its
self-attention and the cross-attention), row ``t`` is the step at which ``output[t]`` is emitted; columns of the source
begin with ``<BOS>``.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from seqrev.batches import in_chunks
from seqrev.decoding import Decoded, decode
from seqrev.errors import UsageError
from seqrev.model.transformer import AttentionMaps, Transformer
from seqrev.task import apply_rule, frame, source_of_output
from seqrev.tensors import to_tensors

Weights = NDArray[np.float32]
Kind = Literal["cross", "encoder", "decoder"]
NAMES: dict[Kind, str] = {
    "cross": "cross-attention",
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
}
MOST_WEIGHTS = 300_000_000  # of all maps of one sequence: 1.2 GB


@dataclass(frozen=True)
class AntiDiagonal:
    """How well one map is the anti-diagonal (for another task: how well it looks where the rule says)."""

    layer: int
    head: int | None
    """None for the mean over the heads."""
    mass: float
    """Mean weight that a content row puts on the source position of the token it should emit; 1 is all of it."""
    hit: float
    """Share of content rows whose largest weight stands there."""


@dataclass(frozen=True)
class Attention:
    """Everything that can be seen of one sequence."""

    source: list[int]
    answer: Decoded
    maps: AttentionMaps
    """Tensors without gradient, each with a batch of one."""

    @property
    def correct(self) -> bool:
        """Whether the answer is what the task asks for, ``<EOS>`` included."""
        return self.answer.finished and self.answer.output == apply_rule(np.array(self.source)).tolist()

    @property
    def source_tokens(self) -> list[str]:
        """The tokens that the encoder reads, one for each source position."""
        return ["<BOS>", *map(str, self.source), "<EOS>"]

    @property
    def emitted_tokens(self) -> list[str]:
        """The token emitted at each step of the decoder."""
        return [*map(str, self.answer.output), *(["<EOS>"] if self.answer.finished else [])]

    @property
    def target_tokens(self) -> list[str]:
        """The token that the decoder reads at each step: the one emitted before, at the first step ``<BOS>``."""
        return ["<BOS>", *self.emitted_tokens[:-1]]

    def tokens(self, kind: Kind) -> tuple[list[str], list[str]]:
        """Labels of the rows and of the columns."""
        if kind == "encoder":
            return self.source_tokens, self.source_tokens
        return self.emitted_tokens, self.source_tokens if kind == "cross" else self.target_tokens

    @property
    def right_places(self) -> list[int]:
        """The source position where the rule looks in each row of cross-attention; none for the row of ``<EOS>``."""
        wanted = source_of_output(np.array(self.source)) + 1
        return [int(place) for place in wanted[: len(self.answer.output)]]

    def weights(self, kind: Kind = "cross", layer: int | None = None) -> Weights:
        """The maps of a layer (None: the last), ``[head, tgt, src]``.

        Raises:
            UsageError: there is no such layer.
        """
        layers = getattr(self.maps, kind)
        layer = len(layers) if layer is None else layer
        if not 1 <= layer <= len(layers):
            side = "encoder" if kind == "encoder" else "decoder"
            raise UsageError(f"There is no {side} layer {layer}; this model has 1 to {len(layers)}.", "--layer 1")
        return np.asarray(layers[layer - 1][0], dtype=np.float32)

    def all_weights(self, kind: Kind = "cross") -> Weights:
        """The maps of all layers, ``[layer, head, tgt, src]``."""
        return np.stack([self.weights(kind, layer + 1) for layer in range(len(getattr(self.maps, kind)))])

    def cross(self, layer: int) -> Weights:
        """Cross-attention of a decoder layer, ``[head, tgt, src]``.

        Raises:
            UsageError: there is no such layer.
        """
        return self.weights("cross", layer)

    def anti_diagonal(self, layer: int) -> list[AntiDiagonal]:
        """Scores of a layer: the mean over its heads first, then each head."""
        wanted = np.array(self.right_places, dtype=np.int64)
        return score_map(layer, self.cross(layer)[None, :, : len(wanted)], wanted[None])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All maps and their labels, as they are saved with ``--arrays``: layers stacked, ``[layer, head, tgt, src]``."""
        maps: dict[str, NDArray[Any]] = {kind: self.all_weights(kind) for kind in NAMES}
        labels = ("source_tokens", "target_tokens", "emitted_tokens")
        return {**maps, **{name: np.array(getattr(self, name)) for name in labels}}


def attend(model: Transformer, source: Sequence[int], beam: int = 1) -> Attention:
    """Let the model answer freely, and keep where every layer and head looked.

    The maps come from one parallel pass over the answer; under the causal mask that is what each step saw.

    Args:
        model: in evaluation mode.
        source: symbols.
        beam: 1 is greedy decoding.

    Raises:
        UsageError: the maps, which grow with the square of the length, would take too much memory.
    """
    weights = count_maps(model) * model.config.heads * (len(source) + 2) ** 2
    if weights > MOST_WEIGHTS:
        raise UsageError(
            f"The maps of {len(source):,} symbols have {weights:,} weights; at most {MOST_WEIGHTS:,} are kept.",
            "seqrev attention 4 8 2 9",
        )
    (answer,) = decode(model, [source], beam)
    device = model.output.weight.device
    source_ids = torch.from_numpy(frame(np.array([source]))).to(device)
    target_ids = torch.from_numpy(frame(np.array([answer.output], dtype=np.int64))).to(device)
    rows = len(answer.output) + answer.finished  # <BOS> and every token but the last emitted one were fed back
    with torch.inference_mode():
        maps = model.attention_maps(source_ids, target_ids[:, :rows])
    return Attention(list(source), answer, AttentionMaps(*(tuple(layer.cpu() for layer in kind) for kind in maps)))


def anti_diagonal(model: Transformer, sources: Sequence[Sequence[int]], layer: int | None = None) -> list[AntiDiagonal]:
    """Scores of a decoder layer over many sequences, teacher-forced: the mean over its heads first, then each head.

    Args:
        model: in evaluation mode.
        sources: symbols, at least one sequence.
        layer: counted from 1; None: the last.
    """
    layers = len(model.decoder_layers)
    layer = layers if layer is None else layer
    if not 1 <= layer <= layers:
        raise UsageError(f"There is no decoder layer {layer}; this model has 1 to {layers}.")
    device = model.output.weight.device
    total: NDArray[np.float64] | None = None
    rows = 0
    for chunk in in_chunks(sources, count_maps(model) * model.config.heads, model.output.out_features):
        source, target = to_tensors(chunk, device)
        content = chunk.shape[1]
        with torch.inference_mode():
            weights = model.attention_maps(source, target[:, :-1]).cross[layer - 1][:, :, :content].cpu().numpy()
        scores = score_map(layer, weights, source_of_output(chunk) + 1)
        sums = np.array([[score.mass, score.hit] for score in scores]) * chunk.size
        total = sums if total is None else total + sums
        rows += chunk.size
    if total is None:
        raise UsageError("There is no sequence to look at.")
    return [AntiDiagonal(layer, head or None, float(mass), float(hit)) for head, (mass, hit) in enumerate(total / rows)]


def count_maps(model: Transformer) -> int:
    """Attention maps in one forward pass: self-attention of every layer, and cross-attention of the decoder's."""
    return len(model.encoder_layers) + 2 * len(model.decoder_layers)


def score_map(layer: int, weights: Weights, wanted: NDArray[np.integer]) -> list[AntiDiagonal]:
    """Scores of a layer over all rows given: the mean over its heads first, then each head.

    Args:
        layer: its number, counted from 1.
        weights: content rows only, ``[batch, head, rows, src]``.
        wanted: where they should look, source positions, ``[batch, rows]``.
    """
    if not wanted.size:  # an empty answer looks nowhere
        return [AntiDiagonal(layer, head or None, 0.0, 0.0) for head in range(weights.shape[1] + 1)]
    with_mean = np.concatenate((weights.mean(axis=1, keepdims=True), weights), axis=1)
    index = np.broadcast_to(wanted[:, None, :, None], (*with_mean.shape[:3], 1))
    mass = np.take_along_axis(with_mean, index, axis=-1)[..., 0].mean(axis=(0, 2))
    hit = (with_mean.argmax(axis=-1) == index[..., 0]).mean(axis=(0, 2))
    return [AntiDiagonal(layer, head or None, float(mass[head]), float(hit[head])) for head in range(len(mass))]


def scores_to_json(scores: Sequence[AntiDiagonal]) -> list[dict[str, Any]]:
    """Plain values; ``head`` is null for the mean."""
    return [asdict(score) for score in scores]
