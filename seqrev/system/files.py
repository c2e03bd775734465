"""Reading and writing files: a reader never meets half of one, and never opens a trap.

Written: a temporary file beside the target, flushed to disk, renamed, and the folder flushed. Read: regular files only,
of a size that was expected: a FIFO would block for ever, a device may have no end, a link leads out of the run.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from seqrev.errors import InputError, StorageError
from seqrev.system.locks import check_held
from seqrev.system.text import shorten

DEEPEST_JSON = 32  # levels; no file of a run has more than six
JUNCTION = 0xA0000003  # how Windows marks a folder that leads elsewhere, as a link does
CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}  # what shared folders say of themselves
WINDOWS = sys.platform == "win32"
OPENED = re.compile(r"/dev/stdin|/dev/fd/\d+|/proc/self/fd/\d+")
TEMPORARY = re.compile(r"\..+\.\d+\.(tmp|old)")  # what a killed writer leaves behind


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all; raise ``StorageError`` if the disk refuses."""
    with atomic_open(path) as file:
        file.write(content)


@contextmanager
def atomic_open(path: Path) -> Iterator[BinaryIO]:
    """Like ``atomic_write``, piece by piece. After an error nothing is left behind, and an old file is unchanged."""
    check_held(path)
    temporary = temporary_path(path)
    try:
        with storage_errors(path):
            temporary.unlink(missing_ok=True)  # or it would be written through a link that somebody put there
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            move(temporary, path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise


def temporary_path(path: Path, suffix: str = "tmp") -> Path:
    """Where something is built before it is renamed to ``path``: hidden, beside it, and this process's own."""
    return path.with_name(f".{path.name}.{os.getpid()}.{suffix}")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder. Only its owner may do so: unfinished work of others looks the same."""
    for path in paths_in(folder):
        if TEMPORARY.fullmatch(path.name):
            if is_folder(path):
                shutil.rmtree(path)
            else:
                path.unlink()


def move(source: Path, target: Path) -> None:
    """Rename; a file that is at ``target`` is replaced. On Windows, wait two seconds for whoever has one of them open."""
    check_held(target)
    for _ in range(100 if WINDOWS else 0):
        with suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(0.02)
    source.replace(target)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut, where the system can do that."""
    if WINDOWS:  # which has no call for it
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut; an existing one is kept."""
    check_held(folder)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)  # in any case: whoever made it may have been killed before this


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the system refuses while ``path`` is written into an error that names it."""
    try:
        yield
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)  # by no lack of room
        folder = path if is_folder(path) else path.parent
        look = f"make {folder} a folder that you may write in" if refused else StorageError.look
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.", look + StorageError.then) from None


def write_json(path: Path, document: Any) -> None:
    """Write strict JSON (no NaN, no infinity), readable by people."""
    atomic_write(path, to_json(document))


def to_json(document: Any) -> bytes:
    """How documents are written."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def is_folder(path: Path) -> bool:
    """Whether it is a folder itself, not a link to one; what may not be looked at is none."""
    with suppress(OSError, ValueError):
        return stat.S_ISDIR(path.lstat().st_mode) and not is_link(path)
    return False


def is_link(path: Path) -> bool:
    """Whether it leads elsewhere: a link or, on Windows, a junction; raise ``OSError`` if it may not be looked at."""
    return path.is_symlink() or (WINDOWS and path.exists() and getattr(path.lstat(), "st_reparse_tag", 0) == JUNCTION)


def paths_in(folder: Path) -> list[Path]:
    """What is in a folder of a run, in order; nothing, where there is none. Raise ``InputError`` if it may not be read."""
    try:
        return sorted(folder.iterdir()) if is_folder(folder) else []
    except OSError as error:
        raise cannot_read(folder, error, f"make {folder} a folder that you may read") from None


def cannot_read(path: Path, error: OSError, hint: str = "") -> InputError:
    """The error for a user where the system refuses to read."""
    if not hint and isinstance(error, PermissionError):
        hint = f"make {path} a file that you may read"
    return InputError(f"{path} cannot be read: {error.strerror or error}.", hint)


def is_file(path: Path) -> bool:
    """Whether there is such a file; no, where the name is one that no file can have, or may not be looked at."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def expand_home(path: str) -> str:
    """A path whose ``~`` is written out, if there is a home."""
    return os.path.expanduser(path)  # noqa: PTH111 - that of Path fails without a home


