"""The fused kernel and the blocks: other ways to the same numbers, in less memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqrev.model import attention as attention_module
from seqrev.model.attention import MultiHeadAttention, attention_weights, fused_attention
from seqrev.model.cache import KeyValueCache
from seqrev.model.positions import PositionInputs, ScoreBias, relative_bias
from tests.model.test_attention import BATCH, D_HEAD, HEADS, MASKS, SRC, TGT, assert_close, draw, make_mask

Spy = Callable[[str], list[Tensor]]


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Collects what a function of the module returns."""

    def collect(name: str) -> list[Tensor]:
        returned: list[Tensor] = []
        original = getattr(attention_module, name)

        def record(*arguments: Any) -> Tensor:
            result: Tensor = original(*arguments)
            returned.append(result)
            return result

        monkeypatch.setattr(attention_module, name, record)
        return returned

    return collect


@pytest.mark.parametrize("with_bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("kind", MASKS)
def test_the_fused_kernel_weights_the_values_as_the_weights_do(kind: str, with_bias: bool) -> None:
    query, key, value = draw(BATCH, HEADS, TGT, D_HEAD), draw(BATCH, HEADS, SRC, D_HEAD, seed=1), draw(BATCH, HEADS, SRC, 3)
    mask, bias = make_mask(kind), draw(1, HEADS, TGT, SRC, seed=2) if with_bias else None
    assert_close(fused_attention(query, key, value, mask, bias), attention_weights(query, key, mask, bias) @ value)


def test_a_cache_for_many_queries_is_no_hindrance_to_the_fused_kernel() -> None:
    query, cache = draw(BATCH, HEADS, TGT, D_HEAD), KeyValueCache(single_query=False)
    key, value = cache.append(draw(BATCH, HEADS, SRC, D_HEAD, seed=1), draw(BATCH, HEADS, SRC, D_HEAD, seed=2))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # else an error
        found = fused_attention(query, key, value)
    assert_close(found, attention_weights(query, key) @ value)


def test_the_kernel_is_fused_only_where_nobody_needs_the_weights(monkeypatch: pytest.MonkeyPatch, spy: Spy) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    attention, fused = MultiHeadAttention(8, 2, noise=1.0).double().eval(), spy("fused_attention")
    states, context = draw(BATCH, TGT, 8), draw(BATCH, SRC, 8, seed=1)
    expected = attention(states, context, need_weights=True).states
    assert len(fused) == 0
    assert_close(attention(states, context).states, expected)
    assert len(fused) == 1
    attention.train()  # with noise
    assert not torch.equal(*(attention(states, context).states for _ in range(2)))
    attention.eval()
    for module in (attention.softmax, attention.dropout):
        handle = module.register_forward_hook(lambda module, arguments, output: None)
        assert_close(attention(states, context).states, expected)
        handle.remove()
    assert len(fused) == 1
    attention(states, context)
    assert len(fused) == 2
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", set())
    attention(states, context)
    assert len(fused) == 2


@pytest.mark.parametrize(
    ("tgt", "src", "is_fused"), [(256, 256, True), (2, 40_000, True), (255, 257, False), (1, 70_000, False)]
)
def test_on_a_cpu_the_kernel_is_fused_where_there_are_many_scores(tgt: int, src: int, is_fused: bool, spy: Spy) -> None:
    """A single query is quick by itself."""
    attention, states, context = MultiHeadAttention(4, 2).double(), draw(1, tgt, 4), draw(1, src, 4, seed=1)
    fused = spy("fused_attention")
    attended, weights = attention(states, context, need_weights=True)
    assert weights.shape == (1, 2, tgt, src)
    assert not fused
    assert_close(attention(states, context).states, attended)
    assert bool(fused) == is_fused


def test_the_fused_kernel_drops_out_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    attention = MultiHeadAttention(8, 2, dropout=0.5).double()
    states = draw(BATCH, TGT, 8)
    assert not torch.equal(*(attention(states, states).states for _ in range(2)))
    attention.eval()
    assert torch.equal(*(attention(states, states).states for _ in range(2)))


def position_bias(heads: int) -> ScoreBias:
    table = draw(32, heads, seed=3)
    return ScoreBias(lambda query, key: relative_bias(query, key, table), torch.arange(TGT), torch.arange(SRC))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("at_once", [1, 90, 10_000])
def test_without_gradients_some_queries_at_a_time_find_what_all_find_together(
    at_once: int, kind: str, biased: bool, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = MultiHeadAttention(HEADS * D_HEAD, HEADS).double()
    states, context = draw(BATCH, TGT, HEADS * D_HEAD), draw(BATCH, SRC, HEADS * D_HEAD, seed=1)
    mask, positions = make_mask(kind), PositionInputs(bias=position_bias(HEADS) if biased else None)
    expected = attention(states, context, mask, positions).states  # gradients are on: all together
    monkeypatch.setattr("seqrev.model.attention.SCORES_AT_ONCE", at_once)
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"} if fused else set())
    for without_gradients in (torch.no_grad, torch.inference_mode):
        with without_gradients():
            assert_close(attention(states, context, mask, positions).states, expected)


@pytest.mark.parametrize("scores", [1, 8, 9, 1_000])
def test_without_gradients_dropout_acts_on_blocks_too(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monte Carlo dropout: training mode without gradients."""
    monkeypatch.setattr("seqrev.model.attention.SCORES_AT_ONCE", scores)
    attention, states = MultiHeadAttention(8, 2, dropout=0.5).double(), draw(1, 4, 8)
    with torch.no_grad():
        assert not torch.equal(*(attention(states, states).states for _ in range(2)))
        assert torch.equal(*(attention.eval()(states, states).states for _ in range(2)))
