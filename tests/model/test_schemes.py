"""Laws of the whole model that hold for every position scheme there is."""

import copy

import pytest
import torch
from torch import Tensor

from seqrev.model.transformer import Transformer
from seqrev.task import PAD
from tests.model.models import (
    SCHEMES,
    VOCABULARY,
    assert_close,
    each_scheme,
    random_rows,
    scheme_model,
    source_batch,
    target_batch,
)


@pytest.mark.parametrize("chunks", [[1] * 19, [3, 1, 7, 8]], ids=["one by one", "chunks"])
@each_scheme
def test_every_scheme_gives_the_same_logits_from_a_cache(scheme: str, chunks: list[int]) -> None:
    model = scheme_model(scheme)
    source, target = source_batch(*random_rows(3, 7, 1)), torch.tensor(random_rows(19, 19, 19, seed=1))
    memory, cache = model.encode(source), model.new_cache()
    parts = [model.decode(part, memory, cache) for part in torch.split(target, chunks, dim=1)]
    assert_close(torch.cat(parts, dim=1), model(source, target))


@each_scheme
def test_every_scheme_lets_rows_be_chosen_while_decoding(scheme: str) -> None:
    model = scheme_model(scheme)
    source, target = source_batch(*random_rows(3, 7, 5)), torch.tensor(random_rows(9, 9, 9, seed=1))
    for rows in ([2, 0, 0], [1]):
        chosen = torch.tensor(rows)
        memory, cache = model.encode(source), model.new_cache()
        model.decode(target[:, :4], memory, cache)
        for layer in cache:
            layer.select(chosen)
        memory = memory.select(chosen)
        parts = [model.decode(target[chosen, position : position + 1], memory, cache) for position in range(4, 9)]
        assert_close(torch.cat(parts, dim=1), model(source, target)[chosen, 4:])


@each_scheme
def test_every_scheme_lets_several_rows_answer_one_source(scheme: str) -> None:
    """As beam search does; with random positions all rows then share the positions."""
    model = scheme_model(scheme)
    source, target = source_batch(*random_rows(6)), torch.tensor(random_rows(5, 5, 5, seed=1))
    memory = model.encode(source).select(torch.tensor([0, 0, 0]))
    assert_close(model.decode(target, memory), torch.cat([model(source, row[None]) for row in target]))


@pytest.mark.parametrize("width", [1, 5])
@each_scheme
def test_every_scheme_ignores_padding(scheme: str, width: int) -> None:
    model = scheme_model(scheme)
    bare, target = source_batch(*random_rows(4)), target_batch(*random_rows(6, seed=1))
    assert_close(model(torch.nn.functional.pad(bare, (0, width), value=PAD), target), model(bare, target))


@each_scheme
def test_every_scheme_needs_no_mask_where_sources_are_equally_long(scheme: str) -> None:
    model = scheme_model(scheme)
    source, target = source_batch(*random_rows(6, 6, 6)), torch.tensor(random_rows(5, 5, 5, seed=1))
    expected = model(source, target)
    assert_close(model(source, target, padded=False), expected)
    with torch.no_grad():
        memory, chosen = model.encode(source, padded=False), torch.tensor([2, 0])
        assert memory.mask is None
        assert_close(model.decode(target[chosen], memory.select(chosen)), expected[chosen])


def logits_and_gradients(model: Transformer, source: Tensor, target: Tensor) -> list[Tensor]:
    """Of one pass with gradients, and the logits of decoding from a cache without them."""
    logits = model(source, target)
    with torch.no_grad():
        memory, cache = model.encode(source), model.new_cache()
        cached = torch.cat([model.decode(part, memory, cache) for part in torch.split(target, 1, dim=1)], dim=1)
    return [logits, cached, *torch.autograd.grad(logits.square().sum(), list(model.parameters()))]


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if "both" not in scheme])  # which never takes it
def test_every_scheme_is_the_same_with_the_fused_kernel(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy.deepcopy(scheme_model(scheme)).requires_grad_()
    source, target = source_batch(*random_rows(3, 7, 1)), torch.tensor(random_rows(5, 5, 5, seed=1))
    expected, maps = logits_and_gradients(model, source, target), model.attention_maps(source, target)
    with monkeypatch.context() as patch:
        patch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
        patch.setattr("seqrev.model.attention.masked_softmax", None)  # is not called
        for one, other in zip(logits_and_gradients(model, source, target), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    for layer, same in zip(model.attention_maps(source, target), maps, strict=True):
        assert all(one.equal(other) for one, other in zip(layer, same, strict=True))


@each_scheme
def test_every_scheme_treats_a_row_as_if_it_were_alone(scheme: str) -> None:
    model = scheme_model(scheme)
    rows, targets = random_rows(1, 7, 4), random_rows(6, 6, 6, seed=1)
    together = model(source_batch(*rows), target_batch(*targets))
    alone = [model(source_batch(row), target_batch(target)) for row, target in zip(rows, targets, strict=True)]
    assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("position", [1, 4])
@each_scheme
def test_every_scheme_is_causal(scheme: str, position: int) -> None:
    model = scheme_model(scheme)
    source, before = source_batch(*random_rows(4, 2)), target_batch(*random_rows(6, 6, seed=1))
    after = before.clone()
    after[:, position] = (after[:, position] - 3 + 1) % (VOCABULARY - 3) + 3
    one, other = model(source, before), model(source, after)
    assert_close(one[:, :position], other[:, :position])
    assert (one[:, position] - other[:, position]).abs().amax(-1).min() > 1e-6


@each_scheme
def test_every_scheme_but_none_knows_the_order_of_the_source(scheme: str) -> None:
    model = scheme_model(scheme)
    target = target_batch(*random_rows(3, seed=1))
    one, other = model(source_batch([4, 5, 6]), target), model(source_batch([6, 4, 5]), target)
    if model.config.positions == "none":
        assert_close(one, other)
    else:
        assert (one - other).abs().max() > 1e-3
