"""Loading, training and asking leave the process of the caller as it was, and do not depend on how it was."""

import copy
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import seqrev
from seqrev import exercises
from seqrev.api.reverser import Reverser, load
from seqrev.interpret.agreement import report_agreement
from seqrev.runs.folders import Run
from seqrev.training.trainer import Trainer
from tests.helpers import tiny_config

NOISY = tiny_config(
    "train.steps=6",
    "train.validate_every=3",
    "train.target_noise=0.1",
    "train.ema_decay=0.9",
    "train.optimizer=adamw",
    "train.weight_decay=0.1",
    "model.dropout=0.1",
    "model.attention_dropout=0.2",
    "model.attention_noise=0.5",
    "model.query_dropout=0.1",
    "model.random_positions=16",
    "data.train=50",
)
ASKED = [[1, 2, 3], [4], [0, 0]]


@pytest.fixture
def _default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


def everything(run: Run) -> dict[str, Any]:
    """Numbers of all that can be done."""
    trained, loaded = seqrev.train(NOISY, device="cpu"), load(run, "cpu")
    return {
        "training": trained.events,
        "answers": loaded.decode(ASKED, beam=3),
        "evaluation": [loaded.evaluate(protocol=name) for name in ("free", "length-given", "teacher-forced")],
        "attention": loaded.attention([1, 2, 3]).weights().tolist(),
        "of the training": trained.decode(ASKED),
    }


def test_random_numbers_threads_and_types_of_the_caller_stay(trained_run: Run) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = torch.get_rng_state(), str(np.random.get_state(legacy=False)), random.getstate()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    everything(trained_run)
    assert torch.get_rng_state().equal(before[0])
    assert str(np.random.get_state(legacy=False)) == before[1]
    assert random.getstate() == before[2]
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    assert torch.is_grad_enabled()


@pytest.mark.usefixtures("_default_dtype")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("positions", ["relative", "alibi", "rotary", "sinusoidal"])
def test_under_another_default_type_the_numbers_are_the_same(dtype: torch.dtype, positions: str) -> None:
    config = seqrev.load_config(NOISY, [f"model.positions={positions}", "model.length_scaling=true"])
    expected = seqrev.train(config, device="cpu")
    torch.set_default_dtype(dtype)
    found = seqrev.train(config, device="cpu")
    assert found.events == expected.events
    assert {weight.dtype for weight in found.model.parameters()} == {torch.float32}
    assert found.decode(ASKED, beam=2) == expected.decode(ASKED, beam=2)
    assert found.evaluate() == expected.evaluate()


@pytest.mark.usefixtures("_default_dtype")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_so_it_is_with_a_run(trained_run: Run, dtype: torch.dtype) -> None:
    expected = everything(trained_run)
    torch.set_default_dtype(dtype)
    assert everything(trained_run) == expected


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)])
def test_in_a_mode_without_gradients_the_numbers_are_the_same(trained_run: Run, mode: Callable[[], Any]) -> None:
    """As a notebook that has begun with ``torch.set_grad_enabled(False)``."""
    expected = everything(trained_run)
    with mode():
        assert everything(trained_run) == expected
        loaded, trainer = load(trained_run, "cpu"), Trainer(NOISY, device="cpu")
        for model in (loaded.model, Reverser.from_trainer(trainer).model):
            assert all(parameter.requires_grad and not parameter.is_inference() for parameter in model.parameters())
    assert next(trainer) == expected["training"][0]


def test_several_threads_get_what_one_gets_alone_while_the_caller_draws(trained_run: Run) -> None:
    expected, ready = everything(trained_run), threading.Barrier(4)

    def again() -> dict[str, Any]:
        ready.wait()
        return everything(trained_run)

    def drawing() -> list[float]:
        torch.manual_seed(7)
        ready.wait()
        return [float(torch.rand(())) for _ in range(2_000)]

    with ThreadPoolExecutor(4) as pool:
        drawn, *found = [pool.submit(drawing), *(pool.submit(again) for _ in range(3))]
        assert [one.result() for one in found] == [expected] * 3
        torch.manual_seed(7)
        assert drawn.result() == [float(torch.rand(())) for _ in range(2_000)]