def is_forbidden(path: Path) -> bool:
    """Whether nothing is known of a file because its folder, or one above it, may not be looked into."""
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        pass
    return False


@contextmanager
def open_regular(path: Path, expected: str = "a file", hint: str = "", follow: bool = True) -> Iterator[BufferedReader]:
    """Open a file for reading; raise ``InputError`` if it is missing, not a regular one, or cannot be read, now or later.

    A pipe that the shell has opened is as good: ``/dev/stdin``, ``/dev/fd/63``.

    Links are not to be followed inside a run, which somebody else may have made.
    """
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} is no name that a file can have.", hint)
    try:
        if not follow and is_link(path):
            raise InputError(f"{path} is a link; {expected} was expected.", hint)
        opened = follow and OPENED.fullmatch(str(path)) is not None  # by the shell, as in --file <(…): somebody writes
        # another FIFO is opened at once, though nobody writes to it, and then refused; Windows has none
        wait = 0 if opened else getattr(os, "O_NONBLOCK", 0)
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | wait)) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) and not (opened and stat.S_ISFIFO(mode)):
                raise InputError(f"{path} is not a regular file; {expected} was expected.", hint)
            yield file
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; {expected} was expected.", hint) from None
    except OSError as error:
        if isinstance(error, IsADirectoryError) or (WINDOWS and path.is_dir()):
            raise InputError(f"{path} is a folder; {expected} was expected.", hint) from None
        raise cannot_read(path, error, hint) from None


def read_regular(path: Path, largest: int, expected: str = "a file", *, hint: str = "", follow: bool = True) -> bytes:
    """The content of a file of at most ``largest`` bytes; raise ``InputError`` for others, and as ``open_regular`` does."""
    with open_regular(path, expected, hint, follow=follow) as file:
        if os.fstat(file.fileno()).st_size <= largest:
            content = file.read(largest + 1)
            if len(content) <= largest:
                return content
    raise InputError(f"{path} is larger than {largest:,} bytes; {expected} was expected.")


def read_lines(file: BinaryIO, name: str, longest: int) -> Iterator[bytes]:
    """The lines of a file; raise ``InputError`` with its number at one that has more than ``longest`` bytes."""
    for number, line in enumerate(iter(lambda: file.readline(longest + 1), b""), start=1):
        if len(line) > longest:
            raise InputError(f"{name}: line {number} is longer than {longest:,} bytes.")
        yield line


def read_json(path: Path, largest: int = 10_000_000) -> dict[str, Any]:
    """Read a JSON object from a file of a run; raise ``InputError`` if it is missing, a link, too large, or no such."""
    return parse_json(read_regular(path, largest, "a JSON object", follow=False), path)


class DuplicateNameError(ValueError):
    """A name is twice in a JSON object: readers differ in which of the two counts."""


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``object_pairs_hook`` for ``json.loads``; raise ``DuplicateNameError`` for a name that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DuplicateNameError(f"{shorten(twice, 40)} is in it twice")
    return found


def parse_json(content: bytes, name: object) -> dict[str, Any]:
    """Read a JSON object; raise ``InputError``, with its ``name``, for none, or one that could not be written again."""
    try:
        document = json.loads(content, object_pairs_hook=unique_names)
    except DuplicateNameError as error:
        raise InputError(f"{name} is not valid JSON: {error}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not valid JSON.") from None
    if not isinstance(document, dict):
        raise InputError(f"{name} does not hold a JSON object.")
    level: list[Any] = [document]
    for _ in range(DEEPEST_JSON):
        if not all(math.isfinite(value) for value in level if isinstance(value, float)):
            raise InputError(f"{name} is not valid JSON: it has NaN or infinity in it.")
        inner = [value for value in level if isinstance(value, dict | list)]
        level = [child for value in inner for child in (value.values() if isinstance(value, dict) else value)]
        if not level:
            return document
    raise InputError(f"{name} is nested more than {DEEPEST_JSON} levels deep.")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file of a run, in hexadecimal; raise ``InputError`` if it is missing, a link, or not readable."""
    with open_regular(path, follow=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
