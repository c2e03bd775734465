"""A training whose metrics go to TensorBoard as well."""

import sys
from pathlib import Path

import pytest

from seqrev.runs.folders import Run
from tests.cli.trainings import QUICK, assert_document, tiny
from tests.helpers import Cli, assert_refused


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_the_metrics_of_a_new_run(cli: Cli) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = cli("train", *tiny(*QUICK), "--tensorboard", "--json")
    assert_document(result, "runs/001", 20)
    assert result.out.count("\n") == 1
    assert "TensorBoard: runs/001/tensorboard\n" in result.err
    events = accumulator.EventAccumulator("runs/001/tensorboard").Reload()
    assert [event.step for event in events.Scalars("validation/loss")] == [10, 20]
    assert events.Scalars("validation/loss")[-1].value == pytest.approx(result.document["validation"]["loss"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_all_metrics_of_a_run_that_is_trained_further(own_run: Run, cli: Cli) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert cli("train", "--run", "1", "--tensorboard").code == 0
    assert cli("train", "--run", "1", "--steps", "260", "--tensorboard").code == 0
    (file,) = (own_run.path / "tensorboard").iterdir()
    events = accumulator.EventAccumulator(str(file)).Reload()
    assert [event.step for event in events.Scalars("validation/loss")] == [50, 100, 150, 200, 250, 260]


def test_nothing_is_written_for_tensorboard_unless_asked_for(trained_run: Run) -> None:
    assert not (trained_run.path / "tensorboard").exists()


@pytest.mark.parametrize("arguments", [(), ("--run", "1", "--steps", "300")])
def test_without_tensorboard_nothing_is_trained_for_it(
    own_run: Run, cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    before = own_run.record.read()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    result = cli("train", *arguments, "--tensorboard")
    assert_refused(result, 2, "TensorBoard, an optional extra, is not installed", "pip install 'seqrev[tensorboard]'")
    assert [path.name for path in Path("runs").glob("[!.]*")] == ["001"]
    assert own_run.record.read() == before
