"""What the machine cannot hold is refused at the start, rather than after hours; and no more threads are told as that."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seqrev.errors import SeqrevError, StorageError, UsageError
from seqrev.system.signals import Interrupted

if sys.platform == "win32":
    import ctypes

    def _memory() -> int:
        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return 1024 * kilobytes.value
else:

    def _memory() -> int:
        return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits()])


CONTROL_GROUPS = Path("/sys/fs/cgroup")  # of Linux: a container, or a job on a cluster, may have less than the machine
OWN_GROUP = Path("/proc/self/cgroup")


def _limits() -> list[int]:
    """The limits of this process's control group, and of those around it; of version 1 only that of a container."""
    files = [CONTROL_GROUPS / "memory" / "memory.limit_in_bytes"]
    with suppress(OSError, ValueError):
        own = CONTROL_GROUPS / OWN_GROUP.read_text().strip().rpartition("::")[2].lstrip("/")
        files += [group / "memory.max" for group in (own, *own.parents) if group.is_relative_to(CONTROL_GROUPS)]
    limits = []
    for file in files:
        with suppress(OSError, ValueError):  # it is not there, or says "max"
            limits.append(int(file.read_text()))
    return limits


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Raise ``StorageError`` if ``needed`` bytes for ``what`` are more than is free where ``folder`` is, or will be."""
    for existing in (folder.absolute(), *folder.absolute().parents):
        with suppress(OSError):  # not there yet
            disk = shutil.disk_usage(existing)
            break
    if disk.total and needed > disk.free:  # /proc and its like have no size: mkdir will say what is wrong
        raise StorageError(f"{what} needs about {_size(needed)} of disk, and {_size(disk.free)} are free at {existing}.")


def check_memory(needed: int, what: str, hint: str = "a smaller model, shorter sequences or fewer of them") -> None:
    """Raise ``UsageError`` if ``needed`` bytes for ``what`` are more than this machine has, or its container."""
    available = _memory()
    if needed > available > 0:  # some virtual machines do not say how much they have
        problem = f"{what} needs at least {_size(needed)} of memory, and there are {_size(available)} here."
        raise UsageError(problem, hint)


@contextmanager
def thread_errors() -> Iterator[None]:
    """Turn what is raised where no thread can be started into an error that says so.

    OpenBLAS, which NumPy loads, sends SIGINT to its own process then. Nothing else tells that from Ctrl-C.
    """
    error = SeqrevError(
        "No more threads can be started: too many processes run, or the limit of this user or container is too low.",
        "the same command with OMP_NUM_THREADS=1 before it, which starts fewer; or a higher limit (ulimit -u)",
    )
    try:
        yield
    except RuntimeError as problem:
        if "can't start new thread" not in str(problem):
            raise
        raise error from None
    except Interrupted as stopped:
        if stopped.signum != signal.SIGINT or _can_start_thread():
            raise
        raise error from None


def _can_start_thread() -> bool:
    thread = threading.Thread(target=lambda: None)
    with suppress(RuntimeError):
        thread.start()
        thread.join()
    return thread.ident is not None


def _size(count: int) -> str:
    """Bytes, in the largest unit that leaves a whole number: ``3 GB``."""
    for power, unit in ((18, "EB"), (15, "PB"), (12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count // 10**power:,} {unit}"
    return f"{count} bytes"
