"""Commands, with a + between them, as on Windows: ``python -m tests.system.windows runs + decode 4 8``.

On another system, what Windows does not have is taken away, and files that are open can be neither renamed nor removed.
Paths, and the line ends of text files, stay those of that system.
"""

import ctypes
import errno
import importlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

NO_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
NOT_IN_OS = (
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC"),
    *(
        "fork",
        "forkpty",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "killpg",
        "mkfifo",
        "mknod",
        "setsid",
        "statvfs",
        "sysconf",
    ),
)
HAS_SIGNALS = ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM")
OWN = ("files", "locks", "resources", "signals")  # modules that ask which system this is


def become() -> None:
    """Be like Windows from now on."""
    statvfs, disk_usage = os.statvfs, shutil.disk_usage
    _replace_files_as_windows_does()
    _make_msvcrt()
    for name in NO_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # which makes an import fail
    for name in NOT_IN_OS:
        if hasattr(os, name):
            delattr(os, name)
    for name in [name for name in vars(signal) if name.startswith("SIG") and name[3:4] not in "_"]:
        if name not in (*HAS_SIGNALS, "SIGKILL"):  # which subprocess needs here
            delattr(signal, name)
    known, register = [getattr(signal, name) for name in HAS_SIGNALS], signal.signal

    def only_known(signum: int, handler: Any) -> Any:
        if signum not in known:
            raise ValueError("signal number out of range")
        return register(signum, handler)

    signal.signal = only_known  # type: ignore[assignment]

    def usage(path: Any) -> Any:
        with mock.patch.object(os, "statvfs", statvfs, create=True):
            return disk_usage(path)

    shutil.disk_usage = usage

    def memory(reference: Any) -> int:
        reference._obj.value = 16 * 2**20  # kilobytes
        return 1

    kernel = SimpleNamespace(GetPhysicallyInstalledSystemMemory=memory)
    ctypes.windll = SimpleNamespace(kernel32=kernel)  # type: ignore[attr-defined]  # where there is none
    with mock.patch.object(sys, "platform", "win32"):
        for name in OWN:
            importlib.import_module(f"seqrev.system.{name}")


def _make_msvcrt() -> None:
    """Locks as ``msvcrt`` has them: of a byte, never shared, and refused as a permission would be."""
    import fcntl

    def locking(handle: int, mode: int, count: int) -> None:
        assert count == 1
        try:
            fcntl.flock(handle, fcntl.LOCK_UN if mode == module.LK_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    module: Any = ModuleType("msvcrt")
    module.locking, module.LK_UNLCK, module.LK_NBLCK = locking, 0, 2
    sys.modules["msvcrt"] = module


def _replace_files_as_windows_does() -> None:
    import fcntl

    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    tempfile.gettempdir()
    open_, fsync, writing = os.open, os.fsync, os.O_WRONLY | os.O_RDWR

    def open_no_folder(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if os.path.isdir(path):  # noqa: PTH112
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_(path, flags, *arguments, **options)

    def fsync_what_is_written(fd: Any) -> None:
        if not fcntl.fcntl(fd, fcntl.F_GETFL) & writing:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(fd)

    os.open, os.fsync = open_no_folder, fsync_what_is_written
    for name in ("rename", "replace", "unlink", "remove", "rmdir"):
        setattr(os, name, _refusing_what_is_open(getattr(os, name)))


def _refusing_what_is_open(change: Callable[..., None]) -> Callable[..., None]:
    def changed(*paths: Any, **options: Any) -> None:
        given = [Path(os.path.realpath(path)) for path in paths]
        for handle in Path("/proc/self/fd").iterdir():
            try:
                name = Path(os.readlink(handle))  # noqa: PTH115
            except OSError:  # that of the listing
                continue
            if any(path == name or path in name.parents for path in given):
                raise PermissionError(errno.EACCES, "The process cannot access the file", str(name))
        change(*paths, **options)

    return changed


if __name__ == "__main__":
    if sys.platform != "win32":
        become()
    from seqrev.cli import main

    words = iter(sys.argv[1:])
    while command := list(itertools.takewhile(lambda word: word != "+", words)):
        if code := main(command):
            sys.exit(code)