COPIES: dict[str, Callable[[Any], Any]] = {"deepcopy": copy.deepcopy, "pickle": lambda one: pickle.loads(pickle.dumps(one))}


@pytest.mark.parametrize("kind", COPIES)
def test_models_trainers_and_what_was_seen_can_be_copied(trained_run: Run, kind: str) -> None:
    again = COPIES[kind]
    for model in (load(trained_run, "cpu"), seqrev.train(NOISY, device="cpu")):
        other = again(model)
        assert other.decode(ASKED) == model.decode(ASKED)
        assert repr(other) == repr(model)
        with other.ablate("cross.1.1", "cross.1.2"):
            assert other.decode(ASKED) != model.decode(ASKED)
        seen = model.attention([1, 2, 3])
        assert np.array_equal(again(seen).weights(), seen.weights())
    trainer = Trainer(NOISY, device="cpu")
    next(trainer)
    other = again(trainer)
    assert list(other) == list(trainer)


def test_many_models_live_side_by_side(trained_run: Run) -> None:
    models = [load(trained_run, "cpu") for _ in range(3)]
    with models[0].ablate("cross.1.1", "cross.1.2"):
        assert models[1].decode(ASKED) == models[2].decode(ASKED)
        assert models[0].decode(ASKED) != models[1].decode(ASKED)


def test_signals_are_not_taken(trained_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a signal was taken")

    monkeypatch.setattr("signal.signal", refuse)
    everything(trained_run)


@pytest.fixture
def _default_device() -> Iterator[None]:
    torch.set_default_device("meta")  # as "cuda" would, it takes every tensor that does not say where it belongs
    yield
    torch.set_default_device(None)


def looked_into(model: Reverser) -> list[Any]:
    """Numbers of every experiment."""
    seen = model.attention([1, 2, 3])
    found: list[Any] = [
        seen.influence().effect,
        seen.residual().lens,
        model.patch([1, 2, 3], [1, 4, 3]).maps["cross"].whole,
    ]
    for how in ("zero", "mean", "resample"):
        with model.ablate("cross.1.1", how=how, sequences=ASKED):
            found.append(model.decode(ASKED))
    found.append(report_agreement(model.model, ASKED[:1]).heads)
    return found


def test_on_another_default_device_the_numbers_are_the_same(trained_run: Run, request: pytest.FixtureRequest) -> None:
    expected, looked = everything(trained_run), looked_into(load(trained_run, "cpu"))
    request.getfixturevalue("_default_device")
    assert everything(trained_run) == expected
    np.testing.assert_equal(looked_into(load(trained_run, "cpu")), looked)
    assert exercises.check(1, 46).right == exercises.check(1, 46).right


def test_a_training_in_the_callers_autocast_is_as_precise_as_ever() -> None:
    expected = seqrev.train(NOISY, device="cpu").events
    with torch.autocast("cpu", torch.bfloat16):
        assert seqrev.train(NOISY, device="cpu").events == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("positions", ["relative", "alibi", "rotary", "sinusoidal"])
def test_a_model_may_be_of_another_type(dtype: torch.dtype, positions: str) -> None:
    config = seqrev.load_config(NOISY, [f"model.positions={positions}", "model.length_scaling=true"])
    model = Reverser.from_trainer(Trainer(config, device="cpu"))
    precise = model.attention([1, 2, 3])
    model.model.to(dtype)
    assert len(model.decode(ASKED, beam=2)) == len(ASKED)
    assert np.allclose(model.attention([1, 2, 3]).weights("encoder", 1), precise.weights("encoder", 1), atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_such_a_model_can_be_looked_into(trained_run: Run, dtype: torch.dtype) -> None:
    model, precise = load(trained_run, "cpu"), load(trained_run, "cpu")
    model.model.to(dtype)
    assert [one.output for one in model.decode(ASKED)] == [one.output for one in precise.decode(ASKED)]
    assert np.allclose(looked_into(model)[0], looked_into(precise)[0], atol=0.1)  # the influence
