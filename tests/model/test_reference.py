"""The whole model against the formulas of the papers, written out for one pair of sequences, number by number."""

import itertools
import math

import torch
from torch import Tensor

from seqrev.config import ModelConfig
from seqrev.model.attention import MultiHeadAttention
from seqrev.model.embedding import TokenEmbedding
from seqrev.model.positions import offset_buckets
from seqrev.model.transformer import Transformer
from seqrev.task import BOS
from tests.model.models import (
    assert_close,
    each_scheme,
    random_rows,
    scheme_model,
    source_batch,
    target_batch,
    with_special_tokens,
)


def naive_attention(
    config: ModelConfig,
    module: MultiHeadAttention,
    states: Tensor,
    context: Tensor,
    positions: tuple[list[int], ...],
    causal: bool,
    biases: Tensor | None,
) -> Tensor:
    """One query, one head and one key at a time, keys rotated relative to the query; no mask, no cache, no batch.

    ``positions``: of the queries, then of the keys, once for each of their addresses.
    """
    width, addresses = config.d_model // config.heads, len(positions) - 1
    query, key, value = module.q_proj(states), module.k_proj(context), module.v_proj(context)
    found = torch.zeros_like(query)
    for head, q in itertools.product(range(config.heads), range(len(states))):
        part, visible = slice(head * width, (head + 1) * width), q + 1 if causal else len(context)
        scores = []
        for k in range(visible):
            by_address = []
            for address, of_keys in enumerate(positions[1:]):
                one, other = (vector.chunk(addresses)[address] for vector in (query[q, part], key[k, part]))
                distance = positions[0][q] - of_keys[k]
                if config.positions == "rotary":
                    frequency = config.position_base ** (-torch.arange(0, len(one), 2, dtype=torch.float64) / len(one))
                    one, other = torch.complex(*one.chunk(2)), torch.complex(*other.chunk(2))
                    score = (one * other.conj() * torch.exp(1j * distance * frequency)).real.sum()
                else:
                    score = (one * other).sum()
                scaled = config.length_scaling and states is not context
                scale = math.log(visible + 1, 20) if scaled else 1
                by_address.append(score / math.sqrt(width // addresses) * scale)
            score = torch.stack(by_address).exp().sum().log()
            if config.positions == "alibi":
                score = score - 2 ** (-8 * (head + 1) / config.heads) * abs(distance)
            if biases is not None:
                score = score + biases[int(offset_buckets(torch.tensor(-distance))), head] * math.sqrt(width)
            scores.append(score)
        found[q, part] = torch.stack(scores).softmax(0) @ value[:visible, part]
    naive: Tensor = module.out_proj(found)
    return naive


def naive_embedding(config: ModelConfig, module: TokenEmbedding, ids: list[int], positions: list[int]) -> Tensor:
    states = module.tokens.weight[ids].clone()
    for row, position in enumerate(positions):
        if module.positions is not None:
            states[row] += module.positions.weight[position]
        for i in range(config.d_model // 2) if config.positions == "sinusoidal" else ():
            angle = position / config.position_base ** (2 * i / config.d_model)
            states[row, 2 * i] += math.sin(angle)
            states[row, 2 * i + 1] += math.cos(angle)
    return states


def naive_logits(model: Transformer, source: list[int], target: list[int]) -> Tensor:
    """The whole model for one pair; in evaluation."""
    c, encoder, decoder, length = model.config, model.encoder, model.decoder, len(source)
    step = max(1, c.random_positions // length) if c.random_positions else 1
    from_start, target_positions = [step * n for n in range(length)], [step * n for n in range(len(target))]
    addresses = {"start": [from_start], "end": [from_start[::-1]], "both": [from_start, from_start[::-1]]}[c.source_from]
    source_positions = addresses[0]
    source_pair, target_pair = (source_positions, source_positions), (target_positions, target_positions)
    cross_pair = (target_positions, *addresses)

    memory = naive_embedding(c, encoder.embedding, source, source_positions)
    for e in encoder.layers:
        normed = e.self_attention_norm(memory)
        memory = memory + naive_attention(c, e.self_attention, normed, normed, source_pair, False, encoder.relative_bias)
        memory = memory + e.feed_forward(e.feed_forward_norm(memory))
    memory, states = encoder.norm(memory), naive_embedding(c, decoder.embedding, target, target_positions)
    for d in decoder.layers:
        normed, biases = d.self_attention_norm(states), decoder.self_relative_bias
        states = states + naive_attention(c, d.self_attention, normed, normed, target_pair, True, biases)
        normed, biases = d.cross_attention_norm(states), decoder.cross_relative_bias
        states = states + naive_attention(c, d.cross_attention, normed, memory, cross_pair, False, biases)
        states = states + d.feed_forward(d.feed_forward_norm(states))
    logits: Tensor = model.output(decoder.norm(states))
    return logits


@each_scheme
def test_every_scheme_is_the_naive_computation(scheme: str) -> None:
    model, (source,), (target,) = scheme_model(scheme), random_rows(4), random_rows(5, seed=1)
    logits = model(source_batch(source), target_batch(target))[0]
    expected = naive_logits(model, with_special_tokens(source), [BOS, *target])
    assert_close(logits, expected, tolerance=1e-5)  # sinusoids, rotations and scales are float32
