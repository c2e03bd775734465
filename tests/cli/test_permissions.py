"""What may not be read or written, for real: one run of several is passed over, and the one that was named is told."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqrev.runs.folders import Run
from tests.helpers import assert_refused
from tests.unprivileged import as_plain_owner

OF_A_MODEL = ("decode 1 2", "evaluate", "attention 1 2 --out map.png")


@pytest.fixture
def two_runs(own_run: Run) -> Iterator[Path]:
    """``runs/001`` and ``runs/002``, in the current folder, of which a test may close something."""
    runs = Path("runs").absolute()
    shutil.copytree(own_run.path, runs / "002")
    yield runs
    for path in (runs, *runs.rglob("*")):  # or nobody could remove them
        path.chmod(0o755)


@pytest.mark.parametrize("closed", ["", "run.json", "config.yaml", "checkpoints"])
def test_a_run_that_may_not_be_read_is_passed_over_and_told_where_it_is_named(two_runs: Path, closed: str) -> None:
    (two_runs / "002" / closed).chmod(0)
    calls = (*OF_A_MODEL, "runs", "runs --out losses.png", "decode --run 2 1 2", "train --run 2 --steps 300")
    *found, listed, drawn, named, continued = as_plain_owner(*calls, folder=two_runs.parent)
    for result in found:
        assert result.code == 0, result.err
        assert "Run: runs/001" in result.err
    assert (listed.code, drawn.code) == (0, 0), drawn.err
    assert "runs/002" in listed.out
    assert "Permission denied" in listed.out
    for result in (named, continued):
        assert_refused(result, 3, "runs/002", "Permission denied")
        assert "no run.json" not in result.err


@pytest.mark.parametrize("closed", ["data", "metrics.jsonl"])
def test_what_is_not_needed_may_be_closed(two_runs: Path, closed: str) -> None:
    (two_runs / "002" / closed).chmod(0)
    decoded, drawn, trained = as_plain_owner(
        "decode 1 2", "attention 1 2 --out map.png", "train --run 2 --steps 300", folder=two_runs.parent
    )
    for result in (decoded, drawn):
        assert result.code == 0, result.err
        assert "Run: runs/002" in result.err
    assert trained.code == 3
    last = trained.err.splitlines()[-2]
    assert last.startswith("Error: runs/002/")
    assert last.endswith("cannot be read: Permission denied.")


@pytest.mark.parametrize("mode", [0o000, 0o111])
def test_a_closed_folder_of_runs_is_told_and_needs_no_reader_where_a_run_elsewhere_is_named(
    two_runs: Path, mode: int
) -> None:
    shutil.copytree(two_runs / "001", "mine")
    two_runs.chmod(mode)
    named = (f"{call} --run mine" for call in OF_A_MODEL)
    calls = (
        "runs mine",
        "train --run mine",
        *named,
        "decode --run pretrained 1 2",
        *OF_A_MODEL,
        "train --run latest",
        "runs",
    )
    results = as_plain_owner(*calls, folder=two_runs.parent)
    for result in results[:6]:
        assert result.code == 0, result.err
    for result in results[6:]:
        assert_refused(result, 3, "runs is not a folder that can be read: Permission denied", "--runs-dir FOLDER")


def test_in_a_folder_of_runs_that_may_not_be_written_results_are_printed(two_runs: Path) -> None:
    for path in (two_runs, *two_runs.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    calls = ("decode 1 2", "evaluate", "runs", "attention 1 2", "attention 1 2 --out map.png", "train --run 1", "generate")
    decoded, evaluated, listed, attended, drawn, trained, generated = as_plain_owner(*calls, folder=two_runs.parent)
    for result in (decoded, evaluated, listed, drawn):
        assert result.code == 0, result.err
    assert "Warning: this result is not saved. runs/002/evaluation cannot be written: Permission denied" in evaluated.err
    assert "anti-diagonal" in attended.out or "mass" in attended.out
    assert (attended.code, trained.code, generated.code) == (1, 1, 3)
    assert "runs/002/attention cannot be written: Permission denied." in attended.err
    assert "--out FILE.png" in attended.err
    assert "make runs/001 a folder that you may write in" in trained.err
    assert "No run can be opened in runs: Permission denied" in generated.err


def test_files_that_are_named_and_may_not_be_read_or_written_are_told(two_runs: Path) -> None:
    folder = two_runs.parent / "closed"
    folder.mkdir()
    folder.chmod(0)
    reads = ("train --config closed/a.yaml", "sweep closed/a.yaml", "generate --from closed/a", "decode --file closed/a")
    writes = ("attention 1 2 --out closed/a.png", "attention 1 2 --arrays closed/a.npz", "runs --out closed/a.png")
    results = as_plain_owner(*reads, "evaluate --file closed/a", *writes, folder=two_runs.parent)
    folder.chmod(0o755)
    for result in results:
        assert result.code == 3
        assert "Permission denied." in result.err.splitlines()[-2]
