import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqrev
from seqrev.api.reverser import Reverser, load
from seqrev.api.train import train
from seqrev.data.dataset import load_split
from seqrev.data.sequences import Pairs
from seqrev.errors import InputError, UsageError
from seqrev.inference import LARGEST_BEAM
from seqrev.inference.evaluation import Evaluation, Protocol, evaluate
from seqrev.interpret.heads import report_heads
from seqrev.interpret.snapshots import load_snapshots
from seqrev.runs.checkpoints import Checkpoint, best_first, list_checkpoints, newest_first, save_checkpoint
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.training.state import checkpoint_shapes
from seqrev.training.trainer import Trainer, TrainingRows
from tests.helpers import flip_byte, tiny_config


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


ASKED: dict[str, Any] = {
    "list": [1, 2, 3],
    "tuple": (1, 2, 3),
    "range": range(1, 4),
    "array": np.array([1, 2, 3], dtype=np.uint8),
    "tensor": torch.tensor([1, 2, 3]),
    "numbers of NumPy": [np.int64(1), np.int8(2), 3],
    "numbers of PyTorch": list(torch.tensor([1, 2, 3])),
}


@pytest.mark.parametrize("kind", ASKED)
def test_a_sequence_may_be_a_list_an_array_or_a_tensor(trained_run: Run, kind: str) -> None:
    model, asked = load(trained_run, "cpu"), ASKED[kind]
    assert model.reverse(asked) == model.reverse([1, 2, 3])
    seen = model.attention(asked)
    assert seen.source == [1, 2, 3]
    assert {type(symbol) for symbol in seen.source} == {int}
    assert model.decode([asked, [4]], beam=2) == model.decode([[1, 2, 3], [4]], beam=2)


@pytest.mark.parametrize("batch", [np.array([[1, 2], [3, 4]]), torch.tensor([[1, 2], [3, 4]]), ([1, 2], (3, 4))])
def test_many_sequences_may_be_one_array_or_tensor(trained_run: Run, batch: Any) -> None:
    model = load(trained_run, "cpu")
    assert model.decode(batch) == model.decode([[1, 2], [3, 4]])
    assert model.evaluate(iter(batch)) == model.evaluate([[1, 2], [3, 4]])


@pytest.mark.parametrize("wrong", [3, None, "123", b"", [1.0, 2.0], np.array([1.5]), np.array(3), torch.tensor([[1, 2]])])
def test_what_is_no_sequence_is_refused(trained_run: Run, wrong: Any) -> None:
    model = load(trained_run, "cpu")
    with pytest.raises(UsageError) as caught:
        model.reverse(wrong)
    assert caught.value.hint


def test_one_sequence_where_many_are_expected_is_refused(trained_run: Run) -> None:
    with pytest.raises(UsageError, match=r"^1 is not a sequence; one like \[4, 8, 2, 9\] was expected"):
        load(trained_run, "cpu").decode([1, 2, 3])  # type: ignore[list-item]


@pytest.mark.parametrize("beam", [0, -1, LARGEST_BEAM + 1, True, 1.0, "2", None])
def test_a_beam_that_is_none_is_refused(trained_run: Run, beam: Any) -> None:
    model = load(trained_run, "cpu")
    calls = (model.decode, model.evaluate, lambda sequences, beam: model.attention(sequences[0], beam))
    for call in calls:
        with pytest.raises(UsageError, match="from 1 to 1,000 was expected"):
            call([[1, 2]], beam=beam)
    assert model.decode([[1]], beam=LARGEST_BEAM)[0].output


