"""How something comes to go wrong at the command line: what is done to runs, files and the system before a command."""

import errno
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from seqrev.runs.checkpoints import newest_first
from seqrev.runs.folders import Run
from seqrev.system.locks import lock
from tests.helpers import flip_byte, run_main, settings
from tests.workflows.sweeps import write_sweep

Prepare = Callable[[Run, pytest.MonkeyPatch], object]
LONG = " ".join(["4 8 2 9"] * 60)
DIVERGING = ("train.lr=1e30", "train.warmup_steps=0")


class Situation(NamedTuple):
    """A command that fails, in a folder with two trained runs, after what ``prepare`` did to them.

    What that returns, if it can be called, takes away what was in the way, as the end of the monkeypatch does.
    """

    typed: str
    prepare: Prepare = lambda run, patch: None


def file(name: str, content: str | bytes) -> Prepare:
    """A file of the user."""
    return lambda run, patch: Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def damaged(pattern: str) -> Prepare:
    """Files of the run in which a bit is wrong."""

    def flip(run: Run, _: pytest.MonkeyPatch) -> None:
        for path in run.path.glob(pattern):
            flip_byte(path)

    return flip


def removed(pattern: str, of: str = "001") -> Prepare:
    """Files and folders of runs that are gone."""

    def remove(run: Run, _: pytest.MonkeyPatch) -> None:
        for path in run.path.parent.glob(f"{of}/{pattern}"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def changed(name: str, pattern: str, by: str) -> Prepare:
    """A file of the run, edited by hand."""

    def change(run: Run, _: pytest.MonkeyPatch) -> None:
        text = (run.path / name).read_text()
        assert re.search(pattern, text)
        (run.path / name).write_text(re.sub(pattern, by, text))

    return change


def written_anew(content: bytes, sealed: bool = True) -> Prepare:
    """The test split of the run, written anew; ``sealed``: and its manifest with it."""

    def write(run: Run, _: pytest.MonkeyPatch) -> None:
        (run.data / "test.jsonl").write_bytes(content)
        manifest = json.loads((run.data / "manifest.json").read_text())
        if sealed:
            manifest["splits"]["test"].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        (run.data / "manifest.json").write_text(json.dumps(manifest))

    return write


def failing(where: str, error: BaseException) -> Prepare:
    """The system refuses, or there is no memory."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    return lambda run, patch: patch.setattr(where, refuse)


def nowhere(_run: Run, _: pytest.MonkeyPatch) -> Callable[[], None]:
    """The current folder is gone."""
    before, gone = Path.cwd(), Path("gone")
    gone.mkdir()
    os.chdir(gone)
    (before / gone).rmdir()
    return lambda: os.chdir(before)


def well(*arguments: str) -> None:
    """A command that must succeed."""
    result = run_main(*arguments)
    assert result.code == 0, result.err


def opened(*options: str) -> Prepare:
    """A third run, with only a dataset."""
    return lambda run, patch: well("generate", "--config", "fast", *options)


def trained(*overrides: str) -> Prepare:
    """A third run, trained for a step."""
    return lambda run, patch: well("train", "--config", "fast", *settings(("train.steps=1", *overrides)))


def of_pairs(_run: Run, _: pytest.MonkeyPatch) -> None:
    """A third run, of pairs that somebody brought."""
    Path("mine.tsv").write_text("".join(f"{i // 10} {i % 10}\t{i % 10}\n" for i in range(100)))
    well("generate", "--config", "fast", "--from", "mine.tsv", "--set", "train.steps=1")
    well("train", "--run", "3")


def at_work(run: Run, _: pytest.MonkeyPatch) -> Callable[[], None]:
    """Another process has the lock of the run."""
    stack = ExitStack()
    stack.enter_context(lock(run.path / ".lock"))
    return stack.close


def good_enough(run: Run, patch: pytest.MonkeyPatch) -> None:
    """A run whose training has ended early."""
    changed("config.yaml", "stop_at: null", "stop_at: 0.5")(run, patch)
    (newest, *_) = newest_first(run.checkpoints)
    good = replace(newest, validation={"exact_match": 1.0})
    patch.setattr("seqrev.runs.folders.newest_first", lambda folder: [good])


def smaller(limit: str) -> Prepare:
    """A limit of the program that is reached sooner."""
    return lambda run, patch: patch.setattr(f"seqrev.{limit}", 9999)


def linked(run: Run, _: pytest.MonkeyPatch) -> None:
    """A split that leads out of the run."""
    (run.data / "test.jsonl").unlink()
    (run.data / "test.jsonl").symlink_to("elsewhere")


def sweep_of(**changes: object) -> Prepare:
    """A sweep of the user, of one seed."""
    return lambda run, patch: write_sweep(Path(), **{"seeds": [0], "variants": {"plain": []}, **changes})


def then(*both: Prepare) -> Prepare:
    """One after the other."""
    return lambda run, patch: [prepare(run, patch) for prepare in both]


def interrupting(where: str, kind: type = object) -> Prepare:
    """Ctrl-C, while a command reports how far it is."""

    def interrupt(*arguments: object) -> None:
        if isinstance(arguments[-1], kind):
            signal.raise_signal(signal.SIGINT)

    return lambda run, patch: patch.setattr(where, interrupt)


def unlocked(_run: Run, patch: pytest.MonkeyPatch) -> None:
    """Somebody removes the lock of a run at work."""
    patch.setattr("seqrev.cli.train.Reporter.__call__", lambda *_: Path("runs/003/.lock").unlink(missing_ok=True))


def without_tensorboard(_run: Run, patch: pytest.MonkeyPatch) -> None:
    """It is not installed."""
    patch.setattr("seqrev.runs.tensorboard.find_spec", lambda name: None)


NO_ROOM = OSError(errno.ENOSPC, "No space left on device")
FULL = failing("os.fsync", NO_ROOM)
