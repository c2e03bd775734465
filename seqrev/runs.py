"""Run folders: opened once, numbered, never overwritten; and the record of what ran in them."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from seqrev.checkpoints import best_first
from seqrev.config import Config, load_config, to_yaml
from seqrev.errors import InputError, UsageError, shorten
from seqrev.files import read_json, write_json, write_whole


class Run:
    """One run folder. What stands in it is read when asked for; nothing is kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def data(self) -> Path:
        """The dataset: JSONL files and their manifest."""
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        """The checkpoint store."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object for each event of the training."""
        return self.path / "metrics.jsonl"

    def config(self) -> Config:
        """The resolved configuration of this run.

        Raises:
            InputError: it is missing, cannot be read or is not valid.
        """
        try:
            return load_config(self.path / "config.yaml")
        except UsageError as error:
            raise InputError(str(error)) from None

    def record(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            InputError: it is missing or damaged.
        """
        return read_json(self.path / "run.json")

    def update(self, **values: Any) -> None:
        """Change fields of ``run.json``; the file is replaced whole."""
        write_json(self.path / "run.json", {**self.record(), **values})

    def has_config(self) -> bool:
        """Whether the run was opened to its end."""
        return (self.path / "config.yaml").is_file()

    def has_dataset(self) -> bool:
        """Whether a dataset was written to its end."""
        return (self.data / "manifest.json").is_file()

    def has_checkpoint(self) -> bool:
        """Whether there is anything to load."""
        return bool(best_first(self.checkpoints))

    def numbered(self, folder: str, suffix: str) -> Path:
        """Take the next free name in ``folder``, ``001.png``, ``002.png``, …, by making an empty file of it."""
        (self.path / folder).mkdir(exist_ok=True)
        number = max((int(path.stem) for path in (self.path / folder).iterdir() if path.stem.isdecimal()), default=0)
        while True:
            number += 1
            path = self.path / folder / f"{number:03d}{suffix}"
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:
                continue


def open_run(runs_dir: Path, config: Config) -> Run:
    """Make the next run folder and write its configuration and its record.

    The folder is taken by an exclusive ``mkdir``: of many processes that start at once, each gets its own.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        number = max((int(run.path.name) for run in _numbered_folders(runs_dir)), default=0) + 1
        while True:
            path = runs_dir / f"{number:03d}"
            try:
                path.mkdir()
                break
            except FileExistsError:
                number += 1
    except OSError as error:
        raise InputError(
            f"No run can be opened in {runs_dir}: {error.strerror}. A folder that can be written was expected.",
            "seqrev train --runs-dir FOLDER",
        ) from None
    run = Run(path)
    write_whole(path / "config.yaml", to_yaml(config).encode())
    write_json(path / "run.json", {"schema": 1, "run": path.name, "status": "opened", "seed": config.seed, **_provenance()})
    return run


def find_run(spec: str | None, runs_dir: Path, serves: Callable[[Run], bool], what: str) -> Run:
    """The run that the user means.

    Args:
        spec: a path (``runs/001``), a number (``001``, ``1``), ``latest``, or None, which is the latest.
        runs_dir: where numbered runs are.
        serves: what the run must have; the latest is the latest that serves.
        what: names that in the error, as in "a usable checkpoint".

    Raises:
        InputError: there is no such run, or it does not serve.
    """
    hint = "seqrev train --config configs/small.yaml"
    if spec is None or spec == "latest":
        for run in sorted(_numbered_folders(runs_dir), key=lambda run: int(run.path.name), reverse=True):
            if (run.path / "run.json").is_file() and serves(run):
                return run
        raise InputError(f"No run in {runs_dir} has {what}.", hint)
    path = runs_dir / f"{int(spec):03d}" if re.fullmatch(r"\d{1,9}", spec) else Path(spec)
    try:
        is_run = (path / "run.json").is_file()
    except (OSError, ValueError):  # a name that no file can have
        is_run = False
    if not is_run:
        raise InputError(f"{shorten(str(path), 80)} is not a run folder: there is no run.json in it.", hint)
    run = Run(path)
    if not serves(run):
        raise InputError(f"{run} does not have {what}.", f"seqrev train --run {run}")
    return run


def _numbered_folders(runs_dir: Path) -> Iterator[Run]:
    if runs_dir.is_dir():
        for path in runs_dir.iterdir():
            if re.fullmatch(r"\d{3,9}", path.name):
                yield Run(path)


# --- metrics --------------------------------------------------------------------------------------------------------


class MetricsWriter:
    """Appends events to ``metrics.jsonl``, one strict JSON object a line."""

    def __init__(self, path: Path, steps_done: int, validated: bool = True) -> None:
        """Open; events that a continued training is about to repeat are dropped first.

        These are the events after ``steps_done``, and its validation if that is not ``validated``, which happens where
        a training was killed between writing the event and committing the checkpoint.
        """
        kept = [row for row in read_metrics(path) if row["step"] <= steps_done]
        if not validated:
            kept = [row for row in kept if row["step"] < steps_done or row.get("event") != "validation"]
        write_whole(path, "".join(_to_line(row) for row in kept).encode())
        self._file = path.open("a", encoding="utf-8")
        self.seconds: float = kept[-1].get("seconds", 0.0) if kept else 0.0
        """Training time up to the last event that was kept."""

    def append(self, **values: Any) -> None:
        """Add one event."""
        self._file.write(_to_line(values))

    def sync(self) -> None:
        """Bring all events to disk; to be called before the checkpoint that follows them is committed."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The events of a run; a torn last line, as a crash leaves it, is passed over.

    Raises:
        InputError: the file cannot be read, or another line is not a JSON object with a step.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if type(row["step"]) is not int:
                raise ValueError
            rows.append(row)
        except (ValueError, KeyError, TypeError, RecursionError):
            if number == len(lines):
                break
            raise InputError(f"{path} is damaged in line {number}: a JSON object with a step was expected.") from None
    return rows


def _to_line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


# --- provenance -----------------------------------------------------------------------------------------------------


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _provenance() -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in ("seqrev", "torch", "numpy", "safetensors"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"command": sys.argv, "versions": versions, "platform": platform.platform(), "git": _git(), "opened": now()}


def _git() -> dict[str, Any] | None:
    """Commit of the checkout that this package runs from, and whether it was changed; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "runs.py")  # an installed package may lie inside somebody else's checkout
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None
