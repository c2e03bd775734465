"""``run.json``: what ran in a run folder, and how each attempt ended."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from seqrev.errors import InputError
from seqrev.system.files import read_json, write_json
from seqrev.system.text import shorten

SCHEMA = 2  # of run folders; those of another one are refused
OF_THE_RUN = ("schema", "run", "seed", "opened", "dataset_sha256", "extended", "attempts")  # all else is of one attempt


class Record:
    """The record of one run; the file is read when asked, and replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run.json"

    def read(self) -> dict[str, Any]:
        """The fields; raise ``InputError`` if the file is missing, damaged, or of another version."""
        record = read_json(self.path)
        if record.get("schema") != SCHEMA:
            raise InputError(
                f"{self.path.parent} was made by another version of seqrev (run folders of schema "
                f"{shorten(record.get('schema'))}); this version reads schema {SCHEMA}.",
                "seqrev train --config small",
            )
        return record

    def other_version(self) -> str:
        """A sentence, if another version of seqrev was the last at work here; else nothing."""
        with suppress(InputError):
            versions = self.read().get("versions")
            made = versions.get("seqrev") if isinstance(versions, dict) else None
            if made not in (None, own := metadata.version("seqrev")):
                return f" The run was made by seqrev {shorten(made, 20)}, and this is {own}."
        return ""

    def create(self, seed: int) -> None:
        """The run was opened."""
        opened = {"schema": SCHEMA, "run": self.path.parent.name, "seed": seed, "opened": now(), "status": "opened"}
        write_json(self.path, {**opened, **_provenance(), "attempts": []})

    def update(self, **values: Any) -> None:
        """Change some fields."""
        write_json(self.path, {**self.read(), **values})

    def begin_attempt(self, **values: Any) -> None:
        """A training attempt of the owner of the lock begins: what is known of the one before moves to ``attempts``."""
        record = self.read()
        attempts = _entries(record, "attempts")
        if "started" in record:
            last = {key: record.pop(key) for key in list(record) if key not in OF_THE_RUN}
            attempts.append({**last, "status": "crashed"} if last.get("status") == "running" else last)
        started = {"status": "running", "started": now(), **_provenance(), **values}
        write_json(self.path, {**record, **started, "attempts": attempts})

    def extend(self, planned: int, steps: int) -> None:
        """More steps are planned than before; both numbers are kept."""
        self.update(extended=[*_entries(self.read(), "extended"), {"from": planned, "to": steps, "at": now()}])


def _entries(record: dict[str, Any], name: str) -> list[Any]:
    entries = record.get(name)
    return entries if isinstance(entries, list) else []


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _provenance() -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in ("seqrev", "torch", "numpy", "safetensors")}
    versions["python"] = platform.python_version()
    return {"command": sys.argv, "pid": os.getpid(), "versions": versions, "platform": platform.platform(), "git": _git()}


def _git() -> dict[str, Any] | None:
    """Commit of the checkout that this package runs from, and whether it was changed; None outside a checkout."""
    package = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=10).stdout.decode(errors="replace").strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # an installed package may lie inside somebody else's checkout
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None
