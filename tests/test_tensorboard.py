from pathlib import Path

import pytest

from seqrev.metrics import read_metrics
from seqrev.runs import Run

pytest.importorskip("tensorboard")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_every_number_of_a_run(own_run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from seqrev.tensorboard import export

    export(own_run)
    assert export(own_run) == own_run.path / "tensorboard"  # a second time, in place of the first
    assert len(list((own_run.path / "tensorboard").iterdir())) == 1
    events = EventAccumulator(str(own_run.path / "tensorboard"), {"scalars": 0}).Reload()
    rows = list(read_metrics(own_run.metrics))
    for name in ("validation/exact_match", "validation/mass", "train/loss", "train/lr"):
        kind, key = name.split("/")
        expected = [(row["step"], pytest.approx(row[key])) for row in rows if row["event"] == kind]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected


def test_it_is_run_as_a_module(own_run: Run) -> None:
    import os
    import subprocess
    import sys

    command = [sys.executable, "-m", "seqrev.tensorboard", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        command, cwd=own_run.path.parent.parent, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "runs/001/tensorboard\n"
