"""What is due at a step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import TrainConfig
from seqrev.training.schedule import is_logged, is_validated, learning_rate, noise_scale


def schedule(**changes: float | str) -> TrainConfig:
    return TrainConfig.model_validate({"steps": 100, "lr": 0.5, "warmup_steps": 10, **changes})


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
    rates = [learning_rate(step, schedule(warmup_steps=0)) for step in range(100)]
    assert rates == pytest.approx([0.5 * (1 - step / 100) for step in range(100)])


def test_a_cosine_falls_slowly_first_and_last() -> None:
    rates = [learning_rate(step, schedule(schedule="cosine")) for step in range(101)]
    assert rates[:10] == [learning_rate(step, schedule()) for step in range(10)]
    assert rates[10] == 0.5
    assert rates[10 + 30] == pytest.approx(0.375)  # a third of the way: (1 + cos 60°) / 2
    assert rates[55] == pytest.approx(0.25)
    assert rates[100] == pytest.approx(0.0, abs=1e-15)
    assert (np.diff(rates[10:]) < 0).all()


def test_a_constant_rate_stays_at_its_peak() -> None:
    rates = [learning_rate(step, schedule(schedule="constant")) for step in range(100)]
    assert rates == [learning_rate(step, schedule()) for step in range(10)] + [0.5] * 90


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(1, 200), warmup=st.integers(0, 300), name=st.sampled_from(["linear", "cosine", "constant"]))
def test_the_learning_rate_is_positive_and_never_above_its_peak(steps: int, warmup: int, name: str) -> None:
    config = schedule(steps=steps, warmup_steps=warmup, schedule=name)
    assert all(0 < learning_rate(step, config) <= 0.5 for step in range(steps))


def test_noise_grows_evenly_and_then_stays() -> None:
    assert [noise_scale(step, schedule(noise_warmup_steps=4)) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert noise_scale(0, schedule()) == 1.0


def test_the_first_the_last_and_every_so_many_steps_are_logged() -> None:
    config = schedule(steps=11, log_every=4)
    assert [step for step in range(1, 12) if is_logged(step, config)] == [1, 4, 8, 11]


def test_the_last_and_every_so_many_steps_are_validated_but_not_the_beginning() -> None:
    config = schedule(steps=11, validate_every=4)
    assert [step for step in range(12) if is_validated(step, config)] == [4, 8, 11]
