"""The decoder: from the target so far and the encoded source to the states that predict what comes next."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from seqrev.config import ModelConfig
from seqrev.model.cache import LayerCache
from seqrev.model.embedding import TokenEmbedding
from seqrev.model.encoder import Memory
from seqrev.model.layers import AttentionInputs, DecoderLayer
from seqrev.model.masks import causal_mask
from seqrev.model.positions import BUCKETS, position_inputs


class DecoderOutput(NamedTuple):
    """What the decoder returns; the weights, one tensor for each layer, only where they were asked for."""

    states: Tensor
    """``[batch, tgt, d_model]``"""
    self_weights: tuple[Tensor, ...] = ()
    """``[batch, head, tgt, tgt so far]``"""
    cross_weights: tuple[Tensor, ...] = ()
    """``[batch, head, tgt, src]``"""


class Decoder(nn.Module):
    """Embedding, layers, and a norm."""

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = TokenEmbedding(config, vocabulary_size)
        self.layers = cast(list[DecoderLayer], nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers)))
        self.norm = nn.LayerNorm(config.d_model)
        relative = config.positions == "relative"
        self.self_relative_bias = nn.Parameter(torch.zeros(BUCKETS, config.heads)) if relative else None
        self.cross_relative_bias = nn.Parameter(torch.zeros(BUCKETS, config.heads)) if relative else None

    def forward(
        self, target: Tensor, memory: Memory, cache: list[LayerCache] | None = None, need_weights: bool = False
    ) -> DecoderOutput:
        """Go through the target, all positions in parallel.

        Args:
            target: ids from ``<BOS>`` on, ``[batch, tgt]``; with a cache only those that were not given before.
            memory: the encoded source.
            cache: one for each layer, empty at the first call.
        """
        past = cache[0].target.length if cache else 0
        so_far = past + target.shape[1]
        positions = torch.arange(so_far, device=target.device)
        if memory.target_positions is not None:
            positions = memory.target_positions[:, :so_far]
        new = positions[..., past:]
        mask = causal_mask(target.shape[1], so_far, target.device) if target.shape[1] > 1 else None
        self_inputs = AttentionInputs(mask, position_inputs(self.config, new, positions, new, self.self_relative_bias))
        source, bias = memory.positions, self.cross_relative_bias
        new_keys = source[..., :0] if cache and cache[0].source.length else source
        cross_inputs = AttentionInputs(
            memory.mask, position_inputs(self.config, new, source, new_keys, bias, memory.lengths)
        )
        states = self.embedding(target, new)
        weights = []
        for index, layer in enumerate(self.layers):
            layer_cache = cache[index] if cache else None
            states, *layer_weights = layer(states, memory.states, self_inputs, cross_inputs, layer_cache, need_weights)
            weights.append(layer_weights)
        return DecoderOutput(self.norm(states), *(zip(*weights, strict=True) if need_weights else ()))
