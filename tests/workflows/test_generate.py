"""From a configuration to a run folder with its dataset."""

import json
from pathlib import Path

import pytest

from seqrev.config import load_config
from seqrev.errors import UsageError
from seqrev.runs.folders import Run
from seqrev.workflows.generate import generate, new_run
from tests.helpers import tiny_config


def test_a_run_is_opened_and_filled(tmp_path: Path) -> None:
    run = new_run(tiny_config(), tmp_path)
    assert run.has_config()
    assert not run.has_dataset()
    rows: list[tuple[int, int]] = []
    manifest = generate(run, lambda done, total: rows.append((done, total)))
    assert rows[-1] == (660, 660)
    assert rows == sorted(rows)
    assert run.has_dataset()
    assert json.loads((run.data / "manifest.json").read_text()) == manifest
    assert run.record.read()["status"] == "generated"
    assert run.record.read()["dataset_sha256"] == manifest["sha256"]


def test_an_impossible_dataset_opens_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most"):
        new_run(load_config(overrides=["task.symbols=2", "task.max_length=3"]), tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_was_left_half_is_made_anew(tmp_path: Path) -> None:
    whole = generate(new_run(tiny_config(), tmp_path))
    run = new_run(tiny_config(), tmp_path)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt(done, total)

    with pytest.raises(KeyboardInterrupt):
        generate(run, stop)
    assert not run.has_dataset()
    assert run.record.read()["status"] == "opened"
    assert generate(Run(run.path)) == whole
    assert not list(run.path.rglob("*.tmp"))


def test_a_dataset_made_again_leaves_the_record_of_the_attempt(tmp_path: Path) -> None:
    run = new_run(tiny_config(), tmp_path)
    generate(run)
    run.record.begin_attempt()
    generate(run)
    assert run.record.read()["status"] == "running"  # and so the next owner of the lock knows of a crash


def test_left_out_the_folder_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQREV_RUNS", str(tmp_path / "elsewhere"))
    assert new_run(tiny_config()).path == tmp_path / "elsewhere" / "001"


def test_a_stream_has_no_training_rows(tmp_path: Path) -> None:
    rows: list[tuple[int, int]] = []
    generate(new_run(tiny_config("data.stream=true"), tmp_path), lambda done, total: rows.append((done, total)))
    assert rows[-1] == (60, 60)
