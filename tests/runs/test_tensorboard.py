import os
import sys
from pathlib import Path

import pytest

from seqrev.errors import UsageError
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.runs.tensorboard import export
from tests.helpers import Cli

pytestmark = pytest.mark.usefixtures("undrawn")


pytest.importorskip("tensorboard")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_every_number_of_a_run(own_run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    export(own_run)
    assert export(own_run) == own_run.path / "tensorboard"  # a second time, in place of the first
    assert len(list((own_run.path / "tensorboard").iterdir())) == 1
    events = EventAccumulator(str(own_run.path / "tensorboard"), {"scalars": 0}).Reload()
    rows = list(read_metrics(own_run.metrics))
    for name in ("validation/exact_match", "validation/mass", "train/loss", "train/lr"):
        kind, key = name.split("/")
        expected = [(row["step"], pytest.approx(row[key])) for row in rows if row["event"] == kind]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_an_option_of_training(cli: Cli, own_run: Run) -> None:
    result = cli("train", "--run", "1", "--tensorboard")
    assert result.code == 0, result.err
    assert "TensorBoard: runs/001/tensorboard\n" in result.err
    assert len(list((own_run.path / "tensorboard").iterdir())) == 1


def test_without_tensorboard_it_says_how_to_install_it(own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UsageError, match="is not installed") as caught:
        export(own_run)
    assert caught.value.hint == "pip install 'seqrev[tensorboard]'"
    assert not (own_run.path / "tensorboard").exists()


def test_a_path_that_is_not_utf_8_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its path is not UTF-8"):
        export(Run(tmp_path / os.fsdecode(b"\xff") / "001"))
