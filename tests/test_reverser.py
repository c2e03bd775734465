import shutil
from pathlib import Path

import numpy as np
import pytest

import seqrev
from seqrev.errors import InputError, UsageError
from seqrev.inference.evaluation import Protocol, evaluate
from seqrev.reverser import Reverser, load
from seqrev.runs.checkpoints import best_first, list_checkpoints, newest_first, save_checkpoint
from seqrev.runs.folders import Run
from seqrev.training.state import checkpoint_shapes
from tests.helpers import flip_byte


def test_a_run_is_loaded_by_folder_text_or_object(trained_run: Run) -> None:
    answers = [load(spec, "cpu").reverse([4, 2, 1]) for spec in (trained_run, trained_run.path, str(trained_run.path))]
    assert answers[0] == answers[1] == answers[2]
    assert all(0 <= symbol < 5 for symbol in answers[0])


def test_a_run_is_loaded_by_number_from_the_runs_of_the_current_folder(own_run: Run) -> None:
    first, latest = load("1", "cpu").run, load("latest", "cpu").run
    assert first is not None
    assert latest is not None
    assert first.path == Path("runs/001")
    assert latest.path.resolve() == own_run.path.resolve()


def test_the_tiny_model_has_learned_something(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    assert model.checkpoint is not None
    assert model.checkpoint.validation is not None
    assert model.checkpoint.validation["exact_match"] > 0.2
    assert model.problems == []
    assert model.longest_source == 30


def test_the_model_is_in_evaluation_mode_and_answers_the_same_again(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    assert not model.model.training
    assert model.decode([[1, 2, 3]]) == model.decode([[1, 2, 3]])


def test_answers_come_in_order(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    sequences = [[1, 2, 3, 4], [0], [3, 3], [4, 4, 1], [2]]
    answers = model.decode(sequences)
    assert [answer.output for answer in answers] == [model.reverse(sequence) for sequence in sequences]
    for answer in answers:
        assert answer.log_probability <= 0


def test_attention_is_of_the_answer(trained_run: Run) -> None:
    found = load(trained_run, "cpu").attention([4, 2, 1])
    assert found.source == [4, 2, 1]
    assert found.weights("cross", 1).shape == (2, len(found.emitted_tokens), 5)
    assert np.allclose(found.weights("cross", 1).sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("protocol", ["free", "length-given", "teacher-forced", "chomsky"])
def test_an_evaluation_is_that_of_the_model(trained_run: Run, protocol: Protocol) -> None:
    model = load(trained_run, "cpu")
    sequences = [[1, 2, 3, 4], [0], [3, 3], [4, 4, 1], [2]]
    assert model.evaluate(sequences, protocol=protocol) == evaluate(model.model, sequences, protocol=protocol)
    assert model.evaluate(sequences, beam=2).overall.sequences == 5


def test_it_says_where_it_comes_from(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    assert model.checkpoint is not None
    task = "5 symbols, trained on lengths 1 to 4"
    assert repr(model) == f"<Reverser: {trained_run}, step {model.checkpoint.step}; {task}>"
    alone = Reverser(model.config, model.model)
    assert repr(alone) == f"<Reverser: not saved; {task}>"
    assert alone.reverse([1, 2]) == model.reverse([1, 2])


@pytest.mark.parametrize("sequence", [[], [5], [-1], [0] * 31])
def test_a_wrong_sequence_is_refused(trained_run: Run, sequence: list[int]) -> None:
    model = load(trained_run, "cpu")
    with pytest.raises(UsageError):
        model.reverse(sequence)
    with pytest.raises(UsageError):
        model.decode([[1], sequence])
    with pytest.raises(UsageError):
        model.attention(sequence)
    with pytest.raises(UsageError):
        model.evaluate([[1], sequence])


def test_the_best_checkpoint_is_loaded_and_not_the_newest(own_run: Run) -> None:
    best = best_first(own_run.checkpoints)[0]
    tensors = {name: best.load(name, shapes) for name, shapes in checkpoint_shapes(own_run.config()).items()}
    worse = {"exact_match": 0.0, "token_accuracy": 0.0, "loss": 9.0}
    save_checkpoint(own_run.checkpoints, 999, tensors, worse)
    assert newest_first(own_run.checkpoints)[0].step == 999
    loaded = load(own_run, "cpu").checkpoint
    assert loaded is not None
    assert loaded.step == best.step


def test_a_damaged_checkpoint_is_passed_over_and_reported(own_run: Run) -> None:
    best, second, *_ = best_first(own_run.checkpoints)
    flip_byte(best.path / "model.safetensors")
    model = load(own_run, "cpu")
    assert model.checkpoint is not None
    assert model.checkpoint.step == second.step
    (problem,) = model.problems
    assert best.path.name in problem
    assert "damaged" in problem


def test_where_every_checkpoint_is_damaged_the_run_is_refused(own_run: Run) -> None:
    for checkpoint in list_checkpoints(own_run.checkpoints):
        (checkpoint.path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"No checkpoint of .* can be used") as caught:
        load(own_run, "cpu")
    assert caught.value.hint == f"seqrev train --run {own_run}"


def test_a_damaged_optimizer_does_no_harm_to_answers(own_run: Run) -> None:
    for checkpoint in list_checkpoints(own_run.checkpoints):
        (checkpoint.path / "optimizer.safetensors").unlink()
    assert load(own_run, "cpu").problems == []


def test_weights_that_do_not_fit_the_configuration_are_refused(own_run: Run) -> None:
    path = own_run.path / "config.yaml"
    path.write_text(path.read_text().replace("d_ff: 64", "d_ff: 65"))
    with pytest.raises(InputError, match="does not fit the configuration"):
        load(own_run, "cpu")


def test_a_run_without_a_checkpoint_is_refused(own_run: Run) -> None:
    shutil.rmtree(own_run.checkpoints)
    with pytest.raises(InputError, match="does not have a checkpoint"):
        load(own_run.path, "cpu")
    with pytest.raises(InputError):
        load(own_run, "cpu")


@pytest.mark.parametrize("device", ["abacus", "mps:0", ""])
def test_an_unknown_device_is_refused(trained_run: Run, device: str) -> None:
    with pytest.raises(UsageError, match="not available"):
        load(trained_run, device)


def test_the_package_offers_its_names_lazily() -> None:
    for name in seqrev.__all__:
        assert getattr(seqrev, name).__name__.rpartition(".")[2] == name
        assert name in dir(seqrev)
    assert seqrev.load is load
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = seqrev.nothing
