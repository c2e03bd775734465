"""All that changes in a training: it is saved whole, and restored to the last bit."""

import functools
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from seqrev.errors import InputError
from seqrev.model.tensors import to_tensors
from seqrev.runs.checkpoints import save_checkpoint
from seqrev.training.distributed import Processes
from seqrev.training.events import Validation
from seqrev.training.state import TrainingState, checkpoint_shapes, training_bytes
from seqrev.training.step import token_loss, train_step
from seqrev.training.trainer import Trainer, TrainingRows
from tests.training.small import BATCH, ROWS, STREAM, same, tiny, trainer, weights_of

Arrays = dict[str, NDArray[Any]]


def restored(step: int, validated: bool, arrays: Mapping[str, Arrays], rows: TrainingRows = ROWS) -> Trainer:
    """A new trainer that goes on from what ``to_arrays`` gave."""
    fresh = trainer(rows)
    fresh.state.restore(step, validated, arrays["model"], arrays["optimizer"])
    return fresh


def copy(arrays: Mapping[str, Arrays]) -> dict[str, Arrays]:
    return {group: {name: value.copy() for name, value in tensors.items()} for group, tensors in arrays.items()}


def shapes_of(arrays: Mapping[str, Arrays]) -> dict[str, dict[str, tuple[int, ...]]]:
    return {group: {name: value.shape for name, value in tensors.items()} for group, tensors in arrays.items()}


def without(arrays: Arrays, name: str) -> Arrays:
    return {key: value for key, value in arrays.items() if key != name}


def spoiled(arrays: Arrays, name: str, shape: tuple[int, ...] | None) -> Arrays:
    """Without one of the arrays, or with one of another shape."""
    return without(arrays, name) if shape is None else arrays | {name: np.zeros(shape, np.float32)}


def test_the_seed_decides_the_initial_weights() -> None:
    torch.manual_seed(1)
    one = TrainingState(tiny())
    torch.manual_seed(2)
    two, other = TrainingState(tiny()), TrainingState(tiny(seed=4))
    assert same(weights_of(one), weights_of(two))
    assert not one.model.output.weight.equal(other.model.output.weight)


def test_the_model_is_the_running_average_of_the_trained_weights() -> None:
    state = TrainingState(tiny(train__ema_decay=0.5))
    average, weight = state.model.output.weight, state.trained.output.weight
    expected = weight.detach().clone()
    assert average.equal(weight)
    for step in range(20):
        train_step(state, BATCH)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
        torch.testing.assert_close(average.detach(), expected)
    assert not average.equal(weight)
    arrays = state.to_arrays()
    assert (arrays["model"]["output.weight"] == average.detach().numpy()).all()
    assert (arrays["optimizer"]["weight.output.weight"] == weight.detach().numpy()).all()


def test_without_a_decay_the_model_is_the_trained_one() -> None:
    state = TrainingState(tiny(train__ema_decay=0.0))
    assert state.model is state.trained
    assert not any(name.startswith("weight.") for name in state.to_arrays()["optimizer"])


def test_a_step_whose_validation_is_not_on_record_is_validated_first() -> None:
    events = list(trainer())
    stopped = trainer()
    for event in stopped:
        if event.step == 3:
            break
    assert stopped.state.validated == 0
    assert stopped.state.validation_is_due
    arrays = stopped.state.to_arrays()
    for validated, first in ((False, 3), (True, 4)):  # the events from the validation of step 3, and those after it
        assert list(restored(3, validated, arrays)) == events[first:]


@pytest.mark.parametrize("rows", [ROWS, STREAM], ids=["dataset", "stream"])
@pytest.mark.parametrize("count", range(1, 11))
def test_a_training_that_was_stopped_goes_on_bit_for_bit(count: int, rows: TrainingRows) -> None:
    whole, stopped = trainer(rows), trainer(rows)
    expected, events = list(whole), list(islice(stopped, count))
    arrays = copy(stopped.state.to_arrays())
    torch.manual_seed(99)
    fresh = restored(events[-1].step, isinstance(events[-1], Validation), arrays, rows)
    assert list(fresh) == expected[count:]
    assert same(weights_of(whole.state), weights_of(fresh.state))


def test_a_state_without_a_step_can_be_restored() -> None:
    arrays = copy(trainer().state.to_arrays())
    assert shapes_of(arrays) == checkpoint_shapes(tiny())
    fresh = trainer()
    with torch.no_grad():
        for parameter in fresh.model.parameters():
            parameter.zero_()
    fresh.state.restore(0, False, arrays["model"], arrays["optimizer"])
    assert list(fresh) == list(trainer())


def test_all_is_done_when_the_last_step_is_validated() -> None:
    training = trainer()
    done = [training.state.is_finished for _ in training]
    assert done == [False] * 9 + [True]


def test_a_restored_state_does_not_share_memory_with_what_it_was_restored_from() -> None:
    state = TrainingState(tiny())
    train_step(state, BATCH)
    saved = copy(state.to_arrays())
    copies = copy(saved)
    fresh = TrainingState(tiny())
    fresh.restore(1, False, saved["model"], saved["optimizer"])
    train_step(fresh, BATCH)
    for group, arrays in saved.items():
        for name, value in arrays.items():
            np.testing.assert_array_equal(value, copies[group][name])


