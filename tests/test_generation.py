import json
from pathlib import Path

import pytest

from seqrev.config import load_config
from seqrev.errors import UsageError
from seqrev.generation import generate, start
from seqrev.runs import Run
from tests.conftest import tiny_config


def test_a_run_is_opened_and_filled(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    assert run.has_config()
    assert not run.has_dataset()
    told: list[int] = []
    manifest = generate(run, told.append)
    assert sum(told) == 660
    assert run.has_dataset()
    assert json.loads((run.data / "manifest.json").read_text()) == manifest
    assert run.record()["status"] == "generated"
    assert run.record()["dataset_sha256"] == manifest["sha256"]


def test_an_impossible_dataset_opens_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most"):
        start(load_config(overrides=["task.symbols=2", "task.max_length=3"]), tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_was_left_half_is_made_anew(tmp_path: Path) -> None:
    whole = generate(start(tiny_config(), tmp_path))
    run = start(tiny_config(), tmp_path)

    def stop(rows: int) -> None:
        raise KeyboardInterrupt(rows)

    with pytest.raises(KeyboardInterrupt):
        generate(run, stop)
    assert not run.has_dataset()
    assert run.record()["status"] == "opened"
    assert generate(Run(run.path)) == whole
    assert not list(run.path.rglob("*.tmp"))


def test_a_dataset_made_again_leaves_the_record_of_the_sitting(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    generate(run)
    run.begin()
    generate(run)
    assert run.record()["status"] == "running"  # and so the next owner of the lock knows of a crash
