"""Between Python and the disk: every call that goes there is counted, noted, and made to fail or to kill at will.

``pathlib``, ``shutil`` and ``open`` reach the system through functions of ``os``, and for the content of files through
``io.FileIO``; both are replaced while ``watching`` lasts. ``tests.torture.trace`` holds what is seen against ``strace``.
"""

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

Fault = Literal["kill", "EIO", "ENOSPC", "EIO from there on", "ENOSPC from there on"]
FAULTS: dict[str, tuple[Fault, ...]] = {
    "fast": ("kill", "EIO", "ENOSPC"),
    "long": ("kill", "EIO", "ENOSPC", "EIO from there on", "ENOSPC from there on"),
}
NEEDS_ROOM = ("create", "write", "mkdir", "rename", "fsync")  # what a full disk refuses; the rest works there
CHANGES = (*NEEDS_ROOM, "unlink", "rmdir")
CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "stat", "lstat", "listdir", "scandir")


class Call(NamedTuple):
    """One call to the system."""

    name: str
    """create, open, write, read, fsync, rename, mkdir, unlink, rmdir, stat or list."""
    path: str
    target: str = ""
    """Of a rename."""


class Watch:
    """What was called, and where the fault comes."""

    def __init__(self, under: Path, fault: Fault | None = None, at: int = -1) -> None:
        """``under``: calls for other folders are none of ours; ``at``: the call that fails, from 0."""
        self.calls: list[Call] = []
        self.happened = False
        self._under, self._fault, self._at = str(under.absolute()), fault, at

    def __call__(self, call: Call, halfway: Callable[[], object] = lambda: None, /) -> None:
        """Note a call that is about to be made; ``halfway`` does some of it before the fault."""
        if not call.path.startswith(self._under):
            return
        self.calls.append(call)
        number = len(self.calls) - 1
        if self._fault is None or not (number == self._at or (number > self._at and "there on" in self._fault)):
            return
        if not can_happen(self._fault, call):
            return
        first, self.happened = not self.happened, True
        if first:
            halfway()
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        code = errno.ENOSPC if self._fault.startswith("ENOSPC") else errno.EIO
        raise OSError(code, os.strerror(code), call.path)


def can_happen(fault: Fault, call: Call) -> bool:
    """A full disk refuses what needs room; a kill before a call that only reads is one before the next that changes."""
    if fault.startswith("ENOSPC"):
        return call.name in NEEDS_ROOM
    return fault.startswith("EIO") or call.name in CHANGES


class Watcher(Protocol):
    """Receives a call that is about to be made; ``halfway`` does some of it."""

    def __call__(self, call: Call, halfway: Callable[[], object] = ..., /) -> None: ...


@contextmanager
def watching(watch: Watcher) -> Iterator[None]:
    """Send every call through ``watch`` while the block runs."""
    kept = {name: getattr(os, name) for name in CALLS}
    kept_open: Any = builtins.open
    for name, function in kept.items():
        setattr(os, name, _watched(name, function, watch))

    def watched_open(file: Any, mode: str = "r", *arguments: Any, opener: Any = None, **options: Any) -> Any:
        if "b" not in mode or isinstance(file, int):
            return kept_open(file, mode, *arguments, opener=opener, **options)
        if opener is None:
            watch(Call("open" if mode == "rb" else "create", _absolute(file)))
        raw = _WatchedFile(file, mode.replace("b", ""), opener=opener)
        raw.watch, raw.where = watch, _absolute(file)
        return io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw, os.fstat(raw.fileno()).st_blksize)

    builtins.open = io.open = watched_open
    try:
        yield
    finally:
        builtins.open = io.open = kept_open
        for name, function in kept.items():
            setattr(os, name, function)


class _WatchedFile(io.FileIO):
    """A file whose reads and writes are seen. A write that fails has written half."""

    watch: Watcher
    where: str

    def write(self, content: Any, /) -> int:
        half = bytes(content)[: len(bytes(content)) // 2]
        self.watch(Call("write", self.where), lambda: io.FileIO.write(self, half))
        return super().write(content)

    def readinto(self, buffer: Any, /) -> int:
        self.watch(Call("read", self.where))
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self.watch(Call("read", self.where))
        return super().readall()


def _watched(name: str, function: Callable[..., Any], watch: Watcher) -> Callable[..., Any]:
    called = {"replace": "rename", "lstat": "stat", "listdir": "list", "scandir": "list"}.get(name, name)

    def watched(path: Any, *arguments: Any, **options: Any) -> Any:
        where = _absolute(path, options.get("dir_fd"))
        if name in ("rename", "replace"):
            watch(Call(called, where, _absolute(arguments[0])))
        elif name == "open" and arguments and arguments[0] & os.O_CREAT:
            watch(Call("create", where))
        else:
            watch(Call(called, where))
        return function(path, *arguments, **options)

    return watched


def _absolute(path: Any, folder: int | None = None) -> str:
    if isinstance(path, int):
        return str(Path(f"/proc/self/fd/{path}").readlink())
    if folder is not None:
        return f"{Path(f'/proc/self/fd/{folder}').readlink()}/{os.fspath(path)}"
    return str(Path(path).absolute())
