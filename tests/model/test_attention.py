"""Attention against PyTorch's own, and the cache against what was put into it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from seqrev.model.attention import KeyValueCache, MultiHeadAttention, attention_weights, fused_attention

BATCH, HEADS, TGT, SRC, D_HEAD = 3, 4, 5, 7, 6


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask_of(kind: str, tgt: int = TGT, src: int = SRC) -> Tensor | None:
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
    mask = mask_of(kind)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert_close(attention_weights(query, key, mask) @ value, expected)


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
    mask = mask_of(kind)
    if mask is not None and kind == "random":
        mask = mask[:, :heads]
    mixed, weights = ours(states, memory, mask)
    inverted = None
    if mask is not None:  # in PyTorch's module True = may not attend, and heads are folded into the batch
        inverted = ~mask.expand(BATCH, heads, TGT, SRC).reshape(-1, TGT, SRC)
    expected, expected_weights = theirs(states, memory, memory, attn_mask=inverted, average_attn_weights=False)
    assert_close(mixed, expected)
    assert_close(weights, expected_weights)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_self_attention_is_pytorchs_with_the_same_weights_and_gradients(heads: int) -> None:
    ours, theirs = attention_pair(heads)
    states = draw(BATCH, TGT, heads * D_HEAD)
    mask = torch.ones(TGT, TGT, dtype=torch.bool).tril()
    mixed, weights = ours(states, states, mask)
    expected, expected_weights = theirs(states, states, states, attn_mask=~mask, average_attn_weights=False)
    assert_close(mixed, expected)
    assert_close(weights, expected_weights)
    for output in (mixed, expected):
        torch.autograd.backward((output**2).sum())
    gradients = [getattr(ours, name).weight.grad for name in ("q_proj", "k_proj", "v_proj")]
    torch.testing.assert_close(torch.cat(gradients), theirs.in_proj_weight.grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("with_bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("kind", MASKS)
def test_the_fused_kernel_mixes_values_as_the_weights_do(kind: str, with_bias: bool) -> None:
    query, key, value = draw(BATCH, HEADS, TGT, D_HEAD), draw(BATCH, HEADS, SRC, D_HEAD, seed=1), draw(BATCH, HEADS, SRC, 3)
    mask, bias = mask_of(kind), draw(1, HEADS, TGT, SRC, seed=2) if with_bias else None
    assert_close(
        fused_attention(query, key, value, mask, bias=bias), attention_weights(query, key, mask, bias=bias) @ value
    )


def test_a_cache_for_many_queries_is_no_hindrance_to_the_fused_kernel() -> None:
    query, cache = draw(BATCH, HEADS, TGT, D_HEAD), KeyValueCache(one_query=False)
    key, value = cache.append(draw(BATCH, HEADS, SRC, D_HEAD, seed=1), draw(BATCH, HEADS, SRC, D_HEAD, seed=2))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # else an error
        mixed = fused_attention(query, key, value)
    assert_close(mixed, attention_weights(query, key) @ value)


def test_the_kernel_is_fused_only_where_nobody_asks_for_weights_and_no_noise_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    attention = MultiHeadAttention(8, 2, noise=1.0).double().eval()
    states, keys_of = draw(BATCH, TGT, 8), draw(BATCH, SRC, 8, seed=1)
    (plain, weights), (fused, empty) = (attention(states, keys_of, with_weights=asked) for asked in (True, False))
    assert_close(fused, plain)
    assert (weights.shape, empty.numel()) == ((BATCH, 2, TGT, SRC), 0)
    assert attention.train()(states, keys_of, with_weights=False)[1].shape == weights.shape
    assert not torch.equal(*(attention(states, keys_of, with_weights=False)[0] for _ in range(2)))
    monkeypatch.undo()
    assert attention.eval()(states, keys_of, with_weights=False)[1].shape == weights.shape


@pytest.mark.parametrize(
    ("tgt", "src", "fused"), [(256, 256, True), (2, 40_000, True), (255, 257, False), (1, 70_000, False)]
)
def test_on_a_cpu_the_kernel_is_fused_where_there_are_many_scores(tgt: int, src: int, fused: bool) -> None:
    """A single query is quick by itself."""
    attention, states, keys_of = MultiHeadAttention(4, 2).double(), draw(1, tgt, 4), draw(1, src, 4, seed=1)
    (plain, weights), (mixed, empty) = (attention(states, keys_of, with_weights=asked) for asked in (True, False))
    assert_close(mixed, plain)
    assert weights.shape == (1, 2, tgt, src)
    assert (empty.numel() == 0) == fused


def test_the_fused_kernel_drops_out_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    attention = MultiHeadAttention(8, 2, dropout=0.5).double()
    states = draw(BATCH, TGT, 8)
    assert not torch.equal(*(attention(states, states, with_weights=False)[0] for _ in range(2)))
    attention.eval()
    assert torch.equal(*(attention(states, states, with_weights=False)[0] for _ in range(2)))


@pytest.mark.parametrize("heads", [1, 3])
def test_multi_head_attention_is_pytorchs_function_head_by_head(heads: int) -> None:
    ours, _ = attention_pair(heads)
    states, memory = draw(2, TGT, heads * D_HEAD), draw(2, SRC, heads * D_HEAD, seed=9)
    mask = mask_of("causal")
    mixed = []
    for head in range(heads):
        part = slice(head * D_HEAD, (head + 1) * D_HEAD)
        query, key, value = ours.q_proj(states), ours.k_proj(memory), ours.v_proj(memory)
        masked = None if mask is None else mask[0, 0]
        mixed.append(scaled_dot_product_attention(query[..., part], key[..., part], value[..., part], attn_mask=masked))
    assert_close(ours(states, memory, mask)[0], ours.out_proj(torch.cat(mixed, dim=-1)))


def test_the_weights_returned_are_those_before_dropout() -> None:
    attention = MultiHeadAttention(8, 2, dropout=0.5).double()
    states = draw(2, 4, 8)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        mixed, weights = attention.train()(states, states)
    calm, calm_weights = attention.eval()(states, states)
    assert_close(weights, calm_weights)
    assert not torch.allclose(mixed, calm)  # the dropout was there


def test_full_dropout_leaves_only_the_bias_of_the_output() -> None:
    attention = MultiHeadAttention(8, 2, dropout=1.0).double()
    nn.init.uniform_(attention.out_proj.bias, 1.0, 2.0)
    mixed, _ = attention(draw(1, 3, 8), draw(1, 5, 8, seed=1))
    assert_close(mixed, attention.out_proj.bias.expand(1, 3, 8))


@settings(max_examples=25, deadline=None)
@given(chunks=st.lists(st.integers(1, 24), min_size=1, max_size=6))
def test_the_cache_returns_everything_that_was_appended(chunks: list[int]) -> None:
    cache = KeyValueCache()
    keys, values = draw(2, 3, sum(chunks), 4), draw(2, 3, sum(chunks), 4, seed=1)
    end = 0
    for chunk in chunks:
        start, end = end, end + chunk
        key, value = cache.append(keys[:, :, start:end], values[:, :, start:end])
        assert cache.length == end
        assert key.equal(keys[:, :, :end])
        assert value.equal(values[:, :, :end])
        assert [tensor.tolist() for tensor in cache.all()] == [key.tolist(), value.tolist()]


def test_the_cache_keeps_the_selected_rows_in_their_order_and_goes_on() -> None:
    cache = KeyValueCache()
    first, more = draw(3, 1, 5, 2), draw(4, 1, 20, 2, seed=1)
    cache.append(first, -first)
    rows = torch.tensor([2, 0, 2, 1])
    cache.select(rows)
    key, value = cache.all()
    assert key.equal(first[rows])
    assert value.equal(-first[rows])
    key, value = cache.append(more, -more)  # grows
    assert key.equal(torch.cat((first[rows], more), dim=2))
    assert value.equal(-key)


def test_on_a_cpu_the_cache_keeps_the_numbers_of_a_feature_side_by_side() -> None:
    cache = KeyValueCache()
    cache.append(draw(3, 1, 5, 2), draw(3, 1, 5, 2))
    cache.append(draw(3, 1, 20, 2), draw(3, 1, 20, 2))
    cache.select(torch.tensor([2, 0]))
    assert [tensor.stride(2) for tensor in cache.all()] == [1, 1]


def test_the_cache_copies_rarely() -> None:
    """Doubling: over many single appends the buffer moves a logarithmic number of times."""
    cache = KeyValueCache()
    one = draw(1, 1, 1, 1)
    places = {cache.append(one, one)[0].untyped_storage().size() for _ in range(1000)}
    assert len(places) <= math.log2(1000) - 2  # 16 positions at first
    assert max(places) <= 4 * 1000 * one.element_size()


def test_an_empty_cache_has_nothing_to_return_and_nothing_to_select() -> None:
    cache = KeyValueCache()
    cache.select(torch.tensor([0, 0]))
    assert cache.length == 0
    with pytest.raises(ValueError, match="empty"):
        cache.all()


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_noise_is_added_to_the_scores_with_the_deviation_that_is_asked_for(noise: float) -> None:
    query, key = draw(1, 2, 40, 6), draw(1, 2, 60, 6, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        added = attention_weights(query, key, noise=noise).log() - attention_weights(query, key).log()
    added = added - added.mean(-1, keepdim=True)  # a softmax forgets what is added to a whole row
    assert float(added.std()) == pytest.approx(noise, rel=0.05)


def test_noise_opens_no_mask() -> None:
    query, key, mask = draw(BATCH, HEADS, TGT, D_HEAD), draw(BATCH, HEADS, SRC, D_HEAD), mask_of("random")
    assert mask is not None
    weights = attention_weights(query, key, mask, noise=100.0)
    assert (weights[~mask] == 0).all()
    assert_close(weights.sum(-1), torch.ones(BATCH, HEADS, TGT, dtype=torch.float64))


def test_noise_is_there_in_training_and_gone_in_evaluation() -> None:
    noisy, calm = MultiHeadAttention(8, 2, noise=2.0).double(), MultiHeadAttention(8, 2).double()
    calm.load_state_dict(noisy.state_dict())
    states = draw(2, 4, 8)
    assert not noisy(states, states)[1].allclose(noisy(states, states)[1])
    noisy.eval()
    assert_close(noisy(states, states)[0], calm(states, states)[0])
    assert_close(noisy(states, states)[1], calm(states, states)[1])


@pytest.mark.parametrize("fused", [False, True])
def test_query_dropout_takes_features_out_of_the_scores_in_training_alone(
    fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fused:
        monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    blind, calm = MultiHeadAttention(8, 2, query_dropout=1.0).double(), MultiHeadAttention(8, 2).double()
    calm.load_state_dict(blind.state_dict())
    states = draw(2, 4, 8)
    average = calm.out_proj(calm.v_proj(states).mean(1, keepdim=True)).expand(2, 4, 8)
    assert_close(blind(states, states, with_weights=not fused)[0], average)  # no feature is left: all keys are alike
    assert_close(blind.eval()(states, states, with_weights=not fused)[0], calm(states, states)[0])
    half = MultiHeadAttention(8, 2, query_dropout=0.5).double()
    assert not torch.equal(*(half(states, states, with_weights=not fused)[0] for _ in range(2)))
