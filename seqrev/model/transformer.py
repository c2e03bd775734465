"""The encoder-decoder Transformer: an encoder, a decoder, and the step from states to logits."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqrev.config import ModelConfig
from seqrev.model.cache import LayerCache
from seqrev.model.decoder import Decoder
from seqrev.model.encoder import Encoder, Memory
from seqrev.task import RuleName


class AttentionMaps(NamedTuple):
    """Attention weights before dropout, a tensor for each layer; rows sum to one."""

    encoder: tuple[Tensor, ...]
    """``[batch, head, src, src]``"""
    decoder: tuple[Tensor, ...]
    """``[batch, head, tgt, tgt]``"""
    cross: tuple[Tensor, ...]
    """``[batch, head, tgt, src]``"""


class Transformer(nn.Module):
    """Vaswani et al., "Attention Is All You Need" (2017), figure 1, with pre-norm layers.

    Initial values: weights normal with standard deviation 0.02 and biases zero, so that with pre-norm layers every block
    begins as a small correction to the residual stream, and the first predictions are close to uniform (loss ln 13);
    embeddings normal with standard deviation 1, so that a token is as loud as its position, whose encoding has a mean
    square of one half. With ``tie_embeddings`` that one matrix also gives the logits (section 3.4), over √d_model, so that
    they too begin with standard deviation 1. (The paper multiplies the embeddings by √d_model instead.)

    Hooks: every named module is called once in each pass through the encoder or the decoder, so PyTorch's own
    ``register_forward_hook`` reaches all there is to see; docs/hooks.md has the names.
    """

    def __init__(
        self, config: ModelConfig, vocabulary_size: int, rule: RuleName = "reverse", longest_answer: int | None = None
    ) -> None:
        """``vocabulary_size``: ids in use, the special ones included; ``rule``: what it learns, by which it is judged;
        ``longest_answer``: symbols in the longest that it learns, where the rule does not say it.
        """
        super().__init__()
        self.rule = rule
        self.longest_answer = longest_answer
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.encoder = Encoder(config, vocabulary_size)
        self.decoder = Decoder(config, vocabulary_size)
        self.output = nn.Linear(config.d_model, vocabulary_size)
        self._initialise()
        if config.tie_embeddings:
            self.decoder.embedding.tokens.weight = self.output.weight = self.encoder.embedding.tokens.weight

    @property
    def longest_source(self) -> int:
        """Symbols in the longest source that the model takes: its positions less ``<BOS>`` and ``<EOS>``."""
        return self.config.max_positions - 2

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.output.weight.device

    def forward(self, source: Tensor, target: Tensor, padded: bool = True) -> Tensor:
        """Teacher-forced: what would follow each target position, all positions in parallel.

        Args:
            source: ids with ``<BOS>`` and ``<EOS>``, padded at the end, ``[batch, src]``.
            target: ids from ``<BOS>`` on, ``[batch, tgt]``.
            padded: False promises that all sources are equally long, which saves the mask.

        Returns:
            Logits ``[batch, tgt, vocabulary]``; those at position ``t`` are for the token after ``target[:, t]``.
        """
        return self.decode(target, self.encode(source, padded))

    def encode(self, source: Tensor, padded: bool = True) -> Memory:
        """Read the source, ``[batch, src]``. Without gradients, memory grows linearly with its length."""
        memory: Memory = self.encoder(source, padded)
        return memory

    def decode(self, target: Tensor, memory: Memory, cache: list[LayerCache] | None = None) -> Tensor:
        """Logits ``[batch, tgt, vocabulary]`` for what follows each position of ``target``, ``[batch, tgt]``.

        With a cache from ``new_cache``, ``target`` holds only the tokens that were not given before.
        """
        states = self.decoder(target, memory, cache).states
        if self.config.tie_embeddings:
            states = states / math.sqrt(self.config.d_model)
        logits: Tensor = self.output(states)
        return logits

    def new_cache(self, single_query: bool = True) -> list[LayerCache]:
        """An empty cache of keys and values for ``decode``, one for each decoder layer.

        ``single_query``: faster on a CPU where ``decode`` is given one token at a time, slower where many.
        """
        return [LayerCache(single_query) for _ in self.decoder.layers]

    def attention_maps(self, source: Tensor, target: Tensor) -> AttentionMaps:
        """The attention weights of every layer and head when ``target`` is decoded; call it in evaluation mode."""
        memory = self.encoder(source, need_weights=True)
        decoded = self.decoder(target, memory, need_weights=True)
        return AttentionMaps(memory.weights, decoded.self_weights, decoded.cross_weights)

    @torch.no_grad()
    def scale_noise(self, scale: float) -> None:
        """Which share of ``attention_noise`` training adds from now on, from 0 to 1."""
        for layer in self.decoder.layers:
            if layer.cross_attention.noise_scale is not None:
                layer.cross_attention.noise_scale.fill_(scale)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Embeddings first, then the linear layers: the order is part of what a seed means."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=1.0)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
