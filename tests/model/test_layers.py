"""Layers against PyTorch's own pre-norm layers with the same weights."""

import math

import pytest
import torch
from torch import Tensor, nn

from seqrev.model.attention import MultiHeadAttention
from seqrev.model.layers import DecoderLayer, EncoderLayer, FeedForward, LayerCache

WIDTH, HEADS, D_FF, BATCH, TGT, SRC = 12, 3, 20, 3, 4, 6


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scramble(layer: nn.Module) -> None:
    """Draw every parameter, norms and biases too, so that none can take another's place unnoticed."""
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = draw(*parameter.shape, seed=seed + 50) / math.sqrt(WIDTH) + (0.5 if parameter.dim() == 1 else 0)


def attention_weights_of(ours: MultiHeadAttention, prefix: str) -> dict[str, Tensor]:
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    return {
        f"{prefix}.in_proj_weight": torch.cat([projection.weight for projection in projections]),
        f"{prefix}.in_proj_bias": torch.cat([projection.bias for projection in projections]),
        f"{prefix}.out_proj.weight": ours.out_proj.weight,
        f"{prefix}.out_proj.bias": ours.out_proj.bias,
    }


def renamed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def encoder_pair() -> tuple[EncoderLayer, nn.TransformerEncoderLayer]:
    ours = EncoderLayer(WIDTH, HEADS, D_FF, dropout=0.0).double()
    scramble(ours)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, D_FF, dropout=0.0, activation="relu", norm_first=True, batch_first=True, dtype=torch.float64
    )
    theirs.load_state_dict(
        attention_weights_of(ours.self_attention, "self_attn")
        | renamed("linear1", ours.feed_forward[0])
        | renamed("linear2", ours.feed_forward[2])
        | renamed("norm1", ours.self_attention_norm)
        | renamed("norm2", ours.feed_forward_norm)
    )
    return ours, theirs


def decoder_pair() -> tuple[DecoderLayer, nn.TransformerDecoderLayer]:
    ours = DecoderLayer(WIDTH, HEADS, D_FF, dropout=0.0, attention_dropout=0.0).double()
    scramble(ours)
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, D_FF, dropout=0.0, activation="relu", norm_first=True, batch_first=True, dtype=torch.float64
    )
    theirs.load_state_dict(
        attention_weights_of(ours.self_attention, "self_attn")
        | attention_weights_of(ours.cross_attention, "multihead_attn")
        | renamed("linear1", ours.feed_forward[0])
        | renamed("linear2", ours.feed_forward[2])
        | renamed("norm1", ours.self_attention_norm)
        | renamed("norm2", ours.cross_attention_norm)
        | renamed("norm3", ours.feed_forward_norm)
    )
    return ours, theirs


def padding() -> Tensor:
    """True where a source position is real, ``[batch, src]``."""
    return torch.arange(SRC) < torch.tensor([SRC, 1, 4])[:, None]


@pytest.mark.parametrize("masked", [False, True])
def test_an_encoder_layer_is_pytorchs_with_the_same_weights(masked: bool) -> None:
    ours, theirs = encoder_pair()
    states, real = 3 * draw(BATCH, SRC, WIDTH), padding()
    states_out, weights = ours(states, real[:, None, None] if masked else None)
    expected = theirs(states, src_key_padding_mask=~real if masked else None)  # PyTorch: True = may not attend
    assert_close(states_out, expected)
    assert weights.shape == (BATCH, HEADS, SRC, SRC)


@pytest.mark.parametrize("source_masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_decoder_layer_is_pytorchs_with_the_same_weights(causal: bool, source_masked: bool) -> None:
    ours, theirs = decoder_pair()
    states, memory, real = 3 * draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1), padding()
    triangle = torch.ones(TGT, TGT, dtype=torch.bool).tril()
    states_out, self_weights, cross_weights = ours(
        states, memory, triangle[None, None] if causal else None, real[:, None, None] if source_masked else None
    )
    expected = theirs(
        states,
        memory,
        tgt_mask=~triangle if causal else None,
        memory_key_padding_mask=~real if source_masked else None,
    )
    assert_close(states_out, expected)
    assert self_weights.shape == (BATCH, HEADS, TGT, TGT)
    assert cross_weights.shape == (BATCH, HEADS, TGT, SRC)
    assert (self_weights.triu(1) == 0).all() == causal
    assert (cross_weights[1, :, :, 1:] == 0).all() == source_masked


