"""A trainer's run: the commands read it, and go on from it to the same weights."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqrev.api.reverser import Reverser, load
from seqrev.config import Config
from seqrev.data.dataset import load_split
from seqrev.data.splits import split_of
from seqrev.errors import InputError, UsageError
from seqrev.interpret.snapshots import load_snapshots
from seqrev.runs.checkpoints import newest_first
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.training.state import checkpoint_shapes
from seqrev.training.trainer import Trainer, TrainingRows
from tests.helpers import Cli, tiny_config

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = ("train.steps=30", "train.validate_every=10", "train.log_every=4", "data.train=200", "model.dropout=0.1")
EVENTS = 33  # of the whole training


def short(*overrides: str) -> Config:
    return tiny_config(*SHORT, *overrides)


def trained(count: int, *overrides: str) -> Trainer:
    """After so many events."""
    trainer = Trainer(short(*overrides), device="cpu")
    assert len(list(islice(trainer, count))) == count
    return trainer


def saved_weights(run: Run) -> dict[str, NDArray[np.float32]]:
    """Of the newest checkpoint."""
    return newest_first(run.checkpoints)[0].load("model", checkpoint_shapes(run.config())["model"])


def assert_same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def metrics(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(run.metrics)]


def test_the_commands_read_it(cli: Cli) -> None:
    trainer = trained(EVENTS)
    run = trainer.save("runs")
    assert str(run) == "runs/001"
    evaluated = cli("evaluate", "--json")
    assert evaluated.code == 0, evaluated.err
    test = load_split(run.data, "test", run.config())
    assert evaluated.document["sequences"] == 30
    assert evaluated.document["exact_match"] == Reverser.from_trainer(trainer).evaluate(test).overall.exact_match
    decoded = cli("decode", "--run", "1", "4", "2", "1", "--json")
    assert decoded.code == 0, decoded.err
    assert json.loads(decoded.out)["output"] == Reverser.from_trainer(trainer).reverse([4, 2, 1])
    drawn = cli("attention", "--run", "latest", "4", "2", "1", "--out", "map.png")
    assert drawn.code == 0, drawn.err
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")


def test_it_has_the_model_as_it_is_now(tmp_path: Path) -> None:
    trainer = trained(7)
    run = trainer.save(tmp_path)
    model = load(run, "cpu")
    assert model.checkpoint is not None
    assert (model.checkpoint.step, model.checkpoint.validation) == (7, None)
    assert_same(saved_weights(run), trainer.state.to_arrays()["model"])
    next(trainer)
    again = trainer.save(tmp_path)
    assert [run.path.name, again.path.name] == ["001", "002"]
    assert [newest_first(saved.checkpoints)[0].step for saved in (run, again)] == [7, 8]


@pytest.mark.parametrize("count", [0, 1, 7, 10, 11, 20, 32, EVENTS])
@pytest.mark.parametrize("stream", [False, True], ids=["dataset", "stream"])
def test_a_command_goes_on_from_it_as_if_nothing_had_happened(cli: Cli, count: int, stream: bool) -> None:
    changes = ("data.stream=true",) if stream else ()
    whole = trained(EVENTS, *changes)
    run = trained(count, *changes).save()
    assert run.config().data.stream is stream
    assert (run.data / "train.jsonl").exists() is not stream
    result = cli("train", "--run", "1", "--device", "cpu")
    assert result.code == 0, result.err
    assert_same(saved_weights(run), whole.state.to_arrays()["model"])
    assert metrics(run) == metrics(whole.save())
    record = run.record.read()
    assert (record["status"], record["step"]) == ("done", 30)


def test_it_has_the_record_of_the_training(tmp_path: Path) -> None:
    trainer = trained(12)
    run = trainer.save(tmp_path)
    record = run.record.read()
    assert (record["status"], record["step"], record["device"], record["seed"]) == ("interrupted", 11, "cpu", 0)
    assert {"started", "ended", "threads", "world_size", "dataset_sha256", "versions"} <= record.keys()
    events = [(row["event"], row["step"]) for row in metrics(run)]
    assert events == [("train", 1), ("train", 4), ("train", 8), ("validation", 10)]
    seconds = [row["seconds"] for row in read_metrics(run.metrics)]
    assert seconds == [
        event.seconds for event in trainer.history if event.step in (1, 4, 8) or event is trainer.history[10]
    ]
    done = trained(EVENTS).save(tmp_path)
    assert (done.record.read()["status"], done.record.read()["step"]) == ("done", 30)
    validation = newest_first(done.checkpoints)[0].validation
    assert validation is not None
    assert validation["loss"] == metrics(done)[-1]["loss"]


def test_it_has_the_rows_that_it_was_trained_on_and_a_test_split(tmp_path: Path) -> None:
    trainer = trained(1)
    run = trainer.save(tmp_path)
    assert trainer.rows.train is not None
    assert list(load_split(run.data, "train", run.config())) == list(trainer.rows.train)
    assert list(load_split(run.data, "validation", run.config())) == list(trainer.rows.validation)
    test = load_split(run.data, "test", run.config())
    assert len(test) == 30
    assert {int(split_of(np.array([row]))[0]) for row in test} == {2}


@pytest.mark.parametrize("count", [50, 1000])
def test_rows_of_the_users_own_are_saved_whatever_their_number(cli: Cli, count: int) -> None:
    """Not the 200 and 30 of the configuration."""
    train = np.random.default_rng(0).integers(5, size=(count, 3)).tolist()
    rows = TrainingRows(train, validation=train[: count // 20])
    whole, broken = Trainer(short(), rows, "cpu"), Trainer(short(), rows, "cpu")
    list(whole)
    list(islice(broken, 5))
    run = broken.save()
    assert (run.config().data.train, run.config().data.validation, run.config().data.test) == (count, count // 20, 30)
    assert list(load_split(run.data, "train", run.config())) == train
    result = cli("train", "--run", "1", "--device", "cpu")
    assert result.code == 0, result.err
    assert_same(saved_weights(run), whole.state.to_arrays()["model"])
    assert metrics(run) == metrics(whole.save())


def test_without_training_rows_it_is_a_stream_whatever_the_configuration_says(tmp_path: Path) -> None:
    rows = TrainingRows(None, Trainer(short(), device="cpu").rows.validation)
    assert Trainer(short(), rows, "cpu").save(tmp_path).config().data.stream


def test_left_out_the_folder_is_that_of_the_commands(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del cli  # which makes a new folder the current one
    trainer = trained(1)
    assert trainer.save().path == Path("runs/001")
    monkeypatch.setenv("SEQREV_RUNS", str(tmp_path / "elsewhere"))
    assert trainer.save().path == tmp_path / "elsewhere" / "001"


def test_it_has_no_snapshots_until_a_command_goes_on(cli: Cli) -> None:
    run = trained(7).save()
    with pytest.raises(InputError, match="no snapshots"):
        load_snapshots(run.snapshots, "reverse")
    assert cli("train", "--run", "1", "--device", "cpu").code == 0
    assert [snapshot.step for snapshot in load_snapshots(run.snapshots, "reverse")] == [8, 12, 16, 24, 30]


def test_a_test_split_that_cannot_be_filled_opens_no_folder(tmp_path: Path) -> None:
    rows = TrainingRows([[0], [1]], [[1, 0]])
    trainer = Trainer(tiny_config("data.test=100000"), rows, "cpu")
    with pytest.raises(UsageError, match=r"data\.test asks for"):
        trainer.save(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InputError, match="No run can be opened"):
        trained(1).save(tmp_path / "runs")
