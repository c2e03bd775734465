"""A run has one owner at a time, who cleans up after the one before, and may train it further."""

import subprocess
import sys
from pathlib import Path

import pytest

from seqrev.config import Config
from seqrev.errors import InputError, UsageError
from seqrev.runs.finding import find_run
from seqrev.runs.folders import open_run
from tests.helpers import child_environment


def test_one_process_at_a_time_is_at_work_in_a_run(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    with run.locked():
        with pytest.raises(InputError, match="Another process is at work") as caught, run.locked():
            pass
        assert "seqrev train" in caught.value.hint
    with run.locked():  # free again
        pass


def test_the_lock_goes_with_the_process_that_has_it(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    code = f"""
import time
from pathlib import Path
from seqrev.runs.folders import Run
with Run(Path({str(run)!r})).locked():
    print("locked", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=child_environment()) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="Another process"), run.locked():
            pass
        owner.kill()
        owner.wait()
        with run.locked():
            pass


def test_the_owner_of_the_lock_cleans_up_after_the_one_before(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    run.checkpoints.mkdir()
    (run.checkpoints / ".step-000001.99.tmp").mkdir()
    (run.path / ".run.json.99.tmp").write_text("half")
    with run.locked():
        assert list(run.checkpoints.iterdir()) == []
        assert sorted(path.name for path in run.path.iterdir()) == [".lock", "checkpoints", "config.yaml", "run.json"]


@pytest.mark.parametrize("name", ["data", "checkpoints", "snapshots", "evaluation", "attention", "tensorboard"])
def test_a_run_whose_folders_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    run = open_run(tmp_path / "runs", Config())
    (tmp_path / "elsewhere").mkdir()
    (run.path / name).symlink_to(tmp_path / "elsewhere")
    for spec in (None, "latest", "1", str(run)):
        with pytest.raises(InputError, match=f"{name} is not a folder of its own"):
            find_run(spec, tmp_path / "runs", lambda _: True, "anything")


def test_a_run_is_extended_and_remembers_what_was_planned(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    planned = run.config().train.steps
    run.extend(planned + 10)
    run.extend(planned + 20)
    assert run.config().train.steps == planned + 20
    assert run.config().model == Config().model
    assert [(entry["from"], entry["to"]) for entry in run.record.read()["extended"]] == [
        (planned, planned + 10),
        (planned + 10, planned + 20),
    ]
    for steps in (planned + 20, 1, 0, -5):
        with pytest.raises(UsageError, match="more were expected"):
            run.extend(steps)
    with pytest.raises(UsageError, match=r"train\.steps"):
        run.extend(10**12)
