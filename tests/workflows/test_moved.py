"""A run folder that somebody moves, removes or opens again while its training lives."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from seqrev.errors import InputError
from seqrev.runs.folders import Run
from seqrev.training.events import Event, Step, Validation
from seqrev.workflows.train import Observer, train
from tests.workflows.training import fresh

Change = Callable[[Run, ExitStack], None]


def move(run: Run, _: ExitStack) -> None:
    run.path.rename(run.path.with_name("mine"))


def remove(run: Run, _: ExitStack) -> None:
    shutil.rmtree(run.path)


def replace(run: Run, others: ExitStack) -> None:
    """Another run has its name, and another training is at work there."""
    move(run, others)
    shutil.copytree(run.path.with_name("mine"), run.path)
    others.enter_context(Run(run.path).locked())


def unlock(run: Run, others: ExitStack) -> None:
    """Another training got into the same folder."""
    (run.path / ".lock").unlink()
    others.enter_context(Run(run.path).locked())


def contents(folder: Path) -> dict[Path, bytes]:
    files: Iterator[Path] = (path for path in folder.rglob("*") if path.is_file() and path.name != "metrics.jsonl")
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("change", [move, remove, replace, unlock])
@pytest.mark.parametrize(
    ("step", "kind"), [(3, Step), (20, Validation), (34, Step), (39, Step), (60, Step), (60, Validation)]
)
def test_a_training_writes_nothing_where_it_is_no_longer_at_home(
    tmp_path: Path, change: Change, step: int, kind: type[Event]
) -> None:
    """Whatever it would write next: a line, a checkpoint, a snapshot, a picture, its record."""
    run, seen = fresh(tmp_path), dict[Path, bytes]()
    with ExitStack() as others:

        def listen(event: Event) -> None:
            if event.step == step and isinstance(event, kind):
                change(run, others)
                seen.update(contents(tmp_path))

        with pytest.raises(InputError, match=r"moved or removed, or the file \.lock in it was"):
            train(run, "cpu", observer=Observer(on_event=listen))
        assert contents(tmp_path) == seen


def test_a_training_goes_on_at_its_new_place(tmp_path: Path) -> None:
    run = fresh(tmp_path)

    def listen(event: Event) -> None:
        if event.step == 30:
            move(run, ExitStack())

    with pytest.raises(InputError):
        train(run, "cpu", observer=Observer(on_event=listen))
    moved = Run(tmp_path / "mine")
    assert train(moved, "cpu").steps == 60
    assert moved.record.read()["attempts"][0]["status"] == "crashed"


def test_a_folder_that_is_reached_by_another_way_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fresh(tmp_path / "runs")
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert train(Run(Path(os.path.relpath(tmp_path / "link" / run.path.name))), "cpu").steps == 60
