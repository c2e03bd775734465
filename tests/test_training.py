"""Training as a pure function of configuration, seed and step, and as something that can be stopped and continued."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from seqrev.batches import Batches
from seqrev.config import Config, TrainConfig
from seqrev.errors import InputError, TrainingError
from seqrev.evaluation import evaluate
from seqrev.task import BOS, EOS, PAD
from seqrev.tensors import to_tensors
from seqrev.training import (
    Event,
    Rows,
    Step,
    TrainingState,
    Validation,
    checkpoint_shapes,
    fit,
    learning_rate,
    load_weights,
    sample_rows,
    step_bytes,
    token_loss,
    train_step,
    validate,
)

Arrays = dict[str, NDArray[Any]]


def tiny(**changes: Any) -> Config:
    """Few weights, few steps, everything random switched on; ``train__lr=1`` changes one field."""
    tree: dict[str, Any] = {
        "seed": 3,
        "task": {"symbols": 4, "min_length": 1, "max_length": 3},
        "data": {"train": 40, "validation": 4, "test": 4},
        "model": {
            "d_model": 8,
            "heads": 2,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "d_ff": 8,
            "dropout": 0.1,
            "attention_dropout": 0.2,
            "attention_noise": 0.3,
            "query_dropout": 0.1,
            "self_query_dropout": 0.1,
        },
        "train": {"steps": 7, "batch_size": 4, "lr": 1e-2, "warmup": 2, "validate_every": 3},
    }
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        (tree[section] if section else tree)[field] = value
    return Config.model_validate(tree)


NOISE: dict[str, Any] = {
    f"model__{name}": 0.0
    for name in ("dropout", "attention_dropout", "attention_noise", "query_dropout", "self_query_dropout")
}

ROWS = Rows(
    train=[[0], [1], [2], [3], [0, 1], [2, 3], [1, 1], [3, 0], [2, 2], [1, 2, 3], [3, 2, 1], [0, 0, 1], [3, 3, 0]],
    validation=[[1, 0], [0, 1, 2], [3, 1], [2]],
)
STREAM = Rows(train=None, validation=ROWS.validation)
BATCH = np.array([[0, 1, 2], [3, 2, 1], [1, 1, 0]])


def weights_of(state: TrainingState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.model.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events]


# --- learning rate ----------------------------------------------------------------------------------------------------


def schedule(**changes: float) -> TrainConfig:
    return TrainConfig.model_validate({"steps": 100, "lr": 0.5, "warmup": 10, **changes})


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    config = schedule()
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[4] == pytest.approx(0.25)
    assert rates[9] == 0.5
    assert rates[10] == 0.5
    assert rates[55] == pytest.approx(0.25)
    assert rates[99] == pytest.approx(0.5 / 90)
    assert rates[100] == 0.0
    assert np.diff(rates[:10]) == pytest.approx(0.05)
    assert np.diff(rates[10:]) == pytest.approx(-0.5 / 90)


def test_without_warm_up_training_begins_at_the_peak() -> None:
    rates = [learning_rate(step, schedule(warmup=0)) for step in range(100)]
    assert rates == pytest.approx([0.5 * (1 - step / 100) for step in range(100)])


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(1, 200), warmup=st.integers(0, 300))
def test_the_learning_rate_is_positive_and_never_above_its_peak(steps: int, warmup: int) -> None:
    config = schedule(steps=steps, warmup=warmup)
    assert all(0 < learning_rate(step, config) <= 0.5 for step in range(steps))


def test_a_step_uses_the_rate_of_its_place() -> None:
    config = tiny()
    steps = [event for event in fit(config, ROWS) if isinstance(event, Step)]
    assert [event.lr for event in steps] == [learning_rate(step, config.train) for step in range(7)]
    state = TrainingState(tiny(train__lr=0.0))
    before = weights_of(state)
    train_step(state, BATCH)
    assert same(before, weights_of(state))


# --- loss -------------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_of_the_tokens_that_are_not_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[3, 6, EOS, PAD], [4, EOS, PAD, PAD]])
    manual = [
        math.log(sum(math.exp(logit) for logit in row)) - row[label]
        for row, label in zip(logits.flatten(0, 1).tolist(), labels.flatten().tolist(), strict=True)
        if label != PAD
    ]
    assert len(manual) == 5
    assert float(token_loss(logits, labels)) == pytest.approx(sum(manual) / 5, rel=1e-12)
    logits[labels == PAD] = 100 * torch.randn(3, 7, generator=generator, dtype=torch.float64)
    assert float(token_loss(logits, labels)) == pytest.approx(sum(manual) / 5, rel=1e-12)


def test_source_and_target_are_framed_and_the_target_is_the_reverse() -> None:
    source, target = to_tensors(np.array([[0, 1, 2], [3, 3, 0]]), torch.device("cpu"))
    assert source.tolist() == [[BOS, 3, 4, 5, EOS], [BOS, 6, 6, 3, EOS]]
    assert target.tolist() == [[BOS, 5, 4, 3, EOS], [BOS, 3, 6, 6, EOS]]


def calm(**changes: Any) -> TrainingState:
    """No dropout, no noise."""
    return TrainingState(tiny(**NOISE | changes))


def negative_log_likelihoods(state: TrainingState, source: list[int]) -> list[float]:
    """Of each token of the right answer, EOS included, given those before it; one pass for each."""
    ids = torch.tensor([[BOS, *(symbol + 3 for symbol in source), EOS]])
    answer = [*(symbol + 3 for symbol in reversed(source)), EOS]
    with torch.no_grad():
        rows = [state.model(ids, torch.tensor([[BOS, *answer[:place]]]))[0, -1] for place in range(len(answer))]
    return [-float(row.log_softmax(-1)[token]) for row, token in zip(rows, answer, strict=True)]


def test_the_loss_of_a_step_is_that_of_each_next_token_given_those_before_it() -> None:
    state = calm()
    manual = [value for source in BATCH.tolist() for value in negative_log_likelihoods(state, source)]
    step = train_step(state, BATCH)
    assert step.loss == pytest.approx(sum(manual) / len(manual), abs=1e-5)
    assert step.tokens == len(manual) == 12
    assert step.step == state.step == 1


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


# --- a step -----------------------------------------------------------------------------------------------------------


def test_a_step_goes_down_the_gradient() -> None:
    state = calm(train__warmup=0)
    first = [train_step(state, BATCH).loss for _ in range(5)]
    assert first == sorted(first, reverse=True)


def test_steps_are_those_of_adam_on_the_clipped_gradient() -> None:
    """Written out once more: Kingma and Ba (2015), algorithm 1, with the second decay rate of the Transformer paper."""
    state, model = calm(train__clip=0.5), calm().model.train()
    first = [torch.zeros_like(parameter) for parameter in model.parameters()]
    second = [torch.zeros_like(parameter) for parameter in model.parameters()]
    source, target = to_tensors(BATCH, torch.device("cpu"))
    for step in range(1, 5):
        train_step(state, BATCH)
        loss = token_loss(model(source, target[:, :-1]), target[:, 1:])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        shrink = min(1.0, 0.5 / float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
        rate = learning_rate(step - 1, state.config.train)
        with torch.no_grad():
            for parameter, gradient, mean, square in zip(model.parameters(), gradients, first, second, strict=True):
                mean += 0.1 * (shrink * gradient - mean)
                square += 0.02 * ((shrink * gradient) ** 2 - square)
                parameter.sub_(rate * mean / (1 - 0.9**step) / ((square / (1 - 0.98**step)).sqrt() + 1e-8))
    for (name, one), other in zip(state.model.named_parameters(), model.parameters(), strict=True):
        if not name.endswith("k_proj.bias"):  # its gradient is nothing but rounding, which Adam makes large
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("clip", [0.05, 0.0, 1e6])
def test_the_gradient_is_clipped_and_its_norm_is_told_from_before(clip: float) -> None:
    state = calm(train__clip=clip)
    step = train_step(state, BATCH)
    gradients = [parameter.grad for parameter in state.model.parameters() if parameter.grad is not None]
    left = float(torch.stack([gradient.norm() for gradient in gradients]).norm())
    assert step.gradient_norm > 0.1
    assert left == pytest.approx(clip if clip == 0.05 else step.gradient_norm, rel=1e-4)


def test_gradients_do_not_add_up_over_steps() -> None:
    state, other = calm(train__lr=0.0), calm(train__lr=0.0)
    train_step(state, BATCH[:, :1])
    train_step(state, BATCH)
    train_step(other, BATCH)
    for one, two in zip(state.model.parameters(), other.model.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        assert one.grad.equal(two.grad)


@pytest.mark.parametrize("name", NOISE, ids=lambda name: name[7:])
def test_what_is_random_in_a_step_depends_on_seed_and_step_and_nothing_else(name: str) -> None:
    def loss(step: int, seed: int = 3, before: int = 0) -> float:
        state = TrainingState(tiny(**NOISE | {name: 0.5}, train__lr=0.0))
        for parameter in state.model.parameters():
            parameter.data *= 3
        state.config = tiny(**NOISE | {name: 0.5}, train__lr=0.0, seed=seed)  # the weights stay
        state.step = step
        torch.manual_seed(before)
        return train_step(state, BATCH).loss

    assert loss(0) == loss(0, before=1)
    assert loss(4) == loss(4, before=2)
    assert len({loss(0), loss(1), loss(4), loss(0, seed=4)}) == 4


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


# --- fit --------------------------------------------------------------------------------------------------------------


def test_every_step_is_an_event_and_validations_stand_where_they_are_due() -> None:
    events = list(fit(tiny(), ROWS))
    assert [(type(event), event.step) for event in events] == [
        *((Step, step) for step in (1, 2, 3)),
        (Validation, 3),
        *((Step, step) for step in (4, 5, 6)),
        (Validation, 6),
        (Step, 7),
        (Validation, 7),
    ]


def test_the_last_step_is_validated_once_where_both_reasons_meet() -> None:
    events = list(fit(tiny(train__steps=6), ROWS))
    assert [event.step for event in events if isinstance(event, Validation)] == [3, 6]


@pytest.mark.parametrize("rows", [ROWS, STREAM], ids=["dataset", "stream"])
def test_the_same_seed_trains_the_same_and_another_one_does_not(rows: Rows) -> None:
    torch.manual_seed(1)
    one = list(fit(tiny(), rows))
    torch.manual_seed(2)
    two, other = list(fit(tiny(), rows)), list(fit(tiny(seed=4), rows))
    assert one == two
    assert not set(losses(one)) & set(losses(other))


def test_the_seed_decides_the_initial_weights() -> None:
    torch.manual_seed(1)
    one = TrainingState(tiny())
    torch.manual_seed(2)
    two, other = TrainingState(tiny()), TrainingState(tiny(seed=4))
    assert same(weights_of(one), weights_of(two))
    assert not one.model.output.weight.equal(other.model.output.weight)


def test_rows_are_sampled_from_the_configuration_where_none_are_given() -> None:
    config = tiny(task__symbols=10)
    rows = sample_rows(config)
    assert rows.train is not None
    assert (len(rows.train), len(rows.validation)) == (40, 4)
    assert list(fit(config)) == list(fit(config, rows))
    stream = sample_rows(tiny(task__symbols=10, data__stream=True))
    assert stream.train is None
    assert list(stream.validation) == list(rows.validation)


def test_the_state_is_that_of_the_event_when_the_listener_stops() -> None:
    for stop in range(1, 8):
        state = TrainingState(tiny())
        events = fit(tiny(), ROWS, state)
        last = next(event for event in events if event.step == stop)
        assert isinstance(last, Step)
        assert state.step == stop
        assert {int(value) for name, value in state.optimizer.state.items() if name.startswith("step.")} == {stop}


def continued(config: Config, rows: Rows, count: int) -> tuple[list[Event], list[Event], TrainingState, TrainingState]:
    """Events after the first ``count``: of a training that went on, and of one that was saved and restored there."""
    whole_state = TrainingState(config)
    whole = list(fit(config, rows, whole_state))
    stopped = TrainingState(config)
    events = list(islice(fit(config, rows, stopped), count))
    arrays = stopped.to_arrays()
    saved = {group: {name: value.copy() for name, value in arrays[group].items()} for group in arrays}
    torch.manual_seed(99)
    fresh = TrainingState(config)
    validated = isinstance(events[-1], Validation)
    fresh.restore(events[-1].step, validated, saved["model"], saved["optimizer"])
    return whole[count:], list(fit(config, rows, fresh)), whole_state, fresh


@pytest.mark.parametrize("rows", [ROWS, STREAM], ids=["dataset", "stream"])
@pytest.mark.parametrize("count", range(1, 11))
def test_a_training_that_was_stopped_goes_on_bit_for_bit(count: int, rows: Rows) -> None:
    expected, events, whole, restored = continued(tiny(), rows, count)
    assert events == expected
    assert same(weights_of(whole), weights_of(restored))


def test_a_step_whose_validation_is_not_on_record_is_validated_first() -> None:
    events = list(fit(tiny(), ROWS))
    state = TrainingState(tiny())
    for event in fit(tiny(), ROWS, state):
        if event.step == 3:
            break
    assert state.validated == 0
    arrays = state.to_arrays()
    for validated, first in ((False, 3), (True, 4)):  # the events from the validation of step 3, and those after it
        fresh = TrainingState(tiny())
        fresh.restore(3, validated, arrays["model"], arrays["optimizer"])
        assert list(fit(tiny(), ROWS, fresh)) == events[first:]


def test_the_first_step_can_be_restored_without_optimizer_state() -> None:
    state, fresh = TrainingState(tiny()), TrainingState(tiny(seed=9))
    arrays = state.to_arrays()
    assert arrays["optimizer"] == {}
    fresh.restore(0, False, arrays["model"], arrays["optimizer"])
    fresh.config = tiny()
    assert list(fit(tiny(), ROWS, fresh)) == list(fit(tiny(), ROWS))


def test_a_restored_state_does_not_share_memory_with_what_it_was_restored_from() -> None:
    state = TrainingState(tiny())
    train_step(state, BATCH)
    saved = {group: {name: value.copy() for name, value in arrays.items()} for group, arrays in state.to_arrays().items()}
    copies = {group: {name: value.copy() for name, value in arrays.items()} for group, arrays in saved.items()}
    fresh = TrainingState(tiny())
    fresh.restore(1, False, saved["model"], saved["optimizer"])
    train_step(fresh, BATCH)
    for group, arrays in saved.items():
        for name, value in arrays.items():
            np.testing.assert_array_equal(value, copies[group][name])


def test_a_training_that_is_done_does_nothing_more() -> None:
    state = TrainingState(tiny())
    assert list(fit(tiny(), ROWS, state))
    done = weights_of(state)
    assert list(fit(tiny(), ROWS, state)) == []
    assert same(done, weights_of(state))


# --- what does not fit ------------------------------------------------------------------------------------------------


def without(arrays: Arrays, name: str) -> Arrays:
    return {key: value for key, value in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda arrays: without(arrays, "output.bias"), "output.bias"),
        (lambda arrays: arrays | {"extra": np.zeros(1)}, "extra"),
        (lambda arrays: arrays | {"output.bias": np.zeros(8, np.float32)}, "output.bias"),
        (lambda arrays: arrays | {"output.weight": arrays["output.weight"].T}, "output.weight"),
    ],
    ids=["missing", "too many", "longer", "transposed"],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(spoil: Callable[[Arrays], Arrays], name: str) -> None:
    state, other = TrainingState(tiny()), TrainingState(tiny(seed=4))
    before = weights_of(state)
    with pytest.raises(InputError, match=name):
        load_weights(state.model, spoil(other.to_arrays()["model"]))
    assert same(before, weights_of(state))
    load_weights(state.model, other.to_arrays()["model"])
    assert same(weights_of(state), weights_of(other))


@pytest.mark.parametrize("kind", ["step", "exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("shape", [None, (2, 3)])
def test_optimizer_state_that_does_not_fit_is_refused(kind: str, shape: tuple[int, ...] | None) -> None:
    state = TrainingState(tiny())
    train_step(state, BATCH)
    arrays = state.to_arrays()
    name = f"{kind}.output.weight"
    moments = without(arrays["optimizer"], name)
    if shape:
        moments[name] = np.zeros(shape, np.float32)
    with pytest.raises(InputError, match=f"{kind}.output.weight"):
        TrainingState(tiny()).restore(1, False, arrays["model"], moments)


def test_a_shared_matrix_is_saved_once_and_comes_back_shared() -> None:
    state, other = TrainingState(tiny(model__tie_embeddings=True)), TrainingState(tiny(model__tie_embeddings=True, seed=4))
    train_step(state, BATCH)
    arrays = state.to_arrays()
    assert arrays["model"].keys() & {"source_embedding.weight", "target_embedding.weight", "output.weight"} == {
        "source_embedding.weight"
    }
    shapes = {part: {name: value.shape for name, value in group.items()} for part, group in arrays.items()}
    assert shapes == checkpoint_shapes(state.config)
    other.restore(1, False, arrays["model"], arrays["optimizer"])
    assert same(weights_of(state), weights_of(other))
    train_step(other, BATCH)
    assert other.model.output.weight is other.model.target_embedding.weight is other.model.source_embedding.weight
    assert not other.model.output.weight.equal(state.model.output.weight)


# --- when the loss is no number ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training_before_the_weights_are_touched(poison: float) -> None:
    state = TrainingState(tiny())
    train_step(state, BATCH)
    with torch.no_grad():
        state.model.output.bias[EOS] = poison
    weights, optimizer = weights_of(state), state.to_arrays()["optimizer"]
    moments = {name: value.copy() for name, value in optimizer.items()}
    with pytest.raises(TrainingError, match="step 2") as caught:
        train_step(state, BATCH)
    assert "train.lr=0.0025" in caught.value.hint
    assert state.step == 1
    for name, value in state.model.state_dict().items():
        assert torch.equal(value.nan_to_num(7.0), weights[name].nan_to_num(7.0))
    for name, moment in state.to_arrays()["optimizer"].items():
        np.testing.assert_array_equal(moment, moments[name])


def test_a_gradient_that_is_no_number_stops_training_though_the_loss_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    state = calm()
    before = weights_of(state)

    def square_root_of_nothing(logits: Tensor, labels: Tensor) -> Tensor:
        return token_loss(logits, labels) + (0 * logits).abs().sqrt().sum()

    monkeypatch.setattr("seqrev.training.token_loss", square_root_of_nothing)
    with pytest.raises(TrainingError, match="gradient norm nan"):
        train_step(state, BATCH)
    assert same(before, weights_of(state))


def test_a_learning_rate_that_is_far_too_large_ends_in_an_error_with_the_weights_of_the_step_before() -> None:
    config = tiny(train__lr=1e30, train__warmup=0, train__validate_every=100)
    state = TrainingState(config)
    events, after = [], weights_of(state)

    def train() -> None:
        nonlocal after
        for event in fit(config, ROWS, state):
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

    monkeypatch.setattr("seqrev.training.token_loss", poisoned)


@pytest.mark.parametrize(("bad", "seen"), [(1, 0), (2, 3), (4, 3), (5, 6), (7, 6)])
def test_a_device_that_is_not_waited_for_keeps_the_weights_until_it_is_asked(
    bad: int, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are read where they are logged (1, 4, 7) and before a validation (6); the device skips every step from the
    bad one on."""
    config = tiny(train__log_every=4, train__validate_every=6)
    expected = TrainingState(config)
    while expected.step < bad - 1:
        train_step(expected, Batches(config, ROWS.train)[expected.step])
    state = TrainingState(config)
    state.reading_is_free = False
    poison_step(monkeypatch, bad)
    events: list[Event] = []
    with pytest.raises(TrainingError, match=f"stopped at step {bad}: the loss is nan"):
        events.extend(fit(config, ROWS, state))
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


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "alibi", "none"])
def test_a_step_that_is_not_logged_reads_nothing_from_the_device(positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device tensors have no content: whatever would wait for a GPU to know a number fails there."""
    monkeypatch.setattr("torch.autocast", lambda *arguments, **options: nullcontext())  # knows no meta device
    state = TrainingState(tiny(model__positions=positions, model__length_scaling=True, train__log_every=4), "meta")
    monkeypatch.setattr(state.optimizer, "step", lambda lr, found_inf: None)
    state.step = 1
    assert math.isnan(train_step(state, BATCH).loss)
    assert math.isnan(train_step(state, BATCH).loss)
    with pytest.raises(RuntimeError, match="meta"):
        train_step(state, BATCH)  # the fourth, which is logged


# --- precision and compilation ----------------------------------------------------------------------------------------


def test_bfloat16_is_for_products_and_the_weights_stay_float32() -> None:
    exact, rough = calm(), calm(train__precision="bfloat16")
    losses = [(train_step(exact, BATCH).loss, train_step(rough, BATCH).loss) for _ in range(5)]
    assert all(one != other for one, other in losses)
    assert all(one == pytest.approx(other, rel=0.02) for one, other in losses)
    assert {value.dtype for value in rough.model.state_dict().values()} == {torch.float32}
    assert {array.dtype for group in rough.to_arrays().values() for array in group.values()} == {np.dtype(np.float32)}
    assert validate(exact, ROWS.validation).loss == pytest.approx(validate(rough, ROWS.validation).loss, rel=0.02)


def test_a_compiled_training_is_the_same_and_so_are_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled by the backend that only traces; the one that generates code takes minutes."""
    compiled: list[object] = []

    def trace(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(inputs)
        return graph.forward

    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compile_module(module, backend=trace))
    plain, state = calm(), calm(train__compile=True)
    batches = [BATCH, BATCH[:, :2], BATCH[:, :1], BATCH]  # of changing length
    assert [train_step(state, batch).loss for batch in batches] == pytest.approx(
        [train_step(plain, batch).loss for batch in batches], rel=1e-5
    )
    assert compiled
    assert state.to_arrays()["model"].keys() == plain.to_arrays()["model"].keys()
    assert validate(state, ROWS.validation).loss == pytest.approx(validate(plain, ROWS.validation).loss, rel=1e-5)
    load_weights(plain.model, state.to_arrays()["model"])


# --- and it learns ----------------------------------------------------------------------------------------------------


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
    events = list(fit(config, Rows(train=every, validation=every)))
    assert events[0].loss == pytest.approx(math.log(6), abs=0.3)
    last = events[-1]
    assert isinstance(last, Validation)
    assert last.loss < 0.1
    assert last.exact_match == last.token_accuracy == 1.0


def test_a_validation_loss_that_is_no_number_stops_training() -> None:
    state = TrainingState(tiny())
    with torch.no_grad():
        state.model.output.bias[EOS] = math.inf
    with pytest.raises(TrainingError, match="validation loss is") as caught:
        validate(state, [[1, 2]])
    assert "train.lr=" in caught.value.hint


@pytest.mark.parametrize("longest", [4, 64])
def test_a_step_takes_at_least_the_memory_that_it_is_said_to_take(longest: int) -> None:
    """What autograd keeps for the backward pass, counted; the logits' gradient comes on top."""
    config = tiny(task__max_length=longest, task__symbols=50, train__batch_size=8, model__max_positions=100)
    state, kept = TrainingState(config), {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    source, target = to_tensors(np.ones((8, longest), dtype=np.int64), state.device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = state.model(source, target[:, :-1])
        loss = token_loss(logits, target[:, 1:])
    taken = sum(size for size, _ in kept.values()) + 4 * logits.numel()
    assert loss.requires_grad
    assert taken / 40 < step_bytes(config) < taken
