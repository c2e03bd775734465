"""Attention against PyTorch's own."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from seqrev.model.attention import MultiHeadAttention, attention_scores, attention_weights, masked_softmax
from seqrev.model.cache import KeyValueCache
from seqrev.model.positions import PositionInputs, ScoreBias, apply_rotary, rotation

BATCH, HEADS, TGT, SRC, D_HEAD = 3, 4, 5, 7, 6


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_mask(kind: str, tgt: int = TGT, src: int = SRC) -> Tensor | None:
    if kind == "none":
        return None
    if kind == "padding":
        return (torch.arange(src) < torch.tensor([src, 1, 4])[:, None])[:, None, None]
    if kind == "causal":
        return torch.ones(tgt, src, dtype=torch.bool).tril(src - tgt)[None, None]
    mask = torch.rand(BATCH, HEADS, tgt, src, generator=torch.Generator().manual_seed(5)) < 0.4
    return mask | nn.functional.one_hot(torch.arange(tgt) % src, src).bool()  # every row has a key


MASKS = ["none", "padding", "causal", "random"]


@pytest.mark.parametrize("kind", MASKS)
def test_weights_times_values_are_pytorchs_attention(kind: str) -> None:
    query, key, value = draw(BATCH, HEADS, TGT, D_HEAD), draw(BATCH, HEADS, SRC, D_HEAD, seed=1), draw(BATCH, HEADS, SRC, 3)
    mask, bias = make_mask(kind), draw(HEADS, TGT, SRC, seed=2)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert_close(attention_weights(query, key, mask) @ value, expected)
    assert_close(masked_softmax(attention_scores(query, key), mask) @ value, expected)
    float_mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=float_mask)
    assert_close(attention_weights(query, key, mask, bias) @ value, expected)


@pytest.mark.parametrize("src", [1, 2, 15, 16, 17])
def test_rows_of_any_length_are_pytorchs_with_the_same_gradients(src: int) -> None:
    shapes = ((2, 3, TGT, D_HEAD), (2, 3, src, D_HEAD), (2, 3, src, D_HEAD))
    query, key, value = (draw(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes))
    ours = attention_weights(query, key) @ value
    theirs = scaled_dot_product_attention(query, key, value)
    assert_close(ours, theirs)
    gradients = [torch.autograd.grad((output**2).sum(), (query, key, value)) for output in (ours, theirs)]
    for mine, expected in zip(*gradients, strict=True):
        assert_close(mine, expected)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 5),
    seed=st.integers(0, 2**20),
    share=st.floats(0, 1),
)
def test_any_mask_with_a_key_in_every_row_is_pytorchs(sizes: tuple[int, ...], seed: int, share: float) -> None:
    batch, heads, tgt, src, width = sizes
    query, key, value = (draw(batch, heads, length, width, seed=seed + n) for n, length in enumerate((tgt, src, src)))
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch, heads, tgt, src, generator=generator) < share
    mask.scatter_(-1, torch.randint(src, (batch, heads, tgt, 1), generator=generator), True)
    weights = attention_weights(query, key, mask)
    assert_close(weights @ value, scaled_dot_product_attention(query, key, value, attn_mask=mask))
    assert_close(weights.sum(-1), torch.ones(batch, heads, tgt, dtype=torch.float64))
    assert (weights[~mask] == 0).all()
    assert (weights[mask] > 0).all()


def test_masked_weights_are_exactly_zero_even_where_all_scores_are_low() -> None:
    query = torch.full((1, 1, 1, 4), 1e3)
    key = torch.stack((-query[0, 0, 0], -query[0, 0, 0], query[0, 0, 0]))[None, None]  # scores -2e6, -2e6, +2e6
    weights = attention_weights(query, key, torch.tensor([True, True, False]))
    assert weights.flatten().tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_query_that_may_see_nothing_gives_equal_weights_and_finite_gradients(dtype: torch.dtype) -> None:
    query = draw(1, 2, 3, 4).to(dtype).requires_grad_()
    key = draw(1, 2, 4, 4, seed=1).to(dtype).requires_grad_()
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1] = False
    weights = attention_weights(query, key, mask)
    assert (weights[:, :, 1] == 0.25).all()
    torch.autograd.backward((weights**2).sum())
    for tensor in (query, key):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()


def attention_pair(heads: int) -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    """Ours, and PyTorch's with the same weights (biases drawn too, as PyTorch begins with zeros)."""
    width = heads * D_HEAD
    ours = MultiHeadAttention(width, heads).double()
    for seed, parameter in enumerate(ours.parameters()):
        parameter.data = draw(*parameter.shape, seed=seed) / math.sqrt(width)
    theirs = nn.MultiheadAttention(width, heads, batch_first=True, dtype=torch.float64)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([projection.weight for projection in projections]),
            "in_proj_bias": torch.cat([projection.bias for projection in projections]),
            "out_proj.weight": ours.out_proj.weight,
            "out_proj.bias": ours.out_proj.bias,
        }
    )
    return ours, theirs


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("kind", MASKS)
def test_multi_head_attention_is_pytorchs_with_the_same_weights(kind: str, heads: int) -> None:
    ours, theirs = attention_pair(heads)
    states, memory = draw(BATCH, TGT, heads * D_HEAD), draw(BATCH, SRC, heads * D_HEAD, seed=9)
    mask = make_mask(kind)
    if mask is not None and kind == "random":
        mask = mask[:, :heads]
    attended, weights = ours(states, memory, mask, need_weights=True)
    inverted = None
    if mask is not None:  # in PyTorch's module True = may not attend, and heads are folded into the batch
        inverted = ~mask.expand(BATCH, heads, TGT, SRC).reshape(-1, TGT, SRC)
    expected, expected_weights = theirs(states, memory, memory, attn_mask=inverted, average_attn_weights=False)
    assert_close(attended, expected)
    assert_close(weights, expected_weights)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_self_attention_is_pytorchs_with_the_same_weights_and_gradients(heads: int) -> None:
    ours, theirs = attention_pair(heads)
    states = draw(BATCH, TGT, heads * D_HEAD)
    mask = torch.ones(TGT, TGT, dtype=torch.bool).tril()
    attended, weights = ours(states, states, mask, need_weights=True)
    expected, expected_weights = theirs(states, states, states, attn_mask=~mask, average_attn_weights=False)
    assert_close(attended, expected)
    assert_close(weights, expected_weights)
    for output in (attended, expected):
        torch.autograd.backward((output**2).sum())
    gradients = [getattr(ours, name).weight.grad for name in ("q_proj", "k_proj", "v_proj")]
    torch.testing.assert_close(torch.cat(gradients), theirs.in_proj_weight.grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("heads", [1, 3])
def test_multi_head_attention_is_pytorchs_function_head_by_head(heads: int) -> None:
    ours, _ = attention_pair(heads)
    states, context, mask = draw(2, TGT, heads * D_HEAD), draw(2, SRC, heads * D_HEAD, seed=9), make_mask("causal")
    assert mask is not None
    query, key, value = ours.q_proj(states), ours.k_proj(context), ours.v_proj(context)
    parts = [slice(head * D_HEAD, (head + 1) * D_HEAD) for head in range(heads)]
    found = [scaled_dot_product_attention(query[..., p], key[..., p], value[..., p], attn_mask=mask[0, 0]) for p in parts]
    assert_close(ours(states, context, mask).states, ours.out_proj(torch.cat(found, dim=-1)))


def test_a_key_is_found_by_any_of_its_addresses() -> None:
    """One softmax over all addresses of all keys, in which those of a key share its value, gives the same."""
    query, key = (torch.randn(2, 6, length, 4, dtype=torch.float64) for length in (3, 5))  # three heads, two addresses
    value, mask = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.tensor([True, True, False, True, True])
    found = attention_weights(query, key, mask, addresses=2) @ value
    scores = attention_scores(query, key).view(2, 3, 2, 3, 5).masked_fill(~mask, -torch.inf)  # b h address tgt src
    apart = scores.transpose(2, 3).flatten(3).softmax(-1)
    assert_close(found, apart @ value.repeat(1, 1, 2, 1))


def test_heads_that_cannot_share_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="d_model is 10, which 4 heads cannot share equally"):
        MultiHeadAttention(10, 4)
    with pytest.raises(ValueError, match="d_model is 12, which 4 heads of 2 addresses cannot share equally"):
        MultiHeadAttention(12, 4, addresses=2)


