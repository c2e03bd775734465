"""What is a matter of the process: streams that are closed, and what is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import PATIENCE, TINY, child_environment, settings


def run_closed(streams: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command with some of its streams closed by the shell."""
    command = ["sh", "-c", f'exec "$0" -m seqrev "$@" {streams}', sys.executable, *arguments]
    environment = child_environment()
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("streams", ["2>&-", "<&- 2>&-", ">&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_change_nothing_of_what_is_done(tmp_path: Path, streams: str) -> None:
    settled = settings([*TINY, "train.steps=2", "train.validate_every=2"])
    for command in (["generate", *settled], ["train", "--run", "1"], ["evaluate", "--lengths", "3", "--count", "2"]):
        done = run_closed(streams, *command, "--json", folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        if " >&-" in f" {streams}":
            assert done.stdout == ""
        else:
            assert isinstance(json.loads(done.stdout), dict)  # and no message among it
        assert "Traceback" not in done.stderr
    record = json.loads((tmp_path / "runs" / "001" / "run.json").read_text())
    assert record["status"] == "done"


def test_an_error_for_a_closed_stderr_does_not_go_to_stdout(tmp_path: Path) -> None:
    done = run_closed("2>&-", "decode", "--run", "7", "1", folder=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")


WITHOUT_TORCH_MODULES = (
    "seqrev",
    "seqrev.cli",
    "seqrev.workflows",
    "seqrev.workflows.generate",
    "seqrev.workflows.runs",
    "seqrev.workflows.sweep_plan",
    *(f"seqrev.runs.{name}" for name in ("folders", "record", "checkpoints", "metrics", "tensorboard")),
    *(f"seqrev.data.{name}" for name in ("dataset", "sampling", "splits", "sequences", "jsonl")),
    *(f"seqrev.plotting.{name}" for name in ("style", "heatmaps", "curves", "page", "export", "terminal")),
)


def test_the_modules_below_do_not_import_torch(tmp_path: Path) -> None:
    code = f"import sys, {', '.join(WITHOUT_TORCH_MODULES)}\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=child_environment(), check=False).returncode == 0
