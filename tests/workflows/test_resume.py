"""A training that is stopped, killed or damaged goes on to the same weights."""

from pathlib import Path
from typing import Any

import pytest

from seqrev.errors import InputError, UsageError
from seqrev.inference.evaluation import greedy_answers
from seqrev.runs.checkpoints import list_checkpoints, newest_first, save_checkpoint
from seqrev.runs.folders import Run
from seqrev.runs.metrics import MetricsWriter
from seqrev.system.signals import Interrupted, StopRequest
from seqrev.training.events import Step, Validation
from seqrev.training.optimizer import Adam
from seqrev.training.state import checkpoint_shapes
from seqrev.workflows.train import Observer, train
from tests.helpers import flip_byte
from tests.workflows.training import assert_same_training, fresh, interrupt, newest_step, stop_at

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(
    ("step", "kind"), [(1, Step), (33, Step), (40, Step), (40, Validation), (59, Step)], ids=lambda value: str(value)
)
def test_an_interrupted_training_continues_as_if_nothing_had_happened(
    tmp_path: Path, uninterrupted: Run, step: int, kind: type[Step] | type[Validation]
) -> None:
    run = fresh(tmp_path)
    stopped = interrupt(run, step, kind)
    assert stopped.exit_code == 130
    assert stopped.hint == f"seqrev train --run {run}"
    assert f"step {step} of 60" in str(stopped)
    assert (run.record.read()["status"], run.record.read()["step"]) == ("interrupted", step)
    assert newest_first(run.checkpoints)[0].step == step
    steps: list[int] = []
    warnings: list[str] = []
    train(run, "cpu", observer=Observer(on_event=lambda event: steps.append(event.step), on_warning=warnings.append))
    assert warnings == []
    assert min(steps) == step + (not (step == 40 and kind is Step))  # the due validation comes first
    assert run.record.read()["status"] == "done"
    assert_same_training(run, uninterrupted)


def test_a_training_may_be_interrupted_many_times(tmp_path: Path, uninterrupted: Run) -> None:
    run = fresh(tmp_path)
    for step in (5, 6, 20, 21, 50):
        interrupt(run, step)
    train(run, "cpu")
    assert_same_training(run, uninterrupted)


def test_a_streamed_training_continues_as_well(tmp_path: Path) -> None:
    runs = [fresh(tmp_path, "data.stream=true", "train.steps=30") for _ in range(2)]
    train(runs[0], "cpu")
    interrupt(runs[1], 25)
    train(runs[1], "cpu")
    assert_same_training(runs[0], runs[1])


def test_a_stop_at_the_last_step_leaves_the_validation_for_later(tmp_path: Path, uninterrupted: Run) -> None:
    run = fresh(tmp_path)
    interrupt(run, 60)
    trained = train(run, "cpu")
    assert trained.steps == 60
    assert_same_training(run, uninterrupted)


def test_a_stop_after_the_last_validation_is_a_finished_training(tmp_path: Path, uninterrupted: Run) -> None:
    run, stop = fresh(tmp_path), StopRequest()
    train(run, "cpu", observer=Observer(on_event=stop_at(stop, 60, Validation), stop=stop))
    assert run.record.read()["status"] == "done"
    assert_same_training(run, uninterrupted)


