import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from seqrev import experiment
from seqrev.api import load
from seqrev.checkpoints import list_checkpoints, newest_first, save_checkpoint
from seqrev.config import Config
from seqrev.data import load_split
from seqrev.errors import InputError, TrainingError
from seqrev.evaluation import greedy_answers
from seqrev.files import write_json
from seqrev.generation import generate, start
from seqrev.interpret import anti_diagonal
from seqrev.learning import load_frames
from seqrev.metrics import MetricsWriter, read_metrics
from seqrev.optimizer import Adam
from seqrev.runs import Run
from seqrev.signals import Interrupted, StopRequest
from seqrev.training import Event, Step, Validation, checkpoint_shapes
from tests.conftest import flip_byte, tiny_config

SHORT = (
    "train.steps=60",
    "train.validate_every=20",
    "train.log_every=7",
    "data.train=200",
    "model.dropout=0.1",
    "model.attention_dropout=0.1",
)


def fresh(folder: Path, *overrides: str) -> Run:
    run = start(tiny_config(*SHORT, *overrides), folder)
    generate(run)
    return run


def history(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(run.metrics)]


def stop_at(stop: StopRequest, step: int, kind: type[Step] | type[Validation] = Step) -> Callable[[Event], None]:
    """A listener that plays the part of Ctrl-C."""

    def listen(event: Event) -> None:
        if event.step == step and isinstance(event, kind):
            stop.received = 2

    return listen


def interrupt(run: Run, step: int, kind: type[Step] | type[Validation] = Step) -> Interrupted:
    stop = StopRequest()
    with pytest.raises(Interrupted) as caught:
        experiment.train(run, "cpu", stop_at(stop, step, kind), stop=stop)
    return caught.value


def assert_same_training(run: Run, other: Run) -> None:
    """Same events, same checkpoints, same arrays to the last bit."""
    assert history(run) == history(other)
    mine, others = list_checkpoints(run.checkpoints), list_checkpoints(other.checkpoints)
    assert mine[-1].step == others[-1].step
    assert mine[-1].validation == others[-1].validation
    for name in ("model", "optimizer"):
        shapes = checkpoint_shapes(run.config())[name]
        one, two = mine[-1].load(name, shapes), others[-1].load(name, shapes)
        assert one.keys() == two.keys()
        for key, value in one.items():
            assert np.array_equal(value, two[key]), key
    assert watched(run) == watched(other)


