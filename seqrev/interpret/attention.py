"""What can be seen of one sequence: the answer, and where every layer and head looked.

Rows look, columns are looked at. In the decoder's maps (its self-attention and the cross-attention), row ``t`` is the step
at which ``output[t]`` is emitted; columns of the source begin with ``<BOS>``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqrev.config import ModelConfig
from seqrev.errors import UsageError
from seqrev.inference.batching import weights_of_maps
from seqrev.inference.search import Hypothesis, decode
from seqrev.interpret.alignment import AntiDiagonal, Weights, aligned_positions, alignment_scores
from seqrev.interpret.attention_kinds import ATTENTION_NAMES, Kind, check_kind, check_layer_and_head
from seqrev.model.tensors import to_array
from seqrev.model.transformer import AttentionMaps, Transformer
from seqrev.system.text import shorten_sequence
from seqrev.task import RuleName, add_special_tokens, apply_rule

MOST_WEIGHTS = 300_000_000  # of all maps of one sequence: 1.2 GB


@dataclass(frozen=True, eq=False, repr=False)
class Attention:
    """The answer to one sequence, and all attention maps."""

    config: ModelConfig
    rule: RuleName
    """By which the answer is judged."""
    source: list[int]
    answer: Hypothesis
    maps: AttentionMaps
    """Tensors without gradient, each with a batch of one."""
    longest_answer: int | None = None
    """Symbols in the longest answer that the model has learned, where the rule does not say it."""

    def __repr__(self) -> str:
        source, output = (shorten_sequence(symbols) for symbols in (self.source, self.answer.output))
        layers = f"{self.config.encoder_layers} + {self.config.decoder_layers} layers of {self.config.heads} heads"
        return f"<Attention: {source} → {output} ({self.verdict}); {layers}>"

    @property
    def correct(self) -> bool | None:
        """Whether the answer is what the task asks for, ``<EOS>`` included; None: there is no rule that would say it."""
        if self.rule == "pairs":
            return None
        return self.answer.finished and self.answer.output == apply_rule(np.array(self.source), self.rule).tolist()

    @property
    def verdict(self) -> str:
        """``right``, ``wrong`` or ``not judged``."""
        return {True: "right", False: "wrong", None: "not judged"}[self.correct]

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
        """Labels of the rows and of the columns; raise ``UsageError`` for what is no kind of attention."""
        check_kind(kind)
        if kind == "encoder":
            return self.source_tokens, self.source_tokens
        return self.emitted_tokens, self.source_tokens if kind == "cross" else self.target_tokens

    @property
    def alignment(self) -> list[int]:
        """The source position where the rule looks in each row of cross-attention; none for the row of ``<EOS>``, and none
        at all where there is no rule.
        """
        if self.rule == "pairs":
            return []
        positions: list[int] = aligned_positions(np.array(self.source), self.rule)[: len(self.answer.output)].tolist()
        return positions

    def weights(self, kind: Kind = "cross", layer: int | None = None) -> Weights:
        """The maps of a layer (None: the last), ``[head, tgt, src]``.

        Raises:
            UsageError: there is no such kind or layer.
        """
        check_layer_and_head(self.config, kind, layer)
        layers = getattr(self.maps, kind)
        return to_array(layers[-1 if layer is None else layer - 1][0]).astype(np.float32, copy=False)

    def all_weights(self, kind: Kind = "cross") -> Weights:
        """The maps of all layers, ``[layer, head, tgt, src]``; of an encoder without layers there are none."""
        rows, columns = map(len, self.tokens(kind))
        layers = [self.weights(kind, layer) for layer in range(1, len(getattr(self.maps, kind)) + 1)]
        return np.stack(layers) if layers else np.zeros((0, self.config.heads, rows, columns), np.float32)

    def anti_diagonal(self, layer: int | None = None) -> list[AntiDiagonal]:
        """Scores of a decoder layer (None: the last): the mean over its heads first, then each head.

        Raises:
            UsageError: there is no such layer.
        """
        layer = self.config.decoder_layers if layer is None else layer
        wanted = None if self.rule == "pairs" else np.array([self.alignment], dtype=np.int64)
        return alignment_scores(layer, self.weights("cross", layer)[None], wanted)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All maps and their labels, as they are saved with ``--arrays``: layers stacked, ``[layer, head, tgt, src]``."""
        maps: dict[str, NDArray[Any]] = {kind: self.all_weights(kind) for kind in ATTENTION_NAMES}
        return maps | {name: np.array(getattr(self, name)) for name in ("source_tokens", "target_tokens", "emitted_tokens")}


def record_attention(model: Transformer, source: Sequence[int], beam: int = 1) -> Attention:
    """Answer one sequence, and record where the model looked while it did; a beam of 1 is greedy decoding.

    Raises:
        UsageError: the maps, which grow with the square of the length, would take too much memory.
    """
    weights = weights_of_maps(model.config, len(source))
    if weights > MOST_WEIGHTS:
        raise UsageError(
            f"The maps of {len(source):,} symbols have {weights:,} weights; at most {MOST_WEIGHTS:,} are kept.",
            "seqrev attention 4 8 2 9",
        )
    (answer,) = decode(model, [source], beam)
    source_ids = torch.from_numpy(add_special_tokens(np.array([source]))).to(model.device)
    target_ids = torch.from_numpy(add_special_tokens(np.array([answer.output], dtype=np.int64))).to(model.device)
    steps = len(answer.output) + answer.finished  # <BOS> and every token but the last emitted one were fed back
    with torch.inference_mode():
        maps = model.attention_maps(source_ids, target_ids[:, :steps])
    on_cpu = AttentionMaps(*(tuple(layer.cpu() for layer in kind) for kind in maps))
    return Attention(model.config, model.rule, list(source), answer, on_cpu, model.longest_answer)
