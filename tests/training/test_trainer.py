"""The trainer: its events, a loop that is broken off, and a model that answers at any time."""

import math
from contextlib import nullcontext
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from seqrev.api.reverser import Reverser
from seqrev.errors import UsageError
from seqrev.inference.evaluation import evaluate
from seqrev.training.events import Event, Step, Validation
from seqrev.training.optimizer import Adam
from seqrev.training.state import TrainingState
from seqrev.training.step import train_step
from seqrev.training.trainer import Trainer, TrainingRows, sample_rows, validate
from tests.training.small import (
    BATCH,
    NOISE,
    ROWS,
    STREAM,
    calm,
    negative_log_likelihoods,
    same,
    tiny,
    trainer,
    weights_of,
)


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events]


def test_the_loss_of_a_validation_is_the_mean_over_all_tokens_of_all_lengths() -> None:
    state = calm()
    for step in range(3):
        train_step(state, BATCH[:, : step + 1])
    manual = [value for source in ROWS.validation for value in negative_log_likelihoods(state, list(source))]
    validation = validate(state, ROWS.validation)
    assert validation.loss == pytest.approx(sum(manual) / len(manual), abs=1e-5)
    assert validation.step == 3


def test_a_validation_is_free_running_without_dropout_and_changes_no_weight() -> None:
    state = TrainingState(tiny(model__dropout=0.9))
    before = weights_of(state)
    one, two = validate(state, ROWS.validation), validate(state, ROWS.validation)
    assert one == two
    assert same(before, weights_of(state))
    tally = evaluate(state.model.eval(), ROWS.validation).overall
    assert (one.exact_match, one.token_accuracy) == (tally.exact_match, tally.token_accuracy)


def test_dropout_is_back_after_a_validation() -> None:
    state, other = TrainingState(tiny(model__dropout=0.5)), TrainingState(tiny(model__dropout=0.5))
    validate(state, ROWS.validation)
    assert train_step(state, BATCH) == train_step(other, BATCH)


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(12)
    np.random.seed(12)
    before = torch.get_rng_state()
    state = TrainingState(tiny())
    train_step(state, BATCH)
    validate(state, ROWS.validation)
    assert torch.get_rng_state().equal(before)
    after = np.random.random()
    np.random.seed(12)
    assert np.random.random() == after


def test_every_step_is_an_event_and_validations_stand_where_they_are_due() -> None:
    events = list(trainer())
    assert [(type(event), event.step) for event in events] == [
        *((Step, step) for step in (1, 2, 3)),
        (Validation, 3),
        *((Step, step) for step in (4, 5, 6)),
        (Validation, 6),
        (Step, 7),
        (Validation, 7),
    ]


def test_the_last_step_is_validated_once_where_both_reasons_meet() -> None:
    events = list(trainer(train__steps=6))
    assert [event.step for event in events if isinstance(event, Validation)] == [3, 6]


@pytest.mark.parametrize("rows", [ROWS, STREAM], ids=["dataset", "stream"])
def test_the_same_seed_trains_the_same_and_another_one_does_not(rows: TrainingRows) -> None:
    torch.manual_seed(1)
    one = list(trainer(rows))
    torch.manual_seed(2)
    two, other = list(trainer(rows)), list(trainer(rows, seed=4))
    assert one == two
    assert not set(losses(one)) & set(losses(other))


def test_rows_are_sampled_from_the_configuration_where_none_are_given() -> None:
    config = tiny(task__symbols=10)
    rows = sample_rows(config)
    assert rows.train is not None
    assert (len(rows.train), len(rows.validation)) == (40, 4)
    assert list(Trainer(config, device="cpu")) == list(Trainer(config, rows, "cpu"))
    stream = sample_rows(tiny(task__symbols=10, data__stream=True))
    assert stream.train is None
    assert list(stream.validation) == list(rows.validation)


def test_the_state_is_that_of_the_event_when_the_loop_is_broken_off() -> None:
    for stop in range(1, 8):
        training = trainer()
        last = next(event for event in training if event.step == stop)
        assert isinstance(last, Step)
        assert training.state.step == stop
        moments = training.state.optimizer.state
        assert {int(value) for name, value in moments.items() if name.startswith("step.")} == {stop}


@pytest.mark.parametrize("rows", [ROWS, STREAM], ids=["dataset", "stream"])
def test_a_loop_that_is_broken_off_goes_on(rows: TrainingRows) -> None:
    whole, broken = trainer(rows), trainer(rows)
    expected = list(whole)
    events: list[Event] = []
    for count in (1, 3, 0, 4):
        events += islice(broken, count)
        Reverser.from_trainer(broken).decode([[1, 2], [0]])  # what is asked in between changes nothing
    events += list(broken)
    assert events == expected
    assert same(weights_of(broken.state), weights_of(whole.state))