@pytest.mark.parametrize("step", [20, 60])
def test_a_validation_is_broken_off_and_made_again(
    tmp_path: Path, uninterrupted: Run, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """It may take minutes, and changes nothing."""
    run, stop = fresh(tmp_path), StopRequest()

    def interrupted(model: Any, sources: Any, forced: Any) -> Any:
        if newest_step(run) == step - 20:
            stop._handle(15, None)
        return greedy_answers(model, sources, forced)

    with monkeypatch.context() as patch:
        patch.setattr("seqrev.training.trainer.greedy_answers", interrupted)
        with pytest.raises(Interrupted) as caught:
            train(run, "cpu", observer=Observer(stop=stop))
    assert caught.value.exit_code == 143
    assert newest_first(run.checkpoints)[0].validation is None
    assert newest_step(run) == step
    train(run, "cpu")
    assert_same_training(run, uninterrupted)


@pytest.mark.parametrize(
    "function_name", ["seqrev.training.optimizer.Adam.step", "seqrev.runs.metrics.MetricsWriter.append"]
)
def test_a_second_signal_in_the_middle_of_a_step_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function_name: str
) -> None:
    """What is in memory then is neither the state before the step nor the one after it, or its event is not on record."""
    run, stop, calls = fresh(tmp_path, "train.log_every=1"), StopRequest(), 0
    other = fresh(tmp_path, "train.log_every=1")
    train(other, "cpu")
    name = function_name.rsplit(".", 1)[1]
    function = getattr(Adam if name == "step" else MetricsWriter, name)

    def twice(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = None if calls == 14 and name == "append" else function(*arguments, **options)
        if calls == 14:
            stop._handle(2, None)
            stop._handle(15, None)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(function_name, twice)
        with pytest.raises(Interrupted) as caught:
            train(run, "cpu", observer=Observer(stop=stop))
    assert caught.value.exit_code == 143
    assert not run.has_checkpoint()
    train(run, "cpu")
    assert_same_training(run, other)


@pytest.mark.parametrize("damage", ["model", "optimizer", "manifest"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, uninterrupted: Run, damage: str) -> None:
    run = fresh(tmp_path)
    interrupt(run, 50)
    newest = newest_first(run.checkpoints)[0].path
    if damage == "manifest":
        (newest / "manifest.json").write_bytes(b"\x00")
    else:
        flip_byte(newest / f"{damage}.safetensors")
    steps: list[int] = []
    warnings: list[str] = []
    train(run, "cpu", observer=Observer(on_event=lambda event: steps.append(event.step), on_warning=warnings.append))
    assert min(steps) == 41
    assert len(warnings) == 1
    assert all("step-000050" in warning and "damaged" in warning for warning in warnings)
    assert_same_training(run, uninterrupted)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
def test_where_every_checkpoint_is_damaged_nothing_is_written_over(tmp_path: Path, file: str) -> None:
    run = fresh(tmp_path)
    interrupt(run, 50)
    for checkpoint in list_checkpoints(run.checkpoints):
        flip_byte(checkpoint.path / file)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="No checkpoint can be continued from") as caught:
        train(run, "cpu")
    assert caught.value.hint == f"seqrev train --config {run}/config.yaml"
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_what_is_trained_after_going_back_is_not_lost_at_the_next_stop(tmp_path: Path) -> None:
    run = fresh(tmp_path)
    interrupt(run, 50)
    *_, newest = list_checkpoints(run.checkpoints)
    assert newest.step == 50
    flip_byte(newest.path / "model.safetensors")
    interrupt(run, 45)
    steps: list[int] = []
    train(run, "cpu", observer=Observer(on_event=lambda event: steps.append(event.step)))
    assert min(steps) == 46


@pytest.mark.parametrize("lacking", ["optimizer", "model"])
def test_a_checkpoint_that_does_not_fit_is_passed_over_and_leaves_no_trace(
    tmp_path: Path, uninterrupted: Run, lacking: str
) -> None:
    run = fresh(tmp_path)
    interrupt(run, 30)
    (checkpoint,) = (found for found in list_checkpoints(run.checkpoints) if found.step == 30)
    tensors = {name: checkpoint.load(name, shapes) for name, shapes in checkpoint_shapes(run.config()).items()}
    tensors[lacking].popitem()
    save_checkpoint(run.checkpoints, 35, tensors, None)
    warnings: list[str] = []
    train(run, "cpu", observer=Observer(on_warning=warnings.append))
    assert len(warnings) == 1
    assert_same_training(run, uninterrupted)


def test_a_folder_left_by_a_crash_is_ignored(tmp_path: Path, uninterrupted: Run) -> None:
    run = fresh(tmp_path)
    interrupt(run, 30)
    (run.checkpoints / ".step-000060.1.tmp").mkdir()
    (run.checkpoints / ".step-000060.1.tmp" / "model.safetensors").write_bytes(b"half")
    train(run, "cpu")
    assert_same_training(run, uninterrupted)


def test_events_after_the_checkpoint_and_a_torn_line_are_dropped(tmp_path: Path, uninterrupted: Run) -> None:
    """As after a crash, when the metrics are ahead of the checkpoint."""
    run = fresh(tmp_path)
    interrupt(run, 20, Validation)
    with run.metrics.open("a") as file:
        file.write('{"event": "train", "step": 21, "loss": 9.0, "lr": 1.0, "seconds": 5.0}\n{"event": "train", "st')
    train(run, "cpu")
    assert_same_training(run, uninterrupted)


def test_a_training_that_ends_early_ends_at_the_same_step_when_it_is_continued(tmp_path: Path) -> None:
    changes = ("train.stop_at=0.01", "train.steps=250", "train.validate_every=25")
    whole, stopped = fresh(tmp_path, *changes), fresh(tmp_path, *changes)
    ended = train(whole, "cpu").steps
    assert 25 < ended < 250
    assert whole.record.read()["status"] == "done"
    assert (whole.snapshots / f"step-{ended:06d}.safetensors").exists()
    interrupt(stopped, ended - 1)
    assert train(stopped, "cpu").steps == ended
    assert_same_training(stopped, whole)
    steps: list[int] = []
    assert train(stopped, "cpu", observer=Observer(on_event=lambda event: steps.append(event.step))).steps == ended
    assert steps == []
    with pytest.raises(
        UsageError, match=r"has ended: its exact match has reached train\.stop_at, which is 0\.01"
    ) as caught:
        stopped.extend(500)
    assert caught.value.hint.endswith("--set train.stop_at=null --set train.steps=500")
