"""The encoder: what it returns, and how much memory it takes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from seqrev.model import attention
from seqrev.model.encoder import Memory
from seqrev.model.positions import ScoreBias
from seqrev.model.transformer import Transformer
from tests.model.models import (
    SCHEMES,
    VOCABULARY,
    assert_close,
    each_scheme,
    random_model,
    random_rows,
    scheme_model,
    small_config,
    source_batch,
    target_batch,
)


@each_scheme
@pytest.mark.parametrize("at_once", [1, 100, 150, 300])
def test_every_scheme_reads_a_source_in_blocks_as_it_reads_it_at_once(
    scheme: str, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    model, source = scheme_model(scheme), source_batch(*random_rows(7, 3))
    expected = model.encode(source)  # gradients are on: at once
    monkeypatch.setattr("seqrev.model.attention.SCORES_AT_ONCE", at_once)
    for without_gradients in (torch.no_grad, torch.inference_mode):
        with without_gradients():
            memory = model.encode(source)
        assert_close(memory.states, expected.states)
        assert memory.positions.equal(expected.positions)
        assert memory.lengths.tolist() == [[9], [5]]


@pytest.mark.parametrize("scheme", [{"positions": "rotary"}, {"positions": "alibi"}, {"positions": "relative"}], ids=str)
@pytest.mark.parametrize(("bound", "most"), [(1_000, 960), (480, 480), (479, 320), (160, 160), (3, 160), (100_000, 6_400)])
def test_without_gradients_no_more_scores_than_the_bound_are_in_memory_at_once(
    monkeypatch: pytest.MonkeyPatch, bound: int, most: int, scheme: dict[str, str]
) -> None:
    """Two rows and two heads of 40 keys are 160 scores a query, and there is nothing less than one query."""
    sizes: list[int] = []
    original = attention.masked_softmax

    def spy(*arguments: Any) -> Tensor:
        weights: Tensor = original(*arguments)
        sizes.append(weights.numel())
        return weights

    monkeypatch.setattr(attention, "masked_softmax", spy)
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", bound)
    model = Transformer(small_config(**scheme), VOCABULARY).eval()
    with torch.no_grad():
        model.encode(source_batch(*random_rows(38, 30)))
    assert max(sizes) == most
    assert sum(sizes) == 2 * 6_400  # two layers, each query once


@pytest.mark.parametrize("bound", [160, 479, 100_000])
def test_neither_are_more_numbers_of_a_bias(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    """A bias is the same for both rows, so it has half as many numbers as there are scores."""
    sizes: list[int] = []
    original = ScoreBias.rows

    def spy(bias: ScoreBias, some: slice) -> Tensor:
        sizes.append(original(bias, some).numel())
        return original(bias, some)

    monkeypatch.setattr(ScoreBias, "rows", spy)
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", bound)
    model = Transformer(small_config(positions="alibi"), VOCABULARY).eval()
    with torch.no_grad():
        model.encode(source_batch(*random_rows(38, 38)))
    assert max(sizes, default=0) <= bound
    assert bool(sizes) == (bound < 6_400)


@pytest.mark.parametrize("padded", [False, True])
def test_it_returns_weights_only_where_they_are_asked_for(padded: bool) -> None:
    model, source = scheme_model("rotary-start-0-False"), source_batch(*random_rows(5, 5))
    plain: Memory = model.encoder(source, padded)
    memory: Memory = model.encoder(source, padded, need_weights=True)
    assert plain.weights == ()
    assert [weights.shape for weights in memory.weights] == [(2, 2, 7, 7)] * 2
    assert_close(memory.states, plain.states)
    assert (memory.mask is None) is not padded
    assert memory.lengths.tolist() == [[7]] * (2 if padded else 1)


@each_scheme
def test_rows_of_a_memory_can_be_selected(scheme: str) -> None:
    model, source, rows = scheme_model(scheme), source_batch(*random_rows(3, 5, 4)), torch.tensor([2, 0, 2])
    selected, expected = model.encode(source).select(rows), model.encode(source[rows])
    assert selected.mask is not None
    assert expected.mask is not None
    assert selected.mask.equal(expected.mask)
    assert selected.lengths.equal(expected.lengths)
    assert selected.positions.equal(expected.positions)
    assert_close(selected.states, expected.states)
    if expected.target_positions is None:
        assert selected.target_positions is None
    else:
        assert selected.target_positions is not None
        shared = expected.target_positions.shape[1]  # one row was longer
        assert selected.target_positions[:, :shared].equal(expected.target_positions)


@pytest.mark.parametrize("scheme", list(SCHEMES)[2::4])
def test_with_random_positions_training_draws_others_every_time_and_evaluation_none(scheme: str) -> None:
    torch.manual_seed(0)
    model, source = (
        Transformer(small_config(**SCHEMES[scheme], max_positions=128), VOCABULARY),
        source_batch(*random_rows(6, 6)),
    )
    drawn = [model.encode(source) for _ in range(2)]
    assert not drawn[0].positions.equal(drawn[1].positions)
    for memory in drawn:
        assert memory.target_positions is not None
        from_start = memory.target_positions[0].tolist()
        row = {"start": from_start, "end": from_start[::-1], "both": [from_start, from_start[::-1]]}
        assert memory.positions.tolist() == [row[str(SCHEMES[scheme]["source_from"])]] * 2
    model.eval()
    memory = model.encode(source)
    spread = torch.arange(8) * 12
    assert memory.positions.sort(-1).values.equal(spread.expand(memory.positions.shape))
    assert model.decode(target_batch(*random_rows(6, 6)), memory).isfinite().all()


def test_an_encoder_without_layers_is_the_embedded_source() -> None:
    """So nothing of one source token reaches another, however much padding there is beside it."""
    config = small_config(encoder_layers=0, positions="rotary", source_from="both")
    model, source = random_model(0, config), source_batch(*random_rows(5, 3))
    memory = model.encoder(source, need_weights=True)
    assert memory.weights == ()
    assert_close(memory.states, model.encoder.norm(model.encoder.embedding.tokens(source)))
    changed = source.clone()
    changed[:, 2] = 3 + (changed[:, 2] - 2) % 10
    same = (model.encoder(changed).states == memory.states).all(-1)
    assert same.logical_not().nonzero()[:, 1].tolist() == [2, 2]