def test_the_weights_are_returned_only_where_they_are_asked_for() -> None:
    attention, states = MultiHeadAttention(8, 2, noise=1.0).double(), draw(2, 4, 8)
    for training in (True, False):  # in training the noise needs them, but nobody asked
        attention.train(training)
        assert attention(states, states).weights is None
        assert attention(states, states, need_weights=True).weights.shape == (2, 2, 4, 4)


def test_queries_and_keys_are_rotated_scaled_and_biased_by_their_positions() -> None:
    attention, _ = attention_pair(2)
    states, context = draw(BATCH, TGT, 2 * D_HEAD), draw(BATCH, SRC, 2 * D_HEAD, seed=9)
    queries, keys = rotation(torch.arange(TGT), D_HEAD, 50.0), rotation(torch.arange(SRC), D_HEAD, 50.0)
    scale, bias = draw(BATCH, 1, 1, 1, seed=3), draw(2, TGT, SRC, seed=4)
    score_bias = ScoreBias(lambda query, key: bias, torch.arange(TGT), torch.arange(SRC))
    query = attention.q_proj(states).unflatten(-1, (2, D_HEAD)).transpose(1, 2)
    key = attention.k_proj(context).unflatten(-1, (2, D_HEAD)).transpose(1, 2)
    expected = attention_weights(scale * apply_rotary(query, queries), apply_rotary(key, keys), bias=bias)
    positions = PositionInputs(queries, keys, score_bias, scale)
    assert_close(attention(states, context, positions=positions, need_weights=True).weights, expected)