@pytest.mark.parametrize("late", [False, True])
def test_a_ctrl_c_around_the_update_does_not_take_a_step_twice_or_not_at_all(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = trainer(), trainer()
    list(whole)
    next(broken)
    update = Adam.step

    def interrupted(*arguments: Any, **named: Any) -> None:
        if late:
            update(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Adam, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(broken)
    assert broken.state.step == 1 + late
    list(broken)
    assert same(weights_of(broken.state), weights_of(whole.state))


def test_a_training_that_is_done_does_nothing_more() -> None:
    training = trainer()
    assert list(training)
    done = weights_of(training.state)
    assert list(training) == []
    assert same(done, weights_of(training.state))


def test_the_history_has_every_event_so_far() -> None:
    training = trainer()
    assert training.history == []
    events = list(islice(training, 5))
    assert training.history == events
    assert [*events, *training] == training.history
    assert len(training.history) == 10


def test_events_have_the_time_since_the_training_began() -> None:
    training = trainer()
    training.seconds = 100.0  # of an earlier attempt
    seconds = [event.seconds for event in training]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 100.0
    assert [event.seconds for event in training.history] == seconds


def test_a_trainer_says_how_far_it_is() -> None:
    training = trainer(train__steps=1200, train__validate_every=1000)
    assert repr(training) == "<Trainer: step 0 of 1,200>"
    next(training)
    assert repr(training) == "<Trainer: step 1 of 1,200>"


def test_the_model_answers_at_any_step() -> None:
    training = trainer()
    for event in islice(training, 2):
        reverser = Reverser.from_trainer(training)
        assert training.model is training.state.model
        assert not reverser.model.training
        (answer,) = reverser.decode([[1, 2]])
        assert reverser.reverse([1, 2]) == answer.output
        assert reverser.attention([1, 2]).answer.output == answer.output
        assert reverser.evaluate(ROWS.validation).overall.sequences == 4
        assert training.state.step == event.step
    assert repr(Reverser.from_trainer(training)) == "<Reverser: not saved; 4 symbols, trained on lengths 1 to 3>"
    assert Reverser.from_trainer(training).run is None


def test_hooks_on_the_trained_model_see_every_step() -> None:
    training, seen = trainer(), list[int]()
    training.trained.output.register_forward_hook(lambda *_: seen.append(training.state.step))
    list(training)
    assert seen == list(range(7))
    assert training.trained is not training.model  # of an average
    assert trainer(train__ema_decay=0.0).trained is not None


def test_a_tiny_task_is_learned() -> None:
    config = tiny(
        task__symbols=3,
        task__max_length=2,
        model__d_model=32,
        model__d_ff=32,
        **NOISE,
        train__steps=150,
        train__batch_size=16,
        train__validate_every=1000,
    )
    every = [[first] for first in range(3)] + [[first, second] for first in range(3) for second in range(3)]
    training = Trainer(config, TrainingRows(train=every, validation=every), "cpu")
    events = list(training)
    assert events[0].loss == pytest.approx(math.log(6), abs=0.3)
    last = events[-1]
    assert isinstance(last, Validation)
    assert last.loss < 0.1
    assert last.exact_match == last.token_accuracy == 1.0
    assert Reverser.from_trainer(training).reverse([1, 2]) == [2, 1]


def test_a_dataset_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.validation asks for"):
        Trainer(tiny(data__validation=1000))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="device"):
        Trainer(tiny(), ROWS, "tpu")


def test_a_reverser_stays_as_it_was_while_training_goes_on() -> None:
    training = trainer(train__steps=4, model__dropout=0.5)
    next(training)
    reverser = Reverser.from_trainer(training)
    before = {name: weight.clone() for name, weight in reverser.model.named_parameters()}
    next(training)
    assert training.model.training
    assert not reverser.model.training
    assert same(before, dict(reverser.model.named_parameters()))
    assert not same(before, dict(training.model.named_parameters()))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (TrainingRows([], ROWS.validation), "no rows"),
        (TrainingRows(ROWS.train, []), "no rows"),
        (TrainingRows([[1, 99]], ROWS.validation), "not in the vocabulary"),
        (TrainingRows([[1] * 5_000], ROWS.validation), "has 5,000 symbols"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused_at_once(rows: TrainingRows, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainer(rows)


def test_rows_are_as_long_as_there_are_random_positions_and_no_longer() -> None:
    for length in (10, 11):
        rows = TrainingRows([[1] * length], ROWS.validation)
        with pytest.raises(UsageError, match="has 11 symbols") if length > 10 else nullcontext():
            next(trainer(rows, model__random_positions=12))


def test_idle_time_between_events_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    training = trainer()
    next(training)
    clock[0] += 1000.0
    assert next(training).seconds < 1.0
