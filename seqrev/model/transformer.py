"""The encoder-decoder Transformer: embeddings, two stacks of layers, and the step from states to logits."""

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seqrev.config import ModelConfig
from seqrev.model.layers import DecoderLayer, EncoderLayer, LayerCache
from seqrev.model.masks import causal_mask, padding_mask
from seqrev.model.positions import BUCKETS, Places, place_table, relate, sinusoidal, source_positions

SCORES_AT_ONCE = 16_777_216  # attention scores in memory while a source is read without gradients


class Memory(NamedTuple):
    """The encoded source, which the decoder looks at."""

    states: Tensor
    """``[batch, src, d_model]``"""
    mask: Tensor | None
    """Which source positions are real, ``[batch, 1, 1, src]``; None: all."""
    lengths: Tensor
    """Real source tokens of each row, ``[batch, 1]``; ``[1, 1]`` where nothing is padded."""
    positions: Tensor
    """Where the source tokens stand, ``[batch, src]``; ``[1, src]`` where nothing is padded."""
    table: Tensor | None = None
    """With ``random_positions``: the position of each place, ``[batch or 1, places]``, of the source and of the target."""

    def select(self, rows: Tensor) -> "Memory":
        """These rows of the batch, in this order; what is the same for all rows stays as it is."""
        rest: list[Any] = [one if one is None or len(one) == 1 else one[rows] for one in self[1:]]
        return Memory(self.states[rows], *rest)


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

    Args:
        config: the shape of the model.
        vocabulary_size: ids in use, the special ones included.

    Initial values: weights normal with standard deviation 0.02 and biases zero, so that with pre-norm layers every block
    begins as a small correction to the residual stream, and the first predictions are close to uniform (loss ln 13);
    embeddings normal with standard deviation 1, so that a token is as loud as its position, whose encoding has a mean
    square of one half. With ``tie_embeddings`` that one matrix also gives the logits (section 3.4), over √d_model, so that
    they too begin with standard deviation 1. (The paper multiplies the embeddings by √d_model instead.)
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        width = config.d_model
        self.source_embedding = nn.Embedding(vocabulary_size, width)
        self.target_embedding = nn.Embedding(vocabulary_size, width)
        learned = config.positions == "learned"
        self.source_positions = nn.Embedding(config.max_positions, width) if learned else None
        self.target_positions = nn.Embedding(config.max_positions, width) if learned else None
        relative = config.positions == "relative"  # of the encoder, the decoder, and the decoder looking at the source
        self.relative_biases = nn.Parameter(torch.zeros(3, BUCKETS, config.heads)) if relative else None
        encoder = nn.ModuleList(
            EncoderLayer(
                width, config.heads, config.d_ff, config.dropout, config.attention_dropout, config.self_query_dropout
            )
            for _ in range(config.encoder_layers)
        )
        decoder = nn.ModuleList(
            DecoderLayer(
                width,
                config.heads,
                config.d_ff,
                config.dropout,
                config.attention_dropout,
                config.self_query_dropout,
                config.query_dropout,
                config.attention_noise,
            )
            for _ in range(config.decoder_layers)
        )
        self.encoder_layers = cast(list[EncoderLayer], encoder)  # so that type checkers know what is in the lists
        self.decoder_layers = cast(list[DecoderLayer], decoder)
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocabulary_size)
        self.dropout = nn.Dropout(config.dropout)
        self.apply(_initialise)
        if config.tie_embeddings:
            self.target_embedding.weight = self.output.weight = self.source_embedding.weight

    @property
    def longest_source(self) -> int:
        """Symbols in the longest source that the model takes: its positions less ``<BOS>`` and ``<EOS>``."""
        return self.config.max_positions - 2

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
        """Read the source, ``[batch, src]``. Done once, however many target tokens follow.

        Without gradients a long source is read in blocks, so that memory grows linearly with its length.
        """
        if torch.is_grad_enabled():
            return self._encode(source, padded, with_weights=False)[0]
        memory = self._embed_source(source, padded)
        states = memory.states
        block = max(1, SCORES_AT_ONCE // (len(source) * self.config.heads * source.shape[1]))
        blocks = [slice(start, start + block) for start in range(0, source.shape[1], block)]
        for layer in self.encoder_layers:
            key, value = layer.keys_and_values(states, self._relate_source(memory, slice(0)))
            seen = [
                layer.look(states[:, some], key, value, memory.mask, self._relate_source(memory, some)) for some in blocks
            ]
            states = torch.cat(seen, dim=1)
        return memory._replace(states=self.encoder_norm(states))

    def decode(self, target: Tensor, memory: Memory, cache: list[LayerCache] | None = None) -> Tensor:
        """Logits ``[batch, tgt, vocabulary]`` for what follows each position of ``target``, ``[batch, tgt]``.

        With a cache from ``new_cache``, ``target`` holds only the tokens that were not given before.
        """
        return self._decode(target, memory, cache, with_weights=False)[0]

    def new_cache(self, one_query: bool = True) -> list[LayerCache]:
        """An empty memory of keys and values for ``decode``, one for each decoder layer.

        ``one_query``: faster on a CPU where ``decode`` is given one token at a time, slower where many.
        """
        return [LayerCache(one_query) for _ in self.decoder_layers]

    def attention_maps(self, source: Tensor, target: Tensor) -> AttentionMaps:
        """Who looks where, in every layer and head, when ``target`` is decoded; call it in evaluation mode."""
        memory, encoder = self._encode(source, padded=True, with_weights=True)
        _, decoder, cross = self._decode(target, memory, None, with_weights=True)
        return AttentionMaps(tuple(encoder), tuple(decoder), tuple(cross))

    def _encode(self, source: Tensor, padded: bool, with_weights: bool) -> tuple[Memory, list[Tensor]]:
        memory = self._embed_source(source, padded)
        states, places = memory.states, self._relate_source(memory)
        maps = []
        for layer in self.encoder_layers:
            states, weights = layer(states, memory.mask, places, with_weights)
            maps.append(weights)
        return memory._replace(states=self.encoder_norm(states)), maps

    def _embed_source(self, source: Tensor, padded: bool) -> Memory:
        """The source before the first layer."""
        real = padding_mask(source if padded else source[:1])
        lengths = real[:, 0, 0].sum(-1, keepdim=True)
        positions = source_positions(lengths, source.shape[1], self.config.source_from)
        table = None
        if self.config.random_positions:
            table = place_table(lengths, self.config.random_positions, self.training)
            positions = table.expand(len(positions), -1).gather(1, positions.clamp(min=0))
        states = self._embed(self.source_embedding, self.source_positions, source, positions)
        return Memory(states, real if padded else None, lengths, positions, table)

    def _relate_source(self, memory: Memory, some: slice = slice(None)) -> Places:
        """What some source positions are told of where all of them stand."""
        biases = None if self.relative_biases is None else self.relative_biases[0]
        return relate(self.config, memory.positions[:, some], memory.positions, biases=biases)

    def _decode(
        self, target: Tensor, memory: Memory, cache: list[LayerCache] | None, with_weights: bool
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        past = cache[0].target.length if cache else 0
        seen = past + target.shape[1]
        mask = causal_mask(target.shape[1], seen, target.device) if target.shape[1] > 1 else None
        every = torch.arange(seen, device=target.device)
        if memory.table is not None:
            every = memory.table[:, :seen]
        new = every[..., past:]
        states = self._embed(self.target_embedding, self.target_positions, target, new)
        target_biases, source_biases = (None, None) if self.relative_biases is None else self.relative_biases[1:]
        target_places = relate(self.config, new, every, new_keys=new, biases=target_biases)
        known = bool(cache and cache[0].source.length)  # the source's keys are cached, already turned
        source_places = relate(
            self.config,
            new,
            memory.positions,
            new_keys=memory.positions[:, :0] if known else memory.positions,
            biases=source_biases,
            lengths=memory.lengths,
        )
        self_maps, cross_maps = [], []
        for index, layer in enumerate(self.decoder_layers):
            states, self_weights, cross_weights = layer(
                states,
                memory.states,
                mask,
                memory.mask,
                cache[index] if cache else None,
                target_places,
                source_places,
                with_weights,
            )
            self_maps.append(self_weights)
            cross_maps.append(cross_weights)
        states = self.decoder_norm(states)
        if self.config.tie_embeddings:
            states = states / math.sqrt(self.config.d_model)
        return self.output(states), self_maps, cross_maps

    def _embed(self, tokens: nn.Embedding, table: nn.Embedding | None, ids: Tensor, positions: Tensor) -> Tensor:
        """What stands there, and for the additive schemes where it stands."""
        states: Tensor = tokens(ids)
        if table is not None:
            states = states + table(positions.clamp(min=0))
        elif self.config.positions == "sinusoidal":
            states = states + sinusoidal(positions, self.config.d_model, self.config.position_base)
        embedded: Tensor = self.dropout(states)
        return embedded


def weight_shapes(config: ModelConfig, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's weights, without taking memory for them."""
    with torch.device("meta"), _Undrawn():
        model = Transformer(config, vocabulary_size)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


class _Undrawn(TorchFunctionMode):
    """No random numbers for tensors without memory: PyTorch would import its compiler for them, which takes seconds."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__module__", "") == "torch.nn.init":
            return arguments[0] if arguments else None
        return function(*arguments, **(options or {}))


def least_weights(config: ModelConfig, vocabulary_size: int) -> int:
    """How many weights a model has at least: what building even an empty one of some shapes would take too long to tell."""
    attentions, layers = config.encoder_layers + 2 * config.decoder_layers, config.encoder_layers + config.decoder_layers
    width = config.d_model
    tables = 1 if config.tie_embeddings else 3
    return 4 * attentions * width**2 + 2 * layers * width * config.d_ff + tables * vocabulary_size * width


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=1.0)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
