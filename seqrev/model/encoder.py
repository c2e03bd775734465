"""The encoder: it reads the source once, however many target tokens follow."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from seqrev.config import ModelConfig
from seqrev.model.embedding import TokenEmbedding
from seqrev.model.layers import AttentionInputs, EncoderLayer
from seqrev.model.masks import padding_mask
from seqrev.model.positions import BUCKETS, position_inputs, randomized_positions, source_positions


class Memory(NamedTuple):
    """The encoded source, to which the decoder attends."""

    states: Tensor
    """``[batch, src, d_model]``"""
    mask: Tensor | None
    """Which source positions are real, ``[batch, 1, 1, src]``; None: all."""
    lengths: Tensor
    """Real source tokens of each row, ``[batch, 1]``; ``[1, 1]`` where nothing is padded."""
    positions: Tensor
    """Where the source tokens are, ``[batch, src]``, or ``[batch, address, src]`` where they are counted in two ways;
    ``batch`` is 1 where nothing is padded."""
    target_positions: Tensor | None
    """With ``random_positions``: where the target tokens are, ``[batch or 1, tokens]``; None: 0, 1, 2, …"""
    weights: tuple[Tensor, ...] = ()
    """The attention weights of each layer, ``[batch, head, src, src]``, if they were asked for."""

    def select(self, rows: Tensor) -> "Memory":
        """These rows of the batch, in this order; what is the same for all rows stays as it is."""

        def some(values: Tensor) -> Tensor:
            return values if len(values) == 1 else values[rows]

        mask = None if self.mask is None else some(self.mask)
        target = None if self.target_positions is None else some(self.target_positions)
        return Memory(self.states[rows], mask, some(self.lengths), some(self.positions), target)


class Encoder(nn.Module):
    """Embedding, layers, and a norm."""

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = TokenEmbedding(config, vocabulary_size)
        self.layers = cast(list[EncoderLayer], nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers)))
        self.norm = nn.LayerNorm(config.d_model)
        self.relative_bias = nn.Parameter(torch.zeros(BUCKETS, config.heads)) if config.positions == "relative" else None

    def forward(self, source: Tensor, padded: bool = True, need_weights: bool = False) -> Memory:
        """Read the source: ids with ``<BOS>`` and ``<EOS>``, padded at the end, ``[batch, src]``.

        ``padded``: False promises that all rows are equally long, which saves the mask.
        """
        real = padding_mask(source if padded else source[:1])
        lengths = real[:, 0, 0].sum(-1, keepdim=True)
        positions = source_positions(lengths, source.shape[1], self.config.source_from)
        spread = None
        if self.config.random_positions:
            spread = randomized_positions(lengths, self.config.random_positions, self.training)
            wide = spread.view(len(spread), *[1] * (positions.ndim - 2), -1).expand(*positions.shape[:-1], -1)
            positions = wide.gather(-1, positions.clamp(min=0))
        mask = real if padded else None
        own = positions if positions.ndim == 2 else positions[:, 0]  # among themselves, one way to count is enough
        inputs = AttentionInputs(mask, position_inputs(self.config, own, own, relative=self.relative_bias))
        states = self.embedding(source, own)
        weights = []
        for layer in self.layers:
            states, self_weights = layer(states, inputs, need_weights)
            weights.append(self_weights)
        return Memory(self.norm(states), mask, lengths, positions, spread, tuple(weights) if need_weights else ())