@pytest.mark.parametrize(
    ("group", "spoil", "name"),
    [
        ("model", lambda arrays: without(arrays, "output.bias"), "output.bias"),
        ("model", lambda arrays: arrays | {"extra": np.zeros(1, np.float32)}, "extra"),
        ("model", lambda arrays: arrays | {"output.bias": np.zeros(8, np.float32)}, "output.bias"),
        ("model", lambda arrays: arrays | {"output.weight": arrays["output.weight"].T}, "output.weight"),
        *(
            ("optimizer", functools.partial(spoiled, name=f"{kind}.output.weight", shape=shape), f"{kind}.output.weight")
            for kind in ("step", "exp_avg", "exp_avg_sq")
            for shape in (None, (2, 3))
        ),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused(
    tmp_path: Path, group: str, spoil: Callable[[Arrays], Arrays], name: str
) -> None:
    state = TrainingState(tiny())
    train_step(state, BATCH)
    arrays = state.to_arrays()
    checkpoint = save_checkpoint(tmp_path, 1, arrays | {group: spoil(arrays[group])}, None)
    with pytest.raises(InputError, match=f"does not fit the configuration.*{name}"):
        checkpoint.load(group, checkpoint_shapes(state.config)[group])
    other = ({"model", "optimizer"} - {group}).pop()
    assert checkpoint.load(other, checkpoint_shapes(state.config)[other]).keys() == arrays[other].keys()


@pytest.mark.parametrize("kind", ["step", "exp_avg", "exp_avg_sq"])
def test_optimizer_state_of_another_shape_is_not_restored(kind: str) -> None:
    """It is ``Checkpoint.load`` that refuses it for the user."""
    state, fresh = TrainingState(tiny()), TrainingState(tiny())
    train_step(state, BATCH)
    arrays, name = state.to_arrays(), f"{kind}.output.weight"
    with pytest.raises(KeyError, match=name):
        fresh.restore(1, False, arrays["model"], without(arrays["optimizer"], name))
    with pytest.raises(RuntimeError):
        fresh.restore(1, False, arrays["model"], spoiled(arrays["optimizer"], name, (2, 3)))


def test_a_shared_matrix_is_saved_once_and_comes_back_shared() -> None:
    state, other = TrainingState(tiny(model__tie_embeddings=True)), TrainingState(tiny(model__tie_embeddings=True, seed=4))
    train_step(state, BATCH)
    arrays = state.to_arrays()
    assert arrays["model"].keys() & {
        "encoder.embedding.tokens.weight",
        "decoder.embedding.tokens.weight",
        "output.weight",
    } == {"encoder.embedding.tokens.weight"}
    assert shapes_of(arrays) == checkpoint_shapes(state.config)
    other.restore(1, False, arrays["model"], arrays["optimizer"])
    assert same(weights_of(state), weights_of(other))
    train_step(other, BATCH)
    assert (
        other.model.output.weight
        is other.model.decoder.embedding.tokens.weight
        is other.model.encoder.embedding.tokens.weight
    )
    assert not other.model.output.weight.equal(state.model.output.weight)


@pytest.mark.parametrize("longest", [4, 64])
def test_a_step_takes_at_least_the_memory_that_it_is_said_to_take(longest: int) -> None:
    """What autograd keeps for the backward pass, counted; the logits' gradient comes on top."""
    config = tiny(
        task__max_length=longest, task__symbols=50, train__batch_size=8, train__ema_decay=0.0, model__max_positions=100
    )
    state, kept = TrainingState(config), {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    source, target = to_tensors(np.ones((8, longest), dtype=np.int64), "reverse", state.device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = state.model(source, target[:, :-1])
        loss = token_loss(logits, target[:, 1:])
    taken = sum(size for size, _ in kept.values()) + 4 * logits.numel()
    assert loss.requires_grad
    assert taken / 40 < training_bytes(config) < taken


def test_a_training_ends_at_the_first_validation_that_is_good_enough() -> None:
    validations = [event for event in trainer() if isinstance(event, Validation)]
    assert [event.step for event in validations] == [3, 6, 7]
    assert validations[0].exact_match < 1  # or there is nothing to wait for
    for stop_at in {event.exact_match for event in validations} - {0.0} | {1.0}:
        good = [event.step for event in validations if event.exact_match >= stop_at]
        events = list(trainer(train__stop_at=stop_at))
        assert events[-1].step == (good or [7])[0]
        assert events == list(trainer())[: len(events)]  # the learning rate is that of all steps


@pytest.mark.parametrize(("rank", "exact", "ends"), [(0, 0.5, True), (0, 0.49, False), (1, 1.0, False)])
def test_the_first_process_judges_for_all(rank: int, exact: float, ends: bool) -> None:
    class Two(Processes):
        """Here, the other process found nothing right."""

        def replicate(self, model: Module, *_example: torch.Tensor) -> Module:
            return model

        def largest(self, value: int) -> int:
            return max(value, 0)

    state = TrainingState(tiny(train__stop_at=0.5), processes=Two(rank, 2))
    state.step = 3
    state.judge(exact)
    assert not state.validation_is_due
    assert state.is_finished is ends
    state.step = 4
    assert not state.is_finished


def test_a_checkpoint_that_was_good_enough_is_the_end_when_it_is_restored() -> None:
    arrays = TrainingState(tiny()).to_arrays()
    for exact, ends in ((0.7, True), (0.6, False)):
        state = TrainingState(tiny(train__stop_at=0.7))
        state.restore(3, True, arrays["model"], arrays["optimizer"])
        assert not state.is_finished
        state.judge(exact)
        assert state.is_finished is ends
