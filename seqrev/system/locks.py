"""A lock for one process: the kernel's, which goes with the process, however that ends."""

import errno
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seqrev.errors import InputError, StorageError

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int, _shared: bool) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # there is no shared one
        except PermissionError:
            return False
        return True

    def _give_back(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # to close the file is enough, but may take effect later
else:
    import fcntl

    def _take(handle: int, shared: bool) -> bool:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _give_back(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}  # of file systems without locks
TRIES, BETWEEN_TRIES = 10, 0.02  # the latter in seconds
# Windows has neither flag, nor a FIFO that would block for ever.
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


_held: dict[int, dict[Path, os.stat_result]] = {}  # of each lock of this process, by handle: its folder and its file, then


@contextmanager
def lock(path: Path, shared: bool = False) -> Iterator[bool]:
    """Hold the lock of a file while the block runs; False: another process has it. Raises ``OSError`` as ``os.open`` does.

    ``shared``: only look, and make no file. Where the file system has no locks (some shared folders), a file in this
    machine's own folder for temporary files is locked instead: other machines do not see it.
    """
    flags, file, folder = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT, path.absolute(), path.absolute().parent
    try:
        handle, taken = _open(file, flags, shared)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        file = _stand_in(path)
        handle, taken = _open(file, flags, shared)
    try:
        if taken and not shared:
            _held[handle] = {folder: folder.stat(), file: os.fstat(handle)}
        yield taken
    finally:
        if taken:
            _held.pop(handle, None)
            _give_back(handle)
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file; asks for it only for a moment."""
    with suppress(OSError), lock(path, shared=True) as free:
        return not free
    return False


def check_held(path: Path) -> None:
    """To be called before something in a folder is written: whoever has the lock of the folder must still have it.

    Raises:
        InputError: this process took the lock, but folder or lock was moved or removed since, and may be another's by now.
    """
    for things in list(_held.values()):
        folder = next(iter(things))
        if path.absolute().is_relative_to(folder) and not all(_is_still(*thing) for thing in things.items()):
            raise InputError(
                f"{folder} was moved or removed, or the file .lock in it was, while this process was at work there. "
                "It wrote nothing since. Go on with the run under its new name, or begin another.",
                "seqrev runs",
            )


def _is_still(path: Path, before: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), before)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from None


def _open(path: Path, flags: int, shared: bool) -> tuple[int, bool]:
    """The open file, and whether its lock was taken."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    handle = os.open(path, flags | SAFELY, 0o666)
    try:
        for _ in range(0 if shared else TRIES):  # one who only looks has it for a moment
            if _take(handle, shared):
                return handle, True
            time.sleep(BETWEEN_TRIES)
        return handle, _take(handle, shared)
    except BaseException:
        os.close(handle)
        raise


def _stand_in(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    return Path(tempfile.gettempdir()) / f"seqrev-{name[:32]}.lock"
