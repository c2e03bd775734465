"""Reading and writing files so that a reader never meets half of one."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from seqrev.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all: a temporary file beside it, flushed to disk, then one rename."""
    with open_whole(path) as file:
        file.write(content)


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Like ``write_whole``, for content that is produced piece by piece. After an error nothing is left behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, document: Any) -> None:
    """Write strict JSON (no NaN, no infinity), readable by people."""
    write_whole(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, largest: int = 10_000_000) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: missing, too large, or not a JSON object.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path} is missing.")
        if path.stat().st_size > largest:
            raise InputError(f"{path} is larger than {largest:,} bytes.")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not valid JSON.") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} does not hold a JSON object.")
    return document


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
