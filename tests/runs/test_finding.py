"""Which run is found, and what is said where there is none."""

import errno
import json
import os
from pathlib import Path

import pytest

from seqrev.config import Config
from seqrev.errors import InputError, UsageError
from seqrev.runs.finding import find_run
from seqrev.runs.folders import Run, default_runs_dir, open_run
from seqrev.runs.record import SCHEMA


def always(_: Run) -> bool:
    return True


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    for _ in range(3):
        open_run(tmp_path, Config())
    return tmp_path


@pytest.mark.parametrize("spec", ["002", "2", "0002", "PATH"])
def test_a_run_is_found_by_path_or_number(runs_dir: Path, spec: str) -> None:
    found = find_run(spec.replace("PATH", str(runs_dir / "002")), runs_dir, always, "anything")
    assert found.path == runs_dir / "002"


@pytest.mark.parametrize("spec", ["٣", "３", "00³"])
def test_a_number_has_the_ten_digits_that_folders_have(runs_dir: Path, spec: str) -> None:
    (runs_dir / "٩٩٩").mkdir()
    assert find_run(None, runs_dir, always, "anything").path == runs_dir / "003"
    with pytest.raises(InputError, match="is not a run folder"):
        find_run(spec, runs_dir, always, "anything")


@pytest.mark.parametrize("spec", [None, "latest"])
def test_the_latest_run_is_the_highest_number_that_has_what_is_wanted(runs_dir: Path, spec: str | None) -> None:
    (runs_dir / "1000").mkdir()  # no run.json in it
    assert find_run(spec, runs_dir, always, "anything").path.name == "003"
    assert find_run(spec, runs_dir, lambda run: run.path.name < "003", "anything").path.name == "002"
    (runs_dir / "1000" / "run.json").write_text(json.dumps({"schema": SCHEMA}))
    assert find_run(spec, runs_dir, always, "anything").path.name == "1000"


@pytest.mark.parametrize("damage", ["{", "[]", '{"schema": 1}', '{"schema": 99}'])
@pytest.mark.parametrize("spec", [None, "latest"])
def test_the_latest_run_is_one_that_can_be_read_if_there_is_any(runs_dir: Path, spec: str | None, damage: str) -> None:
    for name in ("003", "001"):
        (runs_dir / name / "run.json").write_text(damage)
    assert find_run(spec, runs_dir, always, "anything").path.name == "002"
    (runs_dir / "002" / "run.json").write_text(damage)
    with pytest.raises(InputError, match=r"003"):
        find_run(spec, runs_dir, always, "anything")


def test_a_run_that_is_named_needs_no_folder_of_runs(runs_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    assert find_run(str(runs_dir / "002"), tmp_path / "a file", always, "anything").path.name == "002"
    with pytest.raises(InputError, match="nowhere' is not a run folder"):
        find_run("nowhere", tmp_path / "a file", always, "anything")


def test_a_folder_that_may_not_be_looked_into_is_called_that(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def refuse(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.parent.name == "002":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return stat(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"may not be read: Permission denied\. The newest"):
        find_run("2", runs_dir, always, "anything")
    assert find_run(None, runs_dir, always, "anything").path.name == "003"


def test_a_field_of_another_version_is_told_with_that_version(runs_dir: Path) -> None:
    run = Run(runs_dir / "002")
    path = run.path / "config.yaml"
    path.write_text(path.read_text().replace("train:\n", "train:\n  future: 3\n"))
    with pytest.raises(InputError, match=r"there is no field train\.future") as caught:
        run.config()
    assert "made by seqrev" not in str(caught.value)
    run.record.update(versions={"seqrev": "99.1"})
    with pytest.raises(InputError, match=r"no field train\.future.* The run was made by seqrev '99\.1', and this is "):
        run.config()


@pytest.mark.parametrize(("value", "expected"), [("", "runs"), (None, "runs"), ("~/x", "/home/me/x"), ("y", "y")])
def test_the_folder_of_runs_is_the_one_of_the_environment_if_that_names_any(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SEQREV_RUNS", value or "")
    if value is None:
        monkeypatch.delenv("SEQREV_RUNS")
    assert default_runs_dir() == Path(expected)


@pytest.mark.parametrize("spec", [None, "latest"])
def test_no_run_that_has_what_is_wanted_is_an_error(runs_dir: Path, spec: str | None) -> None:
    with pytest.raises(InputError, match=r"No run in .* has a checkpoint"):
        find_run(spec, runs_dir, Run.has_checkpoint, "a checkpoint")
    with pytest.raises(InputError, match=r"No run in .* has a checkpoint"):
        find_run(spec, runs_dir / "none", always, "a checkpoint")


@pytest.mark.parametrize(
    "spec", ["9", "999", "nowhere/at/all", ".", "", "file", "file/below", "-1", "\x1b[31m", "a" * 300, "1234567890"]
)
def test_what_is_no_run_is_refused(runs_dir: Path, spec: str) -> None:
    (runs_dir / "file").write_text("")
    with pytest.raises(InputError) as caught:
        find_run(spec, runs_dir, always, "anything")
    assert "is not a run folder" in str(caught.value)
    assert str(caught.value).endswith(f" The newest in {runs_dir}: 003, 002, 001.")
    assert "\x1b" not in str(caught.value)
    assert caught.value.hint == "the same command with --run 003"


def test_a_named_run_that_lacks_what_is_wanted_is_refused_with_what_to_do(runs_dir: Path) -> None:
    with pytest.raises(InputError, match="002 does not have a checkpoint") as caught:
        find_run("2", runs_dir, Run.has_checkpoint, "a checkpoint")
    assert caught.value.hint == f"seqrev train --run {runs_dir / '002'}"


def test_a_damaged_configuration_is_refused(runs_dir: Path) -> None:
    run = Run(runs_dir / "002")
    (run.path / "config.yaml").write_bytes(b"\x80\x00")
    with pytest.raises(InputError, match=r"config\.yaml"):
        run.config()
    (run.path / "config.yaml").write_text("task: {symbols: x}")
    with pytest.raises((InputError, UsageError), match=r"config\.yaml"):
        run.config()


def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder that can be read"):
        find_run(None, tmp_path / ("a" * 300), always, "anything")
