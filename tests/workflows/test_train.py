"""A training in a run folder: what it leaves there, what it tells, and how it fails."""

import json
import math
import struct
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from torch import Tensor
from torch.nn import Module

from seqrev.api.reverser import load
from seqrev.config import Config
from seqrev.data.dataset import load_split
from seqrev.errors import InputError, TrainingError, UsageError, command_line
from seqrev.interpret.alignment import alignment_over
from seqrev.interpret.snapshots import load_snapshots
from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.system.files import write_json
from seqrev.system.signals import Interrupted, StopRequest
from seqrev.training.distributed import Processes
from seqrev.training.events import Event
from seqrev.workflows.generate import generate, new_run
from seqrev.workflows.train import Observer, TrainingSummary, train, train_worker
from tests.helpers import flip_byte, tiny_config
from tests.workflows.training import assert_same_training, fresh, history

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_training_leaves_its_record(uninterrupted: Run) -> None:
    record = uninterrupted.record.read()
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
    expected = run.record.read()["dataset_sha256"]
    write_json(run.path / "run.json", {key: value for key, value in run.record.read().items() if key != "dataset_sha256"})
    train(run, "cpu")
    assert run.record.read()["dataset_sha256"] == expected


@pytest.mark.parametrize("name", ["loss.png", "attention.png"])
def test_a_training_leaves_real_pictures(uninterrupted: Run, name: str) -> None:
    content = (uninterrupted.path / name).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert min(width, height) > 300
    pixels = matplotlib.image.imread(uninterrupted.path / name)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_a_finished_training_is_summed_up_again_without_a_step(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.steps=20")
    first = train(run, "cpu")
    before = run.metrics.read_bytes()
    events: list[Event] = []
    second = train(run, "cpu", observer=Observer(on_event=events.append))
    assert events == []
    assert run.metrics.read_bytes() == before
    assert (first.steps, first.validation) == (second.steps, second.validation)
    assert first.validation.seconds == second.validation.seconds > 0
    assert run.record.read()["status"] == "done"


def test_a_diverged_training_fails_with_a_lower_rate_to_try(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.lr=1e30", "train.warmup_steps=0")
    with pytest.raises(TrainingError, match="Training stopped at step") as caught:
        train(run, "cpu")
    assert caught.value.hint == command_line("train", "--config", f"{run}/config.yaml", "--set", "train.lr=0.0015")
    record = run.record.read()
    assert record["status"] == "failed"
    assert "Training stopped" in record["error"]
    assert all(json.loads(line) for line in run.metrics.read_text().splitlines())


def test_a_listener_that_fails_leaves_a_record_of_it(tmp_path: Path) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError(f"at {event.step}")

    run = fresh(tmp_path)
    with pytest.raises(RuntimeError):
        train(run, "cpu", observer=Observer(on_event=fail))
    assert (run.record.read()["status"], run.record.read()["error"]) == ("failed", "at 1")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_damaged_dataset_is_refused_before_anything_is_trained(tmp_path: Path, split: str) -> None:
    run = fresh(tmp_path)
    flip_byte(run.data / f"{split}.jsonl")
    with pytest.raises(InputError, match=f"{split}.jsonl is damaged"):
        train(run, "cpu")
    assert not run.metrics.exists()
    assert not run.has_checkpoint()


def test_snapshots_of_one_sequence_are_saved_in_a_logarithmic_series(uninterrupted: Run) -> None:
    snapshots = load_snapshots(uninterrupted.snapshots, "reverse")
    assert [snapshot.step for snapshot in snapshots] == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 60]
    assert {tuple(snapshot.source) for snapshot in snapshots} == {tuple(snapshots[0].source)}
    assert snapshots[0].source in load_split(uninterrupted.data, "validation", uninterrupted.config())
    model = load(uninterrupted, "cpu").model
    assert snapshots[-1].score(1).mass == pytest.approx(alignment_over(model, [snapshots[-1].source])[0].mass, abs=1e-6)


def test_validations_have_the_score_of_the_anti_diagonal(uninterrupted: Run) -> None:
    last = [row for row in history(uninterrupted) if row["event"] == "validation"][-1]
    validation = load_split(uninterrupted.data, "validation", uninterrupted.config())
    score, *_ = alignment_over(load(uninterrupted, "cpu").model, validation)
    assert (last["mass"], last["hit"]) == (pytest.approx(score.mass, abs=1e-6), pytest.approx(score.hit, abs=1e-6))


def test_a_run_of_an_older_version_is_summed_up_without_what_it_lacks(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.steps=20")
    train(run, "cpu")
    rows = [{key: value for key, value in row.items() if key not in ("mass", "hit")} for row in read_metrics(run.metrics)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = train(run, "cpu").validation
    assert again.loss == rows[-1]["loss"]
    assert math.isnan(again.mass)


def test_two_trainings_with_one_seed_are_the_same_and_another_seed_is_not(tmp_path: Path, uninterrupted: Run) -> None:
    again = fresh(tmp_path)
    train(again, "cpu")
    assert_same_training(again, uninterrupted)
    config: Config = again.config()
    assert config == uninterrupted.config()
    other = fresh(tmp_path, "seed=1", "train.steps=20")
    train(other, "cpu")
    assert history(other)[0]["loss"] != history(again)[0]["loss"]


def test_a_configuration_is_trained_in_a_new_run(tmp_path: Path) -> None:
    runs: list[Run] = []
    rows: list[tuple[int, int]] = []
    observer = Observer(on_run=runs.append, on_rows=lambda done, total: rows.append((done, total)))
    config = tiny_config("train.steps=3", "data.train=200")
    summary = train(config, "cpu", tmp_path / "runs", observer)
    assert isinstance(summary, TrainingSummary)
    assert [run.path for run in runs] == [summary.run.path] == [tmp_path / "runs" / "001"]
    assert summary.run.config() == config
    assert rows[-1] == (260, 260)
    assert rows == sorted(rows)
    assert (summary.steps, summary.validation.step) == (3, 3)
    assert summary.anti_diagonal.head is None
    assert summary.pictures == [summary.run.path / "loss.png", summary.run.path / "attention.png"]


def test_a_device_that_is_not_there_is_refused_and_no_folder_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="device"):
        train(tiny_config(), "tpu", tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


class OneOfMany(Processes):
    """A process whose others are not there; the first of them named a run."""

    run = ""

    def replicate(self, model: Module, *_example: Tensor) -> Module:
        return model

    def mean(self, value: Tensor) -> Tensor:
        return value

    def largest(self, value: int) -> int:
        return value

    def broadcast(self, value: str | None = None) -> str:
        assert value is None
        return self.run


def test_another_process_trains_along_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, processes, shares = fresh(tmp_path), OneOfMany(1, 2), []
    processes.run = str(run)

    def share(batch_size: int) -> slice:
        shares.append(Processes.share(processes, batch_size))
        return shares[-1]

    monkeypatch.setattr(processes, "share", share)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    train_worker("cpu", StopRequest(), processes)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert shares == [slice(16, 32)] * 60


def test_another_process_stops_where_all_agree_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes, asked = OneOfMany(1, 2), []
    processes.run = str(fresh(tmp_path))

    def largest(value: int) -> int:
        asked.append(value)
        return 15 if len(asked) == 5 else value  # the first two are about the step to go on from

    monkeypatch.setattr(processes, "largest", largest)
    with pytest.raises(Interrupted, match="Stopped at step 16") as caught:
        train_worker("cpu", StopRequest(), processes)
    assert caught.value.exit_code == 143


def test_processes_that_would_go_on_from_different_steps_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = OneOfMany(1, 2)
    processes.run = str(fresh(tmp_path))
    monkeypatch.setattr(processes, "largest", lambda value: 20)
    with pytest.raises(InputError, match="different steps"):
        train_worker("cpu", StopRequest(), processes)


def test_a_run_of_another_schema_is_refused_from_python_too(tmp_path: Path) -> None:
    run = new_run(tiny_config(), tmp_path)
    run.record.path.write_text(json.dumps({**run.record.read(), "schema": 1}))
    with pytest.raises(InputError, match="schema 1"):
        train(run, "cpu")
    with pytest.raises(InputError, match="schema 1"):
        generate(run)
