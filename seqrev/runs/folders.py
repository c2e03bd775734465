"""Run folders: opened once, numbered, never overwritten."""

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from seqrev.config import Config, parse_config, to_yaml
from seqrev.config_files import read_tree
from seqrev.errors import InputError, StorageError, UsageError, command_line
from seqrev.runs.checkpoints import best_first, newest_first
from seqrev.runs.record import Record
from seqrev.system.files import (
    atomic_write,
    expand_home,
    is_file,
    is_link,
    make_folder,
    open_regular,
    remove_leftovers,
    storage_errors,
    sync_folder,
)
from seqrev.system.locks import SAFELY, is_locked, lock

FOLDERS = ("data", "checkpoints", "snapshots", "evaluation", "attention", "tensorboard")
NUMBERS = ".numbers"  # in a folder of runs: those that were ever given to one
PRETRAINED = "pretrained"  # the name of the run that is part of the package; ``make pretrained`` makes it


class Run:
    """One run folder. Its files are read when asked for; nothing is kept in memory."""

    def __init__(self, path: str | Path, outputs: Path | None = None) -> None:
        """``outputs``: where pictures and reports go; None: into the run itself. A run that has none is never changed."""
        self.path = Path(path)
        self.outputs = outputs or self.path
        self.data = self.path / "data"
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.jsonl"
        self.snapshots = self.path / "snapshots"
        self.record = Record(self.path)

    def __str__(self) -> str:
        return str(self.path) if self.outputs == self.path else self.path.name

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def check(self) -> None:
        """Raise ``InputError`` if ``run.json`` is damaged or of another version, a file may not be read, or is a link."""
        self.record.read()
        if self.has_config():  # which every command reads
            with open_regular(self.path / "config.yaml", follow=False):
                pass
        for path in map(self.path.joinpath, FOLDERS):
            with storage_errors(path):
                is_own = not is_link(path) and (path.is_dir() or not path.exists())
            if not is_own:
                raise InputError(f"{path} is not a folder of its own; a run keeps everything inside itself.")

    def config(self) -> Config:
        """The resolved configuration of this run; raise ``InputError`` if it is missing, cannot be read or is not valid."""
        path = self.path / "config.yaml"
        try:
            return parse_config(read_tree(path, follow=False), str(path))
        except UsageError as error:
            raise InputError(f"{error}{self.record.other_version()}") from None

    def extend(self, steps: int) -> None:
        """Plan more steps.

        Raises:
            UsageError: they are not more, or the training has ended by ``train.stop_at``.
            InputError: another process is at work here.
        """
        tree = self.config().model_dump()
        stop_at, validations = tree["train"]["stop_at"], [found.validation for found in newest_first(self.checkpoints)[:1]]
        if stop_at is not None and any(result and result["exact_match"] >= stop_at for result in validations):
            changes = ("--set", "train.stop_at=null", "--set", f"train.steps={steps}")
            raise UsageError(
                f"{self} has ended: its exact match has reached train.stop_at, which is {stop_at:g}.",
                command_line("train", "--config", f"{self}/config.yaml", *changes),
            )
        planned = tree["train"]["steps"]
        if steps <= planned:
            problem = f"{self} is planned for {planned:,} steps; more were expected, not {steps:,}."
            raise UsageError(problem, command_line("train", "--run", self, "--steps", 2 * planned))
        tree["train"]["steps"] = steps
        longer = parse_config(tree, f"--steps {steps}")
        with self.locked():
            self.record.extend(planned, steps)
            atomic_write(self.path / "config.yaml", to_yaml(longer).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process at work in this run, or raise ``InputError``; remove what an earlier one left unfinished.

        The lock is the kernel's: it goes with the process, however that ends.
        """
        if self.outputs != self.path:
            problem = f"The run {self} is part of seqrev, and is not changed; a run of your own was expected."
            raise InputError(problem, "seqrev train --config small")
        with ExitStack() as stack:
            with storage_errors(self.path / ".lock"):
                is_ours = stack.enter_context(lock(self.path / ".lock"))
            if not is_ours:
                raise InputError(
                    f"Another process is at work in {self}; two must not write to one run.",
                    "the same command when it is done, or seqrev train --config small for a new run",
                )
            with storage_errors(self.path):
                for folder in (self.path, self.data, self.checkpoints, self.snapshots):
                    remove_leftovers(folder)
            yield

    def is_at_work(self) -> bool:
        """Whether a process holds the lock."""
        return is_locked(self.path / ".lock")

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
        target = self.outputs / folder
        try:
            with storage_errors(target):
                target.mkdir(parents=True, exist_ok=True)
                make_folder(target)
                return _make_next(target, suffix, lambda path: path.touch(exist_ok=False))
        except StorageError as error:
            raise StorageError(
                str(error), f"the same command with --out FILE{suffix}, in a folder that can be written"
            ) from None

    @contextmanager
    def output(self, folder: str, suffix: str) -> Iterator[Path]:
        """The path of ``numbered``, for what is written meanwhile: after an error, no empty file stays behind."""
        path = self.numbered(folder, suffix)
        try:
            yield path
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                path.unlink(missing_ok=True)
            raise


def _make_next(folder: Path, suffix: str, make: Callable[[Path], None]) -> Path:
    """Make ``001``, ``002``, …, the first after the highest number there is: of many processes, each gets its own."""
    names = [path.stem for path in folder.iterdir()]
    with suppress(InputError), open_regular(folder / NUMBERS, follow=False) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 10_000))  # the latest are enough
        names += file.read(10_000).decode(errors="replace").split()
    number = max((int(name) for name in names if re.fullmatch("[0-9]{3,9}", name)), default=0)
    while True:
        number += 1
        path = folder / f"{number:03d}{suffix}"
        with suppress(FileExistsError):
            make(path)
            return path


def _make_run_folder(path: Path) -> None:
    """Write the number down, and make the folder: the number is not used again, whatever becomes of that."""
    with suppress(OSError):  # somebody else made the file, and lets nobody write; or it is none
        handle = os.open(path.parent / NUMBERS, os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFELY, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(f"{path.name}\n".encode())
    path.mkdir()


def open_run(runs_dir: str | Path | None, config: Config) -> Run:
    """Make the next run folder, with configuration and record, or leave none.

    Raises:
        InputError: it cannot be made.
        StorageError: the disk is full or fails.
    """
    runs_dir = default_runs_dir() if runs_dir is None else Path(runs_dir)
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        run = Run(_make_next(runs_dir, "", _make_run_folder))
    except OSError as error:
        problem = f"No run can be opened in {runs_dir}: {error.strerror}. A folder that can be written was expected."
        elsewhere = Path("runs") if runs_dir != Path("runs") else Path(tempfile.gettempdir()) / "runs"
        raise InputError(problem, shlex.join(("--runs-dir", str(elsewhere)))) from None
    try:
        with storage_errors(run.path):
            sync_folder(runs_dir)
        atomic_write(run.path / "config.yaml", to_yaml(config).encode())
        run.record.create(config.seed)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)  # nobody has heard of it
        raise
    return run


def default_runs_dir() -> Path:
    """Where the numbered run folders are: ``SEQREV_RUNS``, else ``runs``."""
    return Path(expand_home(os.environ.get("SEQREV_RUNS") or "runs"))