def test_a_decoder_layer_over_its_cache_is_the_layer_over_everything() -> None:
    layer, _ = decoder_pair()
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    triangle = torch.ones(TGT, TGT, dtype=torch.bool).tril()[None, None]
    whole, self_weights, cross_weights = layer(states, memory, triangle)
    cache = LayerCache()
    for place in range(TGT):
        now = slice(place, place + 1)
        out, self_row, cross_row = layer(states[:, now], memory, triangle[:, :, now, : place + 1], None, cache)
        assert_close(out, whole[:, now])
        assert_close(self_row, self_weights[:, :, now, : place + 1])
        assert_close(cross_row, cross_weights[:, :, now])
    assert (cache.target.length, cache.source.length) == (TGT, SRC)


def test_the_source_is_projected_once_and_then_remembered() -> None:
    layer, _ = decoder_pair()
    states, memory = draw(1, 2, WIDTH), draw(1, SRC, WIDTH, seed=1)
    cache = LayerCache()
    layer(states[:, :1], memory, cache=cache)
    expected = layer(states, memory, torch.ones(2, 2, dtype=torch.bool).tril())[0][:, 1:]
    out, _, _ = layer(states[:, 1:], torch.zeros_like(memory), cache=cache)
    assert_close(out, expected)


def test_a_layer_cache_selects_target_and_source_alike() -> None:
    cache, rows = LayerCache(), torch.tensor([1, 1, 0])
    target, source = draw(2, 1, 3, 4), draw(2, 1, 5, 4, seed=1)
    cache.target.append(target, -target)
    cache.source.append(source, -source)
    cache.select(rows)
    assert cache.target.all()[0].equal(target[rows])
    assert cache.source.all()[1].equal(-source[rows])


def test_dropout_falls_on_what_the_blocks_add_and_never_on_the_residual_stream() -> None:
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    encoder = EncoderLayer(WIDTH, HEADS, D_FF, dropout=1.0).double()
    decoder = DecoderLayer(WIDTH, HEADS, D_FF, dropout=1.0, attention_dropout=0.0).double()
    for layer in (encoder, decoder):
        scramble(layer)
    assert encoder(states)[0].equal(states)
    assert decoder(states, memory)[0].equal(states)
    assert not encoder.eval()(states)[0].allclose(states)
    assert not decoder.eval()(states, memory)[0].allclose(states)


def test_attention_dropout_falls_on_the_weights_of_every_attention() -> None:
    """All of it dropped, no position hears anything of another one."""
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    others = torch.cat((states[:, :1], draw(BATCH, TGT - 1, WIDTH, seed=2)), dim=1)
    encoder = EncoderLayer(WIDTH, HEADS, D_FF, attention_dropout=1.0).double()
    decoder = DecoderLayer(WIDTH, HEADS, D_FF, attention_dropout=1.0).double()
    for layer in (encoder, decoder):
        scramble(layer)
    assert_close(encoder(others)[0][:, 0], encoder(states)[0][:, 0])
    assert_close(decoder(others, -memory)[0][:, 0], decoder(states, memory)[0][:, 0])
    for layer in (encoder.eval(), decoder.eval()):
        more = () if layer is encoder else (memory,)
        assert not layer(others, *more)[0][:, 0].allclose(layer(states, *more)[0][:, 0])
    assert not decoder(states, -memory)[0].allclose(decoder(states, memory)[0])


def test_noise_falls_on_the_cross_attention_alone() -> None:
    layer = DecoderLayer(WIDTH, HEADS, D_FF, attention_noise=2.0).double()
    scramble(layer)
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    (_, self_one, cross_one), (_, self_two, cross_two) = layer(states, memory), layer(states, memory)
    assert_close(self_one, self_two)
    assert not cross_one.allclose(cross_two)


def test_query_dropout_falls_on_every_attention_in_training() -> None:
    encoder = EncoderLayer(WIDTH, HEADS, D_FF, self_query_dropout=0.5).double()
    decoder = DecoderLayer(WIDTH, HEADS, D_FF, self_query_dropout=0.5, query_dropout=0.5).double()
    scramble(encoder)
    scramble(decoder)
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    maps = [(encoder(memory)[1], *decoder(states, memory)[1:]) for _ in range(2)]
    assert not any(one.allclose(other) for one, other in zip(*maps, strict=True))
    encoder.eval()
    decoder.eval()
    maps = [(encoder(memory)[1], *decoder(states, memory)[1:]) for _ in range(2)]
    assert all(one.equal(other) for one, other in zip(*maps, strict=True))


def test_feed_forward_is_two_matrices_with_a_relu_between() -> None:
    block = FeedForward(WIDTH, D_FF).double()
    scramble(block)
    first, second, states = block[0], block[2], draw(2, 3, WIDTH)
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    expected = (states @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    assert_close(block(states), expected)
