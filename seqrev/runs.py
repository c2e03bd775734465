"""Run folders: opened once, numbered, never overwritten; and the record of what ran in them."""

import fcntl
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from seqrev.checkpoints import best_first
from seqrev.config import Config, load_config, parse_config, to_yaml
from seqrev.errors import InputError, UsageError, shorten
from seqrev.files import (
    is_file,
    make_folder,
    read_json,
    remove_leftovers,
    storage_errors,
    sync_folder,
    write_json,
    write_whole,
)

CONSTANT = (
    "schema",
    "run",
    "seed",
    "opened",
    "dataset_sha256",
    "extended",
    "sittings",
)  # of a run; all else is of a sitting
FOLDERS = ("data", "checkpoints", "learning", "evaluation", "attention", "tensorboard")


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

    @property
    def learning(self) -> Path:
        """Attention at a series of training steps."""
        return self.path / "learning"

    def check_folders(self) -> None:
        """Refuse a run whose folders lead elsewhere: what is written and deleted in them must be its own.

        Raises:
            InputError: one of them is a link, or not a folder.
        """
        for path in (self.path / name for name in FOLDERS):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise InputError(f"{path} is not a folder of its own; a run keeps everything inside itself.")

    def config(self) -> Config:
        """The resolved configuration of this run.

        Raises:
            InputError: it is missing, cannot be read or is not valid.
        """
        try:
            return load_config(self.path / "config.yaml", follow=False)
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

    def begin(self, **values: Any) -> None:
        """Record that a sitting begins: what ran the one before is moved to ``sittings``, what runs this one replaces it.

        To be called by the owner of the lock: a record that still says ``running`` is then one of a crash.
        """
        record = self.record()
        earlier = record.get("sittings")
        sittings = earlier if isinstance(earlier, list) else []
        if "started" in record:
            last = {key: record.pop(key) for key in list(record) if key not in CONSTANT}
            sittings = [*sittings, {**last, "status": "crashed"} if last.get("status") == "running" else last]
        write_json(
            self.path / "run.json",
            {**record, "status": "running", "started": now(), **_provenance(), **values, "sittings": sittings},
        )

    def extend(self, steps: int) -> None:
        """Plan a training of more steps than it was begun with; ``run.json`` keeps what was planned before.

        Raises:
            UsageError: they are not more.
            InputError: another process is at work in this run.
        """
        config = self.config()
        planned = config.train.steps
        if steps <= planned:
            raise UsageError(
                f"{self} is planned for {planned:,} steps; more were expected, not {steps:,}.",
                f"seqrev train --run {self} --steps {2 * planned}",
            )
        tree = config.model_dump()
        tree["train"]["steps"] = steps
        longer = parse_config(tree, f"--steps {steps}")
        with self.locked():
            earlier = self.record().get("extended")
            self.update(
                extended=[*(earlier if isinstance(earlier, list) else []), {"from": planned, "to": steps, "at": now()}]
            )
            write_whole(self.path / "config.yaml", to_yaml(longer).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who generates or trains in this run; what an owner before left unfinished is cleaned away.

        The lock is the kernel's (``flock``): it goes with the process, however that ends.

        Raises:
            InputError: another process has it.
        """
        path = self.path / ".lock"
        with storage_errors(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"Another process is at work in {self}; two must not write to one run.",
                    "the same command when it is done, or seqrev train --config configs/small.yaml for a new run",
                ) from None
            with storage_errors(self.path):
                for folder in (self.path, self.data, self.checkpoints, self.learning):
                    remove_leftovers(folder)
            yield
        finally:
            os.close(handle)

    def has_config(self) -> bool:
        """Whether the run was opened to its end."""
        return is_file(self.path / "config.yaml")

    def has_dataset(self) -> bool:
        """Whether a dataset was written to its end."""
        return is_file(self.data / "manifest.json")

    def has_checkpoint(self) -> bool:
        """Whether there is anything to load."""
        return bool(best_first(self.checkpoints))

    def numbered(self, folder: str, suffix: str) -> Path:
        """Take the next free name in ``folder``, ``001.png``, ``002.png``, …, by making an empty file of it."""
        with storage_errors(self.path / folder):
            make_folder(self.path / folder)
            there = (path.stem for path in (self.path / folder).iterdir())
            number = max((int(name) for name in there if re.fullmatch(r"\d{3,9}", name)), default=0)
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
        sync_folder(runs_dir)
    except OSError as error:
        raise InputError(
            f"No run can be opened in {runs_dir}: {error.strerror}. A folder that can be written was expected.",
            "seqrev train --runs-dir FOLDER",
        ) from None
    run = Run(path)
    write_whole(path / "config.yaml", to_yaml(config).encode())
    record = {"schema": 1, "run": path.name, "seed": config.seed, "opened": now(), "status": "opened"}
    write_json(path / "run.json", {**record, **_provenance()})
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
        for run in _newest_first(runs_dir):
            if serves(run):
                run.check_folders()
                return run
        raise InputError(f"No run in {runs_dir} has {what}.", hint)
    path = runs_dir / f"{int(spec):03d}" if re.fullmatch(r"\d{1,9}", spec) else Path(spec)
    if not is_file(path / "run.json"):
        there = [run.path.name for run in _newest_first(runs_dir) if serves(run)]
        raise InputError(
            f"{shorten(str(path), 80)} is not a run folder: there is no run.json in it."
            + (f" The newest in {runs_dir}: {', '.join(there[:5])}." if there else ""),
            f"the same command with --run {there[0]}" if there else hint,
        )
    run = Run(path)
    run.check_folders()
    if not serves(run):
        raise InputError(f"{run} does not have {what}.", f"seqrev train --run {run}")
    return run


def _newest_first(runs_dir: Path) -> list[Run]:
    runs = [run for run in _numbered_folders(runs_dir) if is_file(run.path / "run.json")]
    return sorted(runs, key=lambda run: int(run.path.name), reverse=True)


def _numbered_folders(runs_dir: Path) -> Iterator[Run]:
    try:
        paths = list(runs_dir.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(f"{runs_dir} is not a folder that can be read: {error.strerror}.") from None
    yield from (Run(path) for path in paths if re.fullmatch(r"\d{3,9}", path.name))


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
    return {"command": sys.argv, "pid": os.getpid(), "versions": versions, "platform": platform.platform(), "git": _git()}


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
