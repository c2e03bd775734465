import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqrev.errors import InputError, StorageError
from seqrev.system.locks import NOT_SUPPORTED, check_held, is_locked, lock
from tests.helpers import child_environment

FLOCK = fcntl.flock


@pytest.fixture
def without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a lock on a file system that has none, unlike that of the temporary files."""
    shared, temporary = tmp_path / "shared", tmp_path / "tmp"
    for folder in (shared, temporary):
        folder.mkdir()

    def refuse(handle: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{handle}").resolve().is_relative_to(shared):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        FLOCK(handle, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return shared / ".lock"


def check(path: Path) -> None:
    """One has it, all see that, and then it is free again."""
    assert not is_locked(path)
    with lock(path) as first:
        assert first
        assert is_locked(path)
        with lock(path) as second:
            assert not second
        assert is_locked(path)
    assert not is_locked(path)
    with lock(path) as again:
        assert again


def test_one_has_the_lock(tmp_path: Path) -> None:
    check(tmp_path / ".lock")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_who_only_looks_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes the lock, too, for a moment."""
    with (tmp_path / ".lock").open("w") as looking:
        FLOCK(looking, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda seconds: FLOCK(looking, fcntl.LOCK_UN))
        with lock(tmp_path / ".lock") as free:
            assert free


def test_to_look_makes_no_file(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / ".lock")
    assert not is_locked(tmp_path / "none" / ".lock")
    assert list(tmp_path.iterdir()) == []


def changes(folder: Path) -> None:
    """Each of them alone is the end of a lock."""
    check_held(folder / "a" / "b")
    check_held(folder.parent / "other")
    (folder / ".lock").rename(folder / "lock")
    with pytest.raises(InputError, match="moved or removed"):
        check_held(folder / "a")
    (folder / ".lock").touch()
    with pytest.raises(InputError, match="moved or removed"):
        check_held(folder / "a")
    (folder / "lock").rename(folder / ".lock")
    check_held(folder / "a")
    folder.rename(folder.parent / "moved")
    with pytest.raises(InputError, match="moved or removed"):
        check_held(folder / "a")
    folder.mkdir()
    with pytest.raises(InputError, match="moved or removed"):
        check_held(folder / "a")
    check_held(folder.parent / "moved" / "a")  # of which nobody knows here


def test_a_lock_is_lost_with_its_file_or_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with lock(folder / ".lock") as taken:
        assert taken
        changes(folder)
    check_held(folder / "a")  # after that it is not asked for


def test_a_lock_that_is_not_in_the_folder_is_lost_with_the_folder(without_locks: Path) -> None:
    with lock(without_locks):
        check_held(without_locks)
        without_locks.parent.rename(without_locks.parents[1] / "moved")
        with pytest.raises(InputError, match="moved or removed"):
            check_held(without_locks)


def test_without_locks_in_the_file_system_a_temporary_file_is_locked(without_locks: Path) -> None:
    check(without_locks)
    (stand_in,) = without_locks.parents[1].joinpath("tmp").iterdir()
    assert stand_in.name.startswith("seqrev-")
    other = without_locks.with_name("other")
    with lock(without_locks), lock(other) as free:  # another file, another lock
        assert free


@pytest.mark.parametrize("code", [*sorted(NOT_SUPPORTED), errno.EIO])
def test_where_nothing_can_be_locked_the_system_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_handle: int, _operation: int) -> None:
        raise OSError(code, os.strerror(code))

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError, match=os.strerror(code)), lock(tmp_path / ".lock"):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_is_not_followed(tmp_path: Path, dangling: bool) -> None:
    target = tmp_path / "target"
    if not dangling:
        target.touch()
    (tmp_path / ".lock").symlink_to(target)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), lock(tmp_path / ".lock"):
        pass
    assert not is_locked(tmp_path / ".lock")
    assert target.exists() != dangling


def test_a_fifo_that_somebody_put_there_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert not is_locked(tmp_path / ".lock")
    with lock(tmp_path / ".lock") as free:
        assert free


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from seqrev.system.locks import lock\n"
        "with lock(pathlib.Path(sys.argv[1])) as free:\n"
        "    print(free, flush=True)\n"
        "    time.sleep(600)\n"
    )
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment()) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"True\n"
        assert is_locked(path)
        owner.kill()
        owner.wait()
    assert not is_locked(path)


def test_a_folder_that_cannot_be_looked_at_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with lock(tmp_path / ".lock") as taken, monkeypatch.context() as patch:
        assert taken
        patch.setattr(Path, "stat", fail)
        with pytest.raises(StorageError, match=r"cannot be read: Input/output error"):
            check_held(tmp_path / "file")
