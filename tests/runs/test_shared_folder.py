"""A run in a folder that another machine shares: it may have no locks, and refuse to flush a folder."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from seqrev.runs.folders import Run
from tests.helpers import TINY, Cli, assert_refused, settings

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_shared_folder_without_locks_that_flushes_no_folder(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, flock, fsync = Path.cwd() / "runs", fcntl.flock, os.fsync
    Path("tmp").mkdir()

    def refuse_locks(handle: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{handle}").resolve().is_relative_to(shared):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(handle, operation)

    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(fcntl, "flock", refuse_locks)
    monkeypatch.setattr(os, "fsync", refuse_folders)
    monkeypatch.setattr("tempfile.tempdir", str(Path("tmp").absolute()))
    result = cli("train", *settings([*TINY, "train.steps=4", "train.validate_every=2"]))
    assert result.code == 0, result.err
    assert cli("evaluate", "--run", "1").code == 0
    assert "done" in cli("runs").out
    with Run(Path("runs/001")).locked():
        assert_refused(cli("train", "--run", "1", "--steps", "8"), 3, "Another process is at work")
