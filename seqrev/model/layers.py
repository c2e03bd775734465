"""Encoder and decoder layers, pre-norm: every block normalises its input and adds its output to the residual stream.

Pre-norm ("On Layer Normalization in the Transformer Architecture", Xiong et al. 2020) trains at once at a high learning
rate, where the post-norm layers of the original paper need a long warm-up.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqrev.config import ModelConfig
from seqrev.model.attention import SCORES_AT_ONCE, MultiHeadAttention, has_hooks
from seqrev.model.cache import LayerCache
from seqrev.model.positions import NO_POSITIONS, PositionInputs
from seqrev.model.randomness import Dropout


class AttentionInputs(NamedTuple):
    """What one attention of every layer of a stack is given beside the states."""

    mask: Tensor | None = None
    """Boolean, True = may attend, broadcasts to ``[batch, head, tgt, src]``; None: everything may be seen."""
    positions: PositionInputs = NO_POSITIONS


NO_INPUTS = AttentionInputs()


class EncoderLayerOutput(NamedTuple):
    """What an encoder layer returns."""

    states: Tensor
    """``[batch, src, d_model]``"""
    self_weights: Tensor | None
    """``[batch, head, src, src]``; None where they were not asked for."""


class DecoderLayerOutput(NamedTuple):
    """What a decoder layer returns; the weights are None where they were not asked for."""

    states: Tensor
    """``[batch, tgt, d_model]``"""
    self_weights: Tensor | None
    """``[batch, head, tgt, tgt so far]``"""
    cross_weights: Tensor | None
    """``[batch, head, tgt, src]``"""


class FeedForward(nn.Module):
    """``max(0, x W₁ + b₁) W₂ + b₂``, each position for itself ("Attention Is All You Need", equation 2)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(d_model, d_ff)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(d_ff, d_model)

    def forward(self, states: Tensor) -> Tensor:
        """``[batch, length, d_model]`` to the same shape; without gradients a long sequence is computed in blocks."""
        block = max(1, SCORES_AT_ONCE // (len(states) * self.linear1.out_features))
        if torch.is_grad_enabled() or any(map(has_hooks, self.children())):
            block = states.shape[1]
        outputs: list[Tensor] = [self.linear2(self.relu(self.linear1(some))) for some in torch.split(states, block, dim=1)]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


class EncoderLayer(nn.Module):
    """Self-attention over the whole source, then a feed-forward block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.d_model
        self.self_attention = MultiHeadAttention(width, config.heads, config.attention_dropout, config.self_query_dropout)
        self.feed_forward = FeedForward(width, config.d_ff)
        self.self_attention_norm = nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.self_attention_dropout = Dropout(config.dropout)
        self.feed_forward_dropout = Dropout(config.dropout)

    def forward(
        self, states: Tensor, inputs: AttentionInputs = NO_INPUTS, need_weights: bool = False
    ) -> EncoderLayerOutput:
        """``states``: ``[batch, src, d_model]``; the mask says which source positions are real, ``[batch, 1, 1, src]``."""
        normed = self.self_attention_norm(states)
        attended, weights = self.self_attention(normed, normed, *inputs, need_weights=need_weights)
        states = states + self.self_attention_dropout(attended)
        states = states + self.feed_forward_dropout(self.feed_forward(self.feed_forward_norm(states)))
        return EncoderLayerOutput(states, weights)


class DecoderLayer(nn.Module):
    """Causal self-attention over the target, cross-attention to the whole source, then a feed-forward block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, heads, dropout = config.d_model, config.heads, config.attention_dropout
        self.self_attention = MultiHeadAttention(width, heads, dropout, config.self_query_dropout)
        self.cross_attention = MultiHeadAttention(
            width, heads, dropout, config.query_dropout, config.attention_noise, config.addresses
        )
        self.feed_forward = FeedForward(width, config.d_ff)
        self.self_attention_norm = nn.LayerNorm(width)
        self.cross_attention_norm = nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.self_attention_dropout = Dropout(config.dropout)
        self.cross_attention_dropout = Dropout(config.dropout)
        self.feed_forward_dropout = Dropout(config.dropout)

    def forward(
        self,
        states: Tensor,
        memory: Tensor,
        self_inputs: AttentionInputs = NO_INPUTS,
        cross_inputs: AttentionInputs = NO_INPUTS,
        cache: LayerCache | None = None,
        need_weights: bool = False,
    ) -> DecoderLayerOutput:
        """One layer.

        Args:
            states: target positions, ``[batch, tgt, d_model]``; with a cache only the new ones.
            memory: the encoded source, ``[batch, src, d_model]``.
            self_inputs: mask ``[1, 1, tgt, tgt so far]`` and positions of the self-attention.
            cross_inputs: mask ``[batch, 1, 1, src]`` and positions of the cross-attention.
            cache: keys and values so far, to which those of ``states``, and at first those of ``memory``, are added.
        """
        target_cache, source_cache = (cache.target, cache.source) if cache is not None else (None, None)
        normed = self.self_attention_norm(states)
        attended, self_weights = self.self_attention(normed, normed, *self_inputs, target_cache, need_weights)
        states = states + self.self_attention_dropout(attended)
        context = None if source_cache is not None and source_cache.length else memory
        normed = self.cross_attention_norm(states)
        attended, cross_weights = self.cross_attention(normed, context, *cross_inputs, source_cache, need_weights)
        states = states + self.cross_attention_dropout(attended)
        states = states + self.feed_forward_dropout(self.feed_forward(self.feed_forward_norm(states)))
        return DecoderLayerOutput(states, self_weights, cross_weights)