def test_nothing_cannot_be_evaluated(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    assert model.decode([]) == []
    with pytest.raises(UsageError, match="no sequence to evaluate"):
        model.evaluate([])


def test_every_public_object_says_in_one_short_line_what_it_is(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    rows = load_split(trained_run.data, "validation", model.config)
    things = {
        "<Reverser": model,
        "<Attention: 1 2 3 → ": model.attention([1, 2, 3]),
        "<Evaluation: exact match ": model.evaluate(rows),
        "<Evaluation: of no": Evaluation(),
        "<HeadReport: 6 heads over 30 sequences; ": report_heads(model.model, rows),
        "<AttentionSnapshot: step 1, loss ": load_snapshots(trained_run.snapshots, "reverse")[0],
        "<Sequences: 30 of at most 4 symbols>": rows,
        "<Pairs: 1 of at most 2 symbols>": Pairs.from_pairs([([1, 2], [3])], 5),
        "<TrainingRows: 2 train, 1 validation>": TrainingRows([[1], [2]], [[3]]),
        "<TrainingState: 0 steps taken, on cpu>": Trainer(model.config, device="cpu").state,
        "<Checkpoint: ": model.checkpoint,
        "Hypothesis(output=": model.decode([[1, 2]])[0],
        "Run('": trained_run,
    }
    for start, thing in things.items():
        text = repr(thing)
        assert text.startswith(start)
        assert "\n" not in text
        assert len(text) < 200 + len(str(trained_run.path))


def test_ablated_heads_are_missing_in_every_call_until_the_end(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    rows = load_split(trained_run.data, "test", model.config)
    whole, before = model.evaluate(rows), {name: value.clone() for name, value in model.model.state_dict().items()}
    with model.ablate("cross.1.1", "cross.1.2") as same:
        assert same is model
        without = model.evaluate(rows)
        assert without.overall.exact_match < whole.overall.exact_match
        assert model.decode([[1, 2, 3]]) == [model.attention([1, 2, 3]).answer]
        with model.ablate("cross.1.1"):
            assert model.evaluate(rows) == without
        assert model.evaluate(rows) == without
    assert model.evaluate(rows) == whole
    assert all(value.equal(before[name]) for name, value in model.model.state_dict().items())
    with model.ablate():
        assert model.evaluate(rows) == whole


@pytest.mark.parametrize("head", ["cross.2.1", "cross.1.3", "cross.1.0", "cros.1.1", "cross.1.1.1", "", 3, "cross.1.²"])
def test_a_head_that_is_not_there_is_refused_and_nothing_stays_changed(trained_run: Run, head: Any) -> None:
    model = load(trained_run, "cpu")
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    with pytest.raises(UsageError) as caught, model.ablate("decoder.1.1", head):
        pass
    assert caught.value.hint
    assert all(value.equal(before[name]) for name, value in model.model.state_dict().items())


def test_the_history_of_a_run_is_its_metrics_and_can_be_drawn(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    rows = list(read_metrics(trained_run.metrics))
    assert model.history["step"].tolist() == [row["step"] for row in rows]
    assert str(trained_run) in model.plot_loss().get_suptitle()
    alone = Reverser(model.config, model.model)
    assert len(alone.history) == 0
    with pytest.raises(InputError, match="Nothing is known"):
        alone.plot_loss()


def test_a_model_of_a_trainer_has_its_history_and_can_be_saved(tmp_path: Path) -> None:
    trainer = Trainer(tiny_config("train.steps=12", "train.validate_every=6"), device="cpu")
    early = Reverser.from_trainer(trainer)
    events = list(trainer)
    model = Reverser.from_trainer(trainer)
    assert len(early.history) == 0
    assert model.history["step"].tolist() == [event.step for event in events]
    assert model.plot_loss().axes
    run = model.save(tmp_path)
    assert run.path == tmp_path / "001"
    assert model.save() is run
    assert repr(model).startswith(f"<Reverser: {run}, step 12; ")
    assert load(run, "cpu").decode([[1, 2, 3], [4]]) == model.decode([[1, 2, 3], [4]])
    with pytest.raises(UsageError, match="has gone on"):
        early.save(tmp_path)
    with pytest.raises(UsageError, match="does not come from a training"):
        Reverser(model.config, model.model).save(tmp_path)
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["001"]


def test_without_sequences_it_is_evaluated_on_the_test_split(trained_run: Run, tmp_path: Path) -> None:
    model = load(trained_run, "cpu")
    assert model.evaluate() == model.evaluate(load_split(trained_run.data, "test", model.config))
    trained = train(tiny_config("train.steps=30"), device="cpu")
    before = trained.evaluate()
    trained.save(tmp_path)
    assert trained.evaluate() == before
    rows = TrainingRows([[1], [2, 3]], [[1]], [[4, 3], [2]])
    assert train(tiny_config("train.steps=1"), rows=rows).evaluate(beam=2).overall.sequences == 2


def test_a_loaded_model_is_saved_already(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    assert model.save() is model.save(trained_run.path.parent) is trained_run
    with pytest.raises(UsageError, match="a run is not copied"):
        model.save(trained_run.path)


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
    assert caught.value.hint == f"seqrev train --config {own_run}/config.yaml"


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


def test_a_checkpoint_that_is_removed_while_it_is_loaded_gives_way_to_those_that_are_there_now(
    own_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a training beside, which prunes: no warning is due."""
    best, other = best_first(own_run.checkpoints)[:2]
    read = Checkpoint.load

    def remove_and_load(self: Checkpoint, *arguments: Any) -> Any:
        shutil.rmtree(best.path, ignore_errors=True)
        return read(self, *arguments)

    monkeypatch.setattr(Checkpoint, "load", remove_and_load)
    model = load(own_run, "cpu")
    assert model.checkpoint is not None
    assert model.checkpoint.path == other.path
    assert model.problems == []
