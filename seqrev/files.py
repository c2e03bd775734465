"""Reading and writing files: a reader never meets half of one, and never follows a trap.

Written: into a temporary file beside the target, flushed to disk, renamed, and the folder flushed. Read: regular files
only, of a size that was expected. A FIFO would block for ever, a device may have no end, a link leads out of the run.
"""

import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from seqrev.errors import InputError, StorageError

LARGEST_JSON = 10_000_000  # bytes
DEEPEST_JSON = 32  # levels; no file of a run has more than six
TEMPORARY = re.compile(r"\..+\.\d+\.(tmp|old)")  # what a writer that was killed leaves behind


# --- writing --------------------------------------------------------------------------------------------------------


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all.

    Raises:
        StorageError: the disk refused; the old file, if there was one, stands.
    """
    with open_whole(path) as file:
        file.write(content)


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Like ``write_whole``, for content that is produced piece by piece. After an error nothing is left behind."""
    temporary = temporary_name(path)
    try:
        with storage_errors(path):
            temporary.unlink(missing_ok=True)  # or it would be written through a link that somebody put there
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise


def temporary_name(path: Path, suffix: str = "tmp") -> Path:
    """Where something is built before it is renamed to ``path``: hidden, beside it, and this process's own."""
    return path.with_name(f".{path.name}.{os.getpid()}.{suffix}")


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in a folder. Only its owner may do so: others' work looks the same."""
    for path in folder.iterdir() if is_folder(folder) else ():
        if TEMPORARY.fullmatch(path.name):
            if is_folder(path):
                shutil.rmtree(path)
            else:
                path.unlink()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut; one that is there is kept."""
    with suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)  # in any case: whoever made it may have been killed before this


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the system refuses while ``path`` is written into an error that names it."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from None


def write_json(path: Path, document: Any) -> None:
    """Write strict JSON (no NaN, no infinity), readable by people."""
    write_whole(path, to_json(document))


def to_json(document: Any) -> bytes:
    """How documents are written."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


# --- reading --------------------------------------------------------------------------------------------------------


def is_folder(path: Path) -> bool:
    """Whether it is a folder itself, not a link to one; what cannot be looked at is none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def open_regular(path: Path, expected: str = "a file", hint: str = "", follow: bool = True) -> Iterator[BufferedReader]:
    """Open a file for reading if it is a regular one; errors while it is read are told as well.

    Args:
        path: the file.
        expected: what the error says was expected.
        hint: the command that the error proposes.
        follow: whether a link will do. Not inside a run: whoever made the run may be somebody else.

    Raises:
        InputError: it is missing, a folder, a FIFO, a device, perhaps a link, or cannot be read.
    """
    try:
        if not follow and path.is_symlink():
            raise InputError(f"{path} is a link; {expected} was expected.", hint)
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is not a regular file; {expected} was expected.", hint)
            yield file
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; {expected} was expected.", hint) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; {expected} was expected.", hint) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.", hint) from None
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise InputError(f"{str(path)!r} is no name that a file can have.", hint) from None


def _open_without_waiting(path: str, flags: int) -> int:
    """A FIFO is opened at once, though nobody writes to it, and then refused."""
    return os.open(path, flags | os.O_NONBLOCK)


def is_file(path: Path) -> bool:
    """Whether there is such a file; no, where the name is one that no file can have, or may not be looked at."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_regular(path: Path, largest: int, expected: str = "a file", hint: str = "", follow: bool = True) -> bytes:
    """The content of a regular file of at most ``largest`` bytes; what ``open_regular`` refuses is refused.

    Raises:
        InputError: or it is larger.
    """
    with open_regular(path, expected, hint, follow) as file:
        too_large = os.fstat(file.fileno()).st_size > largest
        content = b"" if too_large else file.read(largest + 1)
    if too_large or len(content) > largest:
        raise InputError(f"{path} is larger than {largest:,} bytes; {expected} was expected.", hint)
    return content


def read_lines(file: BinaryIO, name: str, longest: int) -> Iterator[bytes]:
    """The lines of a file, one after the other, each at most ``longest`` bytes.

    Raises:
        InputError: a line is longer; the message has its number.
    """
    number = 0
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise InputError(f"{name}: line {number} is longer than {longest:,} bytes.")
        yield line


def read_text_lines(file: BinaryIO, name: str, longest: int) -> Iterator[str]:
    """Like ``read_lines``, as text.

    Raises:
        InputError: a line is too long, or not UTF-8.
    """
    for number, line in enumerate(read_lines(file, name, longest), start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise InputError(f"{name} is not text: line {number} is not UTF-8.") from None


def read_json(path: Path, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """Read a JSON object from a file of a run.

    Raises:
        InputError: missing, a link, too large, or not a JSON object.
    """
    return parse_json(read_regular(path, largest, "a JSON object", follow=False), path)


def parse_json(content: bytes, name: object) -> dict[str, Any]:
    """Read a JSON object; ``name`` says in the error where it came from.

    Raises:
        InputError: it is none, or one that could not be written again: nested too deep, or with numbers that are none.
    """
    try:
        document = json.loads(content)
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
    """The SHA-256 of a file of a run, in hexadecimal.

    Raises:
        InputError: the file is missing, a link, or cannot be read.
    """
    with open_regular(path, follow=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
