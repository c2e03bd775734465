"""Requests to stop a training: of a real process, and of the command in this process."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqrev.config import Config
from seqrev.runs.checkpoints import newest_first
from seqrev.runs.folders import Run
from seqrev.training.events import Event
from seqrev.workflows import train as workflow
from seqrev.workflows.train import Observer, TrainingSummary
from tests.cli.trainings import QUICK, assert_document, history, load_all, tiny
from tests.helpers import PATIENCE, Cli, child_environment, has_checkpoint, settings, wait_for

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(("signum", "code", "flag"), [(signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ("--json",))])
def test_a_signal_saves_a_checkpoint_and_says_how_to_continue(
    cli: Cli, tmp_path: Path, signum: signal.Signals, code: int, flag: tuple[str, ...]
) -> None:
    overrides = tiny("train.steps=1000000", "train.validate_every=40", "data.train=200")
    process = subprocess.Popen(
        [sys.executable, "-m", "seqrev", "train", *overrides, *flag],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    run = Run(tmp_path / "runs" / "001")
    wait_for(lambda: has_checkpoint(run.path), process)
    os.kill(process.pid, signum)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    step = run.record.read()["step"]
    assert run.record.read()["status"] == "interrupted"
    assert 40 <= step < 1_000_000
    newest = newest_first(run.checkpoints)[0]
    assert newest.step == step
    assert load_all(run, -1)
    assert max(row["step"] for row in history(run)) <= step
    if flag:
        assert json.loads(err.splitlines()[-1])["error"]["hint"] == "seqrev train --run runs/001"
    else:
        assert err.splitlines()[-2:] == [
            f"Stopped at step {step} of 1,000,000; nothing is lost.",
            "Continue: seqrev train --run runs/001",
        ]
    began = [row for row in history(run) if row["step"] <= step]
    config, end = run.path / "config.yaml", step + 60
    config.write_text(config.read_text().replace("steps: 1000000", f"steps: {end}"))
    assert_document(cli("train", "--run", "runs/001", "--json"), "runs/001", end)
    assert history(run)[: len(began)] == began
    assert [row["step"] for row in history(run) if row["event"] == "validation"] == [*range(40, end, 40), end]


def test_a_training_that_is_continued_by_command_ends_as_one_that_was_not_stopped(
    cli: Cli, trained_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at step 120, by a signal in this process; then the command that was printed."""
    real_train = workflow.train

    def train(what: Config | Run, device: str, runs_dir: Path, observer: Observer, *others: Any) -> TrainingSummary:
        def press(event: Event) -> None:
            observer.on_event(event)
            if event.step == 120:
                signal.raise_signal(signal.SIGINT)

        return real_train(what, device, runs_dir, replace(observer, on_event=press), *others)

    with monkeypatch.context() as patch:
        patch.setattr(workflow, "train", train)
        stopped = cli("train", *settings())
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "Continue: seqrev train --run runs/001"
    command = stopped.err.splitlines()[-1].removeprefix("Continue: seqrev ").split()
    assert cli(*command).code == 0
    run = Run(Path("runs/001"))
    assert history(run) == history(trained_run)
    mine, others = load_all(run, -1), load_all(trained_run, -1)
    for name in ("model", "optimizer"):
        for key, value in mine[name].items():
            assert np.array_equal(value, others[name][key])


def test_a_signal_before_the_first_step_still_says_how_to_continue(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("seqrev.workflows.generate.write_dataset", press)
        result = cli("train", *tiny(*QUICK))
    assert (result.code, result.out) == (130, "")
    assert "Traceback" not in result.err
    assert result.err.splitlines()[-1] == "Continue: seqrev train --run runs/001"
    assert_document(cli("train", "--run", "runs/001", "--json"), "runs/001", 20)
