"""Influence of the symbols, other pictures of where an answer comes from, and how well these agree with it."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqrev.errors import UsageError
from seqrev.inference.evaluation import evaluate
from seqrev.interpret.agreement import report_agreement
from seqrev.interpret.attention import record_attention
from seqrev.interpret.attribution import gradient_times_input, rollout, value_weighted
from seqrev.interpret.influence import correlation, influence, source_influence
from seqrev.interpret.interventions import record
from seqrev.model.transformer import Transformer
from seqrev.task import add_special_tokens
from tests.interpret.by_hand import reverser_by_hand
from tests.interpret.models import random_model
from tests.model.models import each_scheme, scheme_model

SOURCES = [[4, 8, 2, 9], [3], [1, 2, 3], [5, 5, 6, 7, 1]]


def ids(*symbols: list[int]) -> torch.Tensor:
    return torch.from_numpy(add_special_tokens(np.array(symbols)))


def test_the_causes_of_the_reverser_by_hand() -> None:
    """Each digit depends on one symbol, ``<EOS>`` on none; every picture is exactly this one."""
    model = reverser_by_hand()
    found = influence(model, record_attention(model, [4, 8, 2, 9]))
    causes = np.vstack((np.eye(4)[::-1], np.zeros(4)))
    np.testing.assert_allclose(found.effect, causes, atol=1e-6)
    source, answer = ids([4, 8, 2, 9]), ids([9, 2, 8, 4])
    target = answer[:, :-1]
    of_heads, of_layer = value_weighted(model, source, target)
    pictures = {
        "attention": found.attention(1, head=1),
        "value_weighted": of_heads[0, 0, 0, :, 1:-1].numpy(),
        "of the layer": of_layer[0, 0, :, 1:-1].numpy(),
        "rollout": (found.seen.weights("cross", 1)[0] @ rollout(found.seen.maps.encoder)[0].numpy())[:, 1:-1],
        "gradient": gradient_times_input(model, source, target, answer[:, 1:])[0, :, 1:-1].numpy(),
    }
    for name, picture in pictures.items():
        assert found.agreement(picture) == pytest.approx(1, abs=1e-6), name
        *rows, last = found.by_row(picture)
        assert rows == pytest.approx([1] * 4, abs=1e-6)
        assert math.isnan(last)


def test_rollout_of_a_model_that_attends_to_itself_is_the_identity() -> None:
    eye = torch.eye(3)[None, None].expand(1, 2, 3, 3)
    torch.testing.assert_close(rollout((eye, eye, eye)), torch.eye(3)[None])
    first = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])  # position 0 attends to 1
    second = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])  # position 1 attends to 0
    expected = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]])  # half of what 0 then has, half of what 1 has
    torch.testing.assert_close(rollout((first, second)), expected)


@each_scheme
def test_influence_is_what_happens_when_one_symbol_is_changed(scheme: str) -> None:
    model = scheme_model(scheme)
    source, answer = ids([4, 8, 2]), ids([1, 2, 0, 5])
    effect = source_influence(model, source, answer)

    def probabilities(symbols: list[int]) -> torch.Tensor:
        logits: torch.Tensor = model(ids(symbols), answer[:, :-1])
        return logits.softmax(-1)[0].gather(-1, answer[0, 1:, None])[:, 0]

    others = [symbol for symbol in range(10) if symbol != 8]
    lost = torch.stack([probabilities([4, 8, 2]) - probabilities([4, other, 2]) for other in others]).mean(dim=0)
    torch.testing.assert_close(effect[0, :, 1], lost)


def test_influence_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model()
    source, answer = ids([4, 8, 2], [1, 0, 1]), ids([2, 8, 4], [7, 7, 7])
    whole = source_influence(model, source, answer)
    torch.testing.assert_close(source_influence(model, source[1:], answer[1:]), whole[1:])
    monkeypatch.setattr("seqrev.interpret.influence.rows_for_forcing", lambda *_: 7)
    torch.testing.assert_close(source_influence(model, source, answer), whole)


def test_value_weighted_is_the_length_of_what_is_added() -> None:
    model = random_model()
    source, target = ids([4, 8, 2], [1, 0, 1]), ids([2, 8, 4], [7, 7, 7])[:, :-1]
    of_heads, of_layers = value_weighted(model, source, target)
    assert of_heads.shape == (2, 2, 2, 4, 5)
    assert of_layers.shape == (2, 2, 4, 5)
    # What all positions add together is the output of the head: with one position alone, its length is that.
    name = "cross.2.1"
    found = record(model, source, target, [name, f"{name}.weights", f"{name}.value"])
    column = model.decoder.layers[1].cross_attention.out_proj.weight[:, :8]
    added = found[f"{name}.weights"][..., None] * (found[f"{name}.value"] @ column.T)[:, None]
    torch.testing.assert_close(added.sum(dim=2), found[name] @ column.T)
    torch.testing.assert_close(of_heads[1][:, 0], added.norm(dim=-1))
    assert (of_layers <= of_heads.sum(dim=2) + 1e-12).all()


@each_scheme
def test_gradient_times_input_is_a_small_step_drawn_out(scheme: str) -> None:
    model = copy.deepcopy(scheme_model(scheme))
    source, answer = ids([4, 8, 2]), ids([1, 2, 0, 5])
    found = gradient_times_input(model, source, answer[:, :-1], answer[:, 1:])
    assert found.shape == (1, 5, 5)
    weight = model.encoder.embedding.tokens.weight
    others = (weight[3:].sum(dim=0) - weight[11]) / 9
    chosen = (torch.arange(5), answer[0, 1:])
    before, step = model(source, answer[:, :-1])[0][chosen], 1e-6
    weight[11] -= step * (weight[11] - others)  # symbol 8 is at position 2 only
    after = model(source, answer[:, :-1])[0][chosen]
    torch.testing.assert_close(found[0, :, 2], (before - after) / step, rtol=1e-3, atol=1e-4)


@each_scheme
def test_a_padded_position_has_no_gradient(scheme: str) -> None:
    model = scheme_model(scheme)
    source = torch.cat((ids([4, 8, 2]), torch.zeros(1, 2, dtype=torch.long)), dim=1)
    answer = ids([1, 2, 0])
    found = gradient_times_input(model, source, answer[:, :-1], answer[:, 1:])
    assert (found[..., -2:] == 0).all()
    torch.testing.assert_close(found[..., :-2], gradient_times_input(model, source[:, :-2], answer[:, :-1], answer[:, 1:]))


@given(st.lists(st.integers(0, 100), min_size=2, max_size=9), st.floats(0.1, 9), st.floats(-3, 3))
def test_correlation_does_not_depend_on_scale_or_origin(cells: list[int], scale: float, origin: float) -> None:
    effect = np.array(cells, dtype=float)
    picture = scale * effect + origin
    if np.abs(effect - effect.mean()).max() < 0.01:
        assert math.isnan(correlation(picture, effect))
    else:
        assert correlation(picture, effect) == pytest.approx(1)
        assert correlation(-picture, effect) == pytest.approx(-1)
        assert correlation(np.full_like(effect, origin), effect) == 0
        other = np.random.default_rng(0).random(len(effect))
        assert correlation(other, effect) == pytest.approx(np.corrcoef(other, effect)[0, 1])


def test_the_report_is_of_all_cells_of_all_sequences() -> None:
    model = reverser_by_hand()
    report = report_agreement(model, SOURCES)
    assert report.sequences == 4
    assert [(one.layer, one.head) for one in report.heads] == [(1, None), (1, 1), (1, 2)]
    first = report.heads[1]
    assert (first.attention, first.value_weighted) == pytest.approx((1, 1), abs=1e-6)
    assert report.gradient_times_input == pytest.approx(1, abs=1e-3)
    assert report.heads[2].value_weighted == 0  # it adds nothing
    assert first.rollout == pytest.approx(1, abs=1e-6)
    assert evaluate(model, SOURCES).overall.exact_match == 1
    assert report.to_dict()["heads"][0]["head"] is None


def test_one_alone_is_that_of_its_influence() -> None:
    model = reverser_by_hand()
    report = report_agreement(model, [[4, 8, 2]])
    found = influence(model, record_attention(model, [4, 8, 2]))
    assert report.heads[0].attention == pytest.approx(found.agreement(found.attention()))
    assert report.heads[0].attention == pytest.approx(found.agreement(found.seen.weights()[:, :, 1:-1].mean(axis=0)))


def test_where_nothing_can_be_changed_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one_symbol = Transformer(random_model().config, vocabulary_size=4).eval()
    with pytest.raises(UsageError, match="0 ways"):
        source_influence(one_symbol, ids([0, 0]), ids([0, 0]))
    monkeypatch.setattr("seqrev.interpret.influence.MOST_TOKENS", 100)
    with pytest.raises(UsageError, match="27 ways to change one of 3 symbols"):
        source_influence(random_model(), ids([4, 8, 2]), ids([2, 8, 4]))