def watched(run: Run) -> dict[str, bytes]:
    """What was kept of the attention in training."""
    return {path.name: path.read_bytes() for path in run.learning.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training from beginning to end, to compare with."""
    run = fresh(tmp_path_factory.mktemp("uninterrupted"))
    experiment.train(run, "cpu")
    return run


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these trainings; the pictures of ``uninterrupted`` are real."""
    request.getfixturevalue("uninterrupted")
    monkeypatch.setattr("seqrev.plots.save_figure", lambda figure, path: None)


def test_a_training_leaves_its_record(uninterrupted: Run) -> None:
    record = uninterrupted.record()
    assert (record["status"], record["step"], record["device"]) == ("done", 60, "cpu")
    assert {"started", "ended", "threads", "world_size", "dataset_sha256"} <= record.keys()
    events = [(row["event"], row["step"]) for row in history(uninterrupted)]
    train = [("train", step) for step in (1, 7, 14, 21, 28, 35, 42, 49, 56, 60)]
    assert sorted(events) == sorted([*train, *(("validation", step) for step in (20, 40, 60))])
    assert [step for _, step in events] == sorted(step for _, step in events)
    seconds = [row["seconds"] for row in read_metrics(uninterrupted.metrics)]
    assert seconds == sorted(seconds)
    assert [found.step for found in list_checkpoints(uninterrupted.checkpoints)] in ([40, 60], [20, 40, 60])
    rates = [row["lr"] for row in history(uninterrupted) if row["event"] == "train"]
    highest = rates.index(max(rates))
    assert 0 < highest < len(rates) - 1
    assert rates == sorted(rates[: highest + 1]) + sorted(rates[highest + 1 :], reverse=True)


def test_the_record_names_the_dataset_though_generation_was_killed_before_it_did(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.steps=1")
    expected = run.record()["dataset_sha256"]
    write_json(run.path / "run.json", {key: value for key, value in run.record().items() if key != "dataset_sha256"})
    experiment.train(run, "cpu")
    assert run.record()["dataset_sha256"] == expected


@pytest.mark.parametrize("name", ["loss.png", "attention.png"])
def test_a_training_leaves_real_pictures(uninterrupted: Run, name: str) -> None:
    content = (uninterrupted.path / name).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert min(width, height) > 300
    pixels = matplotlib.image.imread(uninterrupted.path / name)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


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
    assert (run.record()["status"], run.record()["step"]) == ("interrupted", step)
    assert newest_first(run.checkpoints)[0].step == step
    steps: list[int] = []
    warnings: list[str] = []
    experiment.train(run, "cpu", lambda event: steps.append(event.step), warnings.append)
    assert warnings == []
    assert min(steps) == step + (not (step == 40 and kind is Step))  # the due validation comes first
    assert run.record()["status"] == "done"
    assert_same_training(run, uninterrupted)


def test_a_training_may_be_interrupted_many_times(tmp_path: Path, uninterrupted: Run) -> None:
    run = fresh(tmp_path)
    for step in (5, 6, 20, 21, 50):
        interrupt(run, step)
    experiment.train(run, "cpu")
    assert_same_training(run, uninterrupted)


def test_a_streamed_training_continues_as_well(tmp_path: Path) -> None:
    runs = [fresh(tmp_path, "data.stream=true", "train.steps=30") for _ in range(2)]
    experiment.train(runs[0], "cpu")
    interrupt(runs[1], 25)
    experiment.train(runs[1], "cpu")
    assert_same_training(runs[0], runs[1])


def test_a_stop_at_the_last_step_leaves_the_validation_for_later(tmp_path: Path, uninterrupted: Run) -> None:
    run = fresh(tmp_path)
    interrupt(run, 60)
    trained = experiment.train(run, "cpu")
    assert trained.steps == 60
    assert_same_training(run, uninterrupted)


def test_a_stop_after_the_last_validation_is_a_finished_training(tmp_path: Path, uninterrupted: Run) -> None:
    run, stop = fresh(tmp_path), StopRequest()
    experiment.train(run, "cpu", stop_at(stop, 60, Validation), stop=stop)
    assert run.record()["status"] == "done"
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
        patch.setattr("seqrev.training.greedy_answers", interrupted)
        with pytest.raises(Interrupted) as caught:
            experiment.train(run, "cpu", stop=stop)
    assert caught.value.exit_code == 143
    assert newest_first(run.checkpoints)[0].validation is None
    assert newest_step(run) == step
    experiment.train(run, "cpu")
    assert_same_training(run, uninterrupted)


@pytest.mark.parametrize("place", ["seqrev.optimizer.Adam.step", "seqrev.metrics.MetricsWriter.append"])
def test_a_second_signal_in_the_middle_of_a_step_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """What is in memory then is neither the state before the step nor the one after it, or its event is not on record."""
    run, stop, calls = fresh(tmp_path, "train.log_every=1"), StopRequest(), 0
    other = fresh(tmp_path, "train.log_every=1")
    experiment.train(other, "cpu")
    name = place.rsplit(".", 1)[1]
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
        patch.setattr(place, twice)
        with pytest.raises(Interrupted) as caught:
            experiment.train(run, "cpu", stop=stop)
    assert caught.value.exit_code == 143
    assert not run.has_checkpoint()
    experiment.train(run, "cpu")
    assert_same_training(run, other)


def newest_step(run: Run) -> int:
    return max((checkpoint.step for checkpoint in list_checkpoints(run.checkpoints)), default=0)


def test_a_finished_training_is_summed_up_again_without_a_step(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.steps=20")
    first = experiment.train(run, "cpu")
    before = run.metrics.read_bytes()
    events: list[Event] = []
    second = experiment.train(run, "cpu", events.append)
    assert events == []
    assert run.metrics.read_bytes() == before
    assert (first.steps, first.validation, first.seconds) == (second.steps, second.validation, second.seconds)
    assert run.record()["status"] == "done"


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
    experiment.train(run, "cpu", lambda event: steps.append(event.step), warnings.append)
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
        experiment.train(run, "cpu")
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
    experiment.train(run, "cpu", lambda event: steps.append(event.step))
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
    experiment.train(run, "cpu", warn=warnings.append)
    assert len(warnings) == 1
    assert_same_training(run, uninterrupted)


def test_a_folder_left_by_a_crash_is_ignored(tmp_path: Path, uninterrupted: Run) -> None:
    run = fresh(tmp_path)
    interrupt(run, 30)
    (run.checkpoints / ".step-000060.1.tmp").mkdir()
    (run.checkpoints / ".step-000060.1.tmp" / "model.safetensors").write_bytes(b"half")
    experiment.train(run, "cpu")
    assert_same_training(run, uninterrupted)


def test_events_after_the_checkpoint_and_a_torn_line_are_dropped(tmp_path: Path, uninterrupted: Run) -> None:
    """As after a crash, when the metrics are ahead of the checkpoint."""
    run = fresh(tmp_path)
    interrupt(run, 20, Validation)
    with run.metrics.open("a") as file:
        file.write('{"event": "train", "step": 21, "loss": 9.0, "lr": 1.0, "seconds": 5.0}\n{"event": "train", "st')
    experiment.train(run, "cpu")
    assert_same_training(run, uninterrupted)


def test_a_diverged_training_fails_with_a_lower_rate_to_try(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.lr=1e30", "train.warmup=0")
    with pytest.raises(TrainingError, match="Training stopped at step") as caught:
        experiment.train(run, "cpu")
    assert "train.lr=2.5e+29" in caught.value.hint
    record = run.record()
    assert record["status"] == "failed"
    assert "Training stopped" in record["error"]
    assert all(json.loads(line) for line in run.metrics.read_text().splitlines())


def test_a_listener_that_fails_leaves_a_record_of_it(tmp_path: Path) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError(f"at {event.step}")

    run = fresh(tmp_path)
    with pytest.raises(RuntimeError):
        experiment.train(run, "cpu", fail)
    assert (run.record()["status"], run.record()["error"]) == ("failed", "at 1")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_damaged_dataset_is_refused_before_anything_is_trained(tmp_path: Path, split: str) -> None:
    run = fresh(tmp_path)
    flip_byte(run.data / f"{split}.jsonl")
    with pytest.raises(InputError, match=f"{split}.jsonl is damaged"):
        experiment.train(run, "cpu")
    assert not run.metrics.exists()
    assert not run.has_checkpoint()


@pytest.mark.parametrize(("threads", "asked"), [(3, [3]), (0, [])])
def test_the_configuration_decides_the_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, asked: list[int]
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", calls.append)
    experiment.train(fresh(tmp_path, f"train.threads={threads}", "train.steps=1"), "cpu")
    assert calls == asked


def test_the_attention_of_one_sequence_is_kept_in_a_logarithmic_series(uninterrupted: Run) -> None:
    frames = load_frames(uninterrupted.learning)
    assert [frame.step for frame in frames] == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 60]
    assert {tuple(frame.source) for frame in frames} == {tuple(frames[0].source)}
    assert frames[0].source in load_split(uninterrupted.data, "validation", uninterrupted.config())
    model = load(uninterrupted, "cpu").model
    assert frames[-1].score(1).mass == pytest.approx(anti_diagonal(model, [frames[-1].source])[0].mass, abs=1e-6)


def test_validations_have_the_score_of_the_anti_diagonal(uninterrupted: Run) -> None:
    last = [row for row in history(uninterrupted) if row["event"] == "validation"][-1]
    validation = load_split(uninterrupted.data, "validation", uninterrupted.config())
    score, *_ = anti_diagonal(load(uninterrupted, "cpu").model, validation)
    assert (last["mass"], last["hit"]) == (pytest.approx(score.mass, abs=1e-6), pytest.approx(score.hit, abs=1e-6))


def test_a_run_of_an_older_version_is_summed_up_without_what_it_lacks(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.steps=20")
    experiment.train(run, "cpu")
    rows = [{key: value for key, value in row.items() if key not in ("mass", "hit")} for row in read_metrics(run.metrics)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = experiment.train(run, "cpu").validation
    assert again.loss == rows[-1]["loss"]
    assert math.isnan(again.mass)


def test_two_trainings_with_one_seed_are_the_same_and_another_seed_is_not(tmp_path: Path, uninterrupted: Run) -> None:
    again = fresh(tmp_path)
    experiment.train(again, "cpu")
    assert_same_training(again, uninterrupted)
    config: Config = again.config()
    assert config == uninterrupted.config()
    other = fresh(tmp_path, "seed=1", "train.steps=20")
    experiment.train(other, "cpu")
    assert history(other)[0]["loss"] != history(again)[0]["loss"]
