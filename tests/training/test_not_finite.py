"""When the loss or the gradient is no number: training ends with the weights of the step before."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqrev.data.batches import Batches
from seqrev.errors import TrainingError
from seqrev.task import EOS
from seqrev.training.events import Event
from seqrev.training.state import TrainingState
from seqrev.training.step import token_loss, train_step
from seqrev.training.trainer import Trainer, validate
from tests.training.small import BATCH, ROWS, calm, same, tiny, trainer, weights_of


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training_before_the_weights_are_touched(
    poison: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = TrainingState(tiny())
    train_step(state, BATCH)
    monkeypatch.setattr("seqrev.training.step.token_loss", lambda *arguments: poison * token_loss(*arguments))
    weights, optimizer = weights_of(state), state.to_arrays()["optimizer"]
    moments = {name: value.copy() for name, value in optimizer.items()}
    with pytest.raises(TrainingError, match="step 2") as caught:
        train_step(state, BATCH)
    assert caught.value.hint == "--set train.lr=0.0015"
    assert state.step == 1
    assert same(weights, weights_of(state))
    for name, moment in state.to_arrays()["optimizer"].items():
        np.testing.assert_array_equal(moment, moments[name])


def test_a_gradient_that_is_no_number_stops_training_though_the_loss_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    state = calm()
    before = weights_of(state)

    def square_root_of_nothing(logits: Tensor, labels: Tensor) -> Tensor:
        return token_loss(logits, labels) + (0 * logits).abs().sqrt().sum()

    monkeypatch.setattr("seqrev.training.step.token_loss", square_root_of_nothing)
    with pytest.raises(TrainingError, match="gradient norm nan"):
        train_step(state, BATCH)
    assert same(before, weights_of(state))


def test_a_learning_rate_that_is_far_too_large_ends_in_an_error_with_the_weights_of_the_step_before() -> None:
    training = trainer(train__lr=1e30, train__warmup_steps=0, train__validate_every=100)
    state = training.state
    events, after = [], weights_of(state)

    def train() -> None:
        nonlocal after
        for event in training:
            events.append(event)
            after = weights_of(state)

    with pytest.raises(TrainingError):
        train()
    assert events
    assert state.step == events[-1].step < 7
    assert same(after, weights_of(state))


def poison_step(monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    """Let the loss of one step, counted from 1, be no number, though weights and batch are as they should be."""
    calls: list[int] = []

    def poisoned(logits: Tensor, labels: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # not in a validation
            calls.append(1)
        return token_loss(logits, labels) * (math.nan if len(calls) == bad else 1.0)

    monkeypatch.setattr("seqrev.training.step.token_loss", poisoned)


@pytest.mark.parametrize(("bad", "seen"), [(1, 0), (2, 3), (4, 3), (5, 6), (7, 6)])
def test_a_device_that_is_not_waited_for_keeps_the_weights_until_it_is_asked(
    bad: int, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are read where they are logged (1, 4, 7) and before a validation (6); the device skips every step from the
    bad one on."""
    config = tiny(train__log_every=4, train__validate_every=6)
    expected = TrainingState(config)
    while expected.step < bad - 1:
        train_step(expected, Batches(config, ROWS.train).rows(expected.step))
    training = Trainer(config, ROWS, "cpu")
    state = training.state
    state.reading_is_free = False
    poison_step(monkeypatch, bad)
    events: list[Event] = []
    with pytest.raises(TrainingError, match=f"stopped at step {bad}: the loss is nan"):
        events.extend(training)
    assert [event.step for event in events] == list(range(1, seen + 1)) + [6] * (bad == 7)
    assert state.step == expected.step == bad - 1
    assert same(weights_of(state), weights_of(expected))
    if bad > 1:
        for name, moment in state.to_arrays()["optimizer"].items():
            np.testing.assert_array_equal(moment, expected.to_arrays()["optimizer"][name])


def test_a_state_with_an_unread_bad_step_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    state = calm(train__log_every=100)
    state.reading_is_free = False
    poison_step(monkeypatch, 3)
    steps = [train_step(state, BATCH) for _ in range(5)]
    assert math.isfinite(steps[0].loss)
    assert all(math.isnan(step.loss) for step in steps[1:])
    with pytest.raises(TrainingError, match="step 3"):
        state.to_arrays()
    assert state.step == 2


def test_a_validation_loss_that_is_no_number_stops_training() -> None:
    state = TrainingState(tiny())
    with torch.no_grad():
        state.model.output.bias[EOS] = math.inf
    with pytest.raises(TrainingError, match="validation loss is") as caught:
        validate(state, [[1, 2]])
    assert "train.lr=" in caught.value.hint
