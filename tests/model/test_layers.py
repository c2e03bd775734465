"""Layers against PyTorch's own pre-norm layers with the same weights."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from seqrev.config import ModelConfig
from seqrev.model.attention import MultiHeadAttention
from seqrev.model.cache import LayerCache
from seqrev.model.layers import AttentionInputs, DecoderLayer, EncoderLayer, FeedForward
from tests.model.models import assert_close, draw

WIDTH, HEADS, D_FF, BATCH, TGT, SRC = 12, 3, 20, 3, 4, 6
TRIANGLE = torch.ones(TGT, TGT, dtype=torch.bool).tril()[None, None]


def layer_config(**changes: float) -> ModelConfig:
    return ModelConfig.model_validate({"d_model": WIDTH, "heads": HEADS, "d_ff": D_FF} | changes)


def randomize(layer: nn.Module) -> None:
    """Draw every parameter, norms and biases too, so that none can be mistaken for another unnoticed."""
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = draw(*parameter.shape, seed=seed + 50) / math.sqrt(WIDTH) + (0.5 if parameter.dim() == 1 else 0)


def pytorch_weights(ours: MultiHeadAttention, prefix: str) -> dict[str, Tensor]:
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    return {
        f"{prefix}.in_proj_weight": torch.cat([projection.weight for projection in projections]),
        f"{prefix}.in_proj_bias": torch.cat([projection.bias for projection in projections]),
        f"{prefix}.out_proj.weight": ours.out_proj.weight,
        f"{prefix}.out_proj.bias": ours.out_proj.bias,
    }


def renamed(prefix: str, module: Tensor | nn.Module) -> dict[str, Tensor]:
    assert isinstance(module, nn.Module)
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def encoder_pair() -> tuple[EncoderLayer, nn.TransformerEncoderLayer]:
    ours = EncoderLayer(layer_config()).double()
    randomize(ours)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, D_FF, dropout=0.0, activation="relu", norm_first=True, batch_first=True, dtype=torch.float64
    )
    theirs.load_state_dict(
        pytorch_weights(ours.self_attention, "self_attn")
        | renamed("linear1", ours.feed_forward.linear1)
        | renamed("linear2", ours.feed_forward.linear2)
        | renamed("norm1", ours.self_attention_norm)
        | renamed("norm2", ours.feed_forward_norm)
    )
    return ours, theirs


def decoder_pair() -> tuple[DecoderLayer, nn.TransformerDecoderLayer]:
    ours = DecoderLayer(layer_config()).double()
    randomize(ours)
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, D_FF, dropout=0.0, activation="relu", norm_first=True, batch_first=True, dtype=torch.float64
    )
    theirs.load_state_dict(
        pytorch_weights(ours.self_attention, "self_attn")
        | pytorch_weights(ours.cross_attention, "multihead_attn")
        | renamed("linear1", ours.feed_forward.linear1)
        | renamed("linear2", ours.feed_forward.linear2)
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
    inputs = AttentionInputs(real[:, None, None] if masked else None)
    states_out, weights = ours(states, inputs, need_weights=True)
    expected = theirs(states, src_key_padding_mask=~real if masked else None)  # PyTorch: True = may not attend
    assert_close(states_out, expected)
    assert weights.shape == (BATCH, HEADS, SRC, SRC)
    assert (weights[1, :, :, 1:] == 0).all() == masked
    assert ours(states, inputs).self_weights is None
    assert_close(ours(states, inputs).states, expected)


@pytest.mark.parametrize("source_masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_decoder_layer_is_pytorchs_with_the_same_weights(causal: bool, source_masked: bool) -> None:
    ours, theirs = decoder_pair()
    states, memory, real = 3 * draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1), padding()
    self_inputs = AttentionInputs(TRIANGLE if causal else None)
    cross_inputs = AttentionInputs(real[:, None, None] if source_masked else None)
    states_out, self_weights, cross_weights = ours(states, memory, self_inputs, cross_inputs, need_weights=True)
    expected = theirs(
        states,
        memory,
        tgt_mask=~TRIANGLE[0, 0] if causal else None,
        memory_key_padding_mask=~real if source_masked else None,
    )
    assert_close(states_out, expected)
    assert self_weights.shape == (BATCH, HEADS, TGT, TGT)
    assert cross_weights.shape == (BATCH, HEADS, TGT, SRC)
    assert (self_weights.triu(1) == 0).all() == causal
    assert (cross_weights[1, :, :, 1:] == 0).all() == source_masked
    plain = ours(states, memory, self_inputs, cross_inputs)
    assert_close(plain.states, expected)
    assert plain[1:] == (None, None)


def test_a_decoder_layer_with_a_cache_gives_what_it_gives_for_all_positions_at_once() -> None:
    layer, _ = decoder_pair()
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    whole, self_weights, cross_weights = layer(states, memory, AttentionInputs(TRIANGLE), need_weights=True)
    cache = LayerCache()
    for position in range(TGT):
        now = slice(position, position + 1)
        self_inputs = AttentionInputs(TRIANGLE[:, :, now, : position + 1])
        out, self_row, cross_row = layer(states[:, now], memory, self_inputs, cache=cache, need_weights=True)
        assert_close(out, whole[:, now])
        assert_close(self_row, self_weights[:, :, now, : position + 1])
        assert_close(cross_row, cross_weights[:, :, now])
    assert (cache.target.length, cache.source.length) == (TGT, SRC)


def test_the_source_is_projected_once_and_then_cached() -> None:
    layer, _ = decoder_pair()
    states, memory = draw(1, 2, WIDTH), draw(1, SRC, WIDTH, seed=1)
    cache = LayerCache()
    layer(states[:, :1], memory, cache=cache)
    expected = layer(states, memory, AttentionInputs(torch.ones(2, 2, dtype=torch.bool).tril())).states[:, 1:]
    assert_close(layer(states[:, 1:], torch.zeros_like(memory), cache=cache).states, expected)


def random_layers(**changes: float) -> tuple[EncoderLayer, DecoderLayer]:
    encoder, decoder = EncoderLayer(layer_config(**changes)).double(), DecoderLayer(layer_config(**changes)).double()
    randomize(encoder)
    randomize(decoder)
    return encoder, decoder


def drop_all(*layers: nn.Module) -> None:
    """Every dropout that is not zero drops everything (which the configuration does not allow)."""
    for module in itertools.chain.from_iterable(layer.modules() for layer in layers):
        if isinstance(module, nn.Dropout) and module.p:
            module.p = 1.0


def test_dropout_falls_on_what_the_blocks_add_and_never_on_the_residual_stream() -> None:
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    encoder, decoder = random_layers(dropout=0.5)
    drop_all(encoder, decoder)
    assert encoder(states).states.equal(states)
    assert decoder(states, memory).states.equal(states)
    assert not encoder.eval()(states).states.allclose(states)
    assert not decoder.eval()(states, memory).states.allclose(states)


def test_each_block_has_a_dropout_of_its_own() -> None:
    """With only the feed-forward block kept, what is added is that block of the states that came in."""
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    encoder, decoder = random_layers(dropout=0.5)
    drop_all(encoder, decoder)
    for layer, more in ((encoder, ()), (decoder, (memory,))):
        layer.feed_forward_dropout.eval()
        assert_close(layer(states, *more).states, states + layer.feed_forward(layer.feed_forward_norm(states)))


def test_attention_dropout_falls_on_the_weights_of_every_attention() -> None:
    """All of it dropped, nothing of one position reaches another one."""
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    others = torch.cat((states[:, :1], draw(BATCH, TGT - 1, WIDTH, seed=2)), dim=1)
    encoder, decoder = random_layers(attention_dropout=0.5)
    drop_all(encoder, decoder)
    assert_close(encoder(others).states[:, 0], encoder(states).states[:, 0])
    assert_close(decoder(others, -memory).states[:, 0], decoder(states, memory).states[:, 0])
    for layer in (encoder.eval(), decoder.eval()):
        more = () if layer is encoder else (memory,)
        assert not layer(others, *more).states[:, 0].allclose(layer(states, *more).states[:, 0])
    assert not decoder(states, -memory).states.allclose(decoder(states, memory).states)


def test_noise_falls_on_the_cross_attention_alone() -> None:
    _, layer = random_layers(attention_noise=2.0)
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)
    one, other = (layer(states, memory, need_weights=True) for _ in range(2))
    assert_close(one.self_weights, other.self_weights)
    assert not one.cross_weights.allclose(other.cross_weights)


def test_query_dropout_falls_on_every_attention_in_training() -> None:
    encoder, decoder = random_layers(self_query_dropout=0.5, query_dropout=0.5)
    states, memory = draw(BATCH, TGT, WIDTH), draw(BATCH, SRC, WIDTH, seed=1)

    def all_weights() -> list[Tensor]:
        return [encoder(memory, need_weights=True)[1], *decoder(states, memory, need_weights=True)[1:]]

    assert not any(one.allclose(other) for one, other in zip(all_weights(), all_weights(), strict=True))
    encoder.eval()
    decoder.eval()
    assert all(one.equal(other) for one, other in zip(all_weights(), all_weights(), strict=True))


def test_feed_forward_is_two_matrices_with_a_relu_between() -> None:
    block = FeedForward(WIDTH, D_FF).double()
    randomize(block)
    first, second, states = block.linear1, block.linear2, draw(2, 3, WIDTH)
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    expected = (states @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    assert_close(block(states), expected)


def test_a_long_feed_forward_is_computed_in_blocks_unless_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    block = FeedForward(16, 8)
    states = torch.randn(2, 50, 16)
    whole = block(states)
    monkeypatch.setattr("seqrev.model.layers.SCORES_AT_ONCE", 2 * 7 * 8)  # seven positions at a time
    shapes: list[tuple[int, ...]] = []
    with torch.no_grad():
        assert_close(block(states), whole, 1e-6)
        block.relu.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
        assert_close(block(states), whole, 1e-6)
    assert shapes == [(2, 50, 8)]