@pytest.mark.parametrize("need_weights", [False, True])
def test_a_context_that_comes_in_parts_is_kept_in_the_cache(need_weights: bool) -> None:
    attention, _ = attention_pair(2)
    states, context, cache = draw(BATCH, TGT, 2 * D_HEAD), draw(BATCH, SRC, 2 * D_HEAD, seed=9), KeyValueCache()
    for end, part in ((3, context[:, :3]), (SRC, context[:, 3:]), (SRC, None)):
        expected = attention(states, context[:, :end], need_weights=True)
        attended, weights = attention(states, part, cache=cache, need_weights=need_weights)
        assert cache.length == end
        assert_close(attended, expected.states)
        assert (weights is not None) == need_weights
        if weights is not None:
            assert_close(weights, expected.weights)


def test_without_a_context_and_without_a_cache_there_is_nothing_to_attend_to() -> None:
    attention, states = MultiHeadAttention(8, 2).double(), draw(1, 2, 8)
    with pytest.raises(ValueError, match="neither a context nor a cache"):
        attention(states, None)
    with pytest.raises(ValueError, match="empty"):
        attention(states, None, cache=KeyValueCache())


def test_the_weights_returned_are_those_before_dropout() -> None:
    attention, states = MultiHeadAttention(8, 2, dropout=0.5).double(), draw(2, 4, 8)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        dropped, weights = attention.train()(states, states, need_weights=True)
    expected, expected_weights = attention.eval()(states, states, need_weights=True)
    assert_close(weights, expected_weights)
    assert not torch.allclose(dropped, expected)


def test_full_dropout_leaves_only_the_bias_of_the_output() -> None:
    attention = MultiHeadAttention(8, 2, dropout=1.0).double()
    nn.init.uniform_(attention.out_proj.bias, 1.0, 2.0)
    attended = attention(draw(1, 3, 8), draw(1, 5, 8, seed=1)).states
    assert_close(attended, attention.out_proj.bias.expand(1, 3, 8))


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_noise_is_added_to_the_scores_with_the_deviation_that_is_asked_for(noise: float) -> None:
    query, key = draw(1, 2, 40, 6), draw(1, 2, 60, 6, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        added = attention_scores(query, key, noise=torch.tensor(noise)) - attention_scores(query, key)
    assert float(added.std()) == pytest.approx(noise, rel=0.05)
    assert float(added.mean()) == pytest.approx(0, abs=0.05 * noise)


def test_noise_opens_no_mask() -> None:
    query, key, mask = draw(BATCH, HEADS, TGT, D_HEAD), draw(BATCH, HEADS, SRC, D_HEAD), make_mask("random")
    assert mask is not None
    weights = masked_softmax(attention_scores(query, key, noise=torch.tensor(100.0)), mask)
    assert (weights[~mask] == 0).all()
    assert_close(weights.sum(-1), torch.ones(BATCH, HEADS, TGT, dtype=torch.float64))


def test_noise_is_there_in_training_and_gone_in_evaluation() -> None:
    noisy, plain, states = MultiHeadAttention(8, 2, noise=2.0).double(), MultiHeadAttention(8, 2).double(), draw(2, 4, 8)
    plain.load_state_dict(noisy.state_dict())
    one, other = (noisy(states, states, need_weights=True) for _ in range(2))
    assert not one.weights.allclose(other.weights)
    assert not one.states.allclose(other.states)
    assert not torch.equal(*(noisy(states, states).states for _ in range(2)))
    for mine, expected in zip(
        noisy.eval()(states, states, need_weights=True), plain(states, states, need_weights=True), strict=True
    ):
        assert_close(mine, expected)


@pytest.mark.parametrize("fused", [False, True])
def test_query_dropout_takes_features_out_of_the_scores_in_training_alone(
    fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fused:
        monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    blind, plain = MultiHeadAttention(8, 2, query_dropout=1.0).double(), MultiHeadAttention(8, 2).double()
    plain.load_state_dict(blind.state_dict())
    states = draw(2, 4, 8)
    average = plain.out_proj(plain.v_proj(states).mean(1, keepdim=True)).expand(2, 4, 8)
    assert_close(blind(states, states).states, average)  # no feature is left: all keys are alike
    assert_close(blind.eval()(states, states).states, plain(states, states).states)
    half = MultiHeadAttention(8, 2, query_dropout=0.5).double()
    assert not torch.equal(*(half(states, states).states for _ in range(2)))
