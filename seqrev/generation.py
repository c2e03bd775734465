"""From a configuration to a run folder with its dataset. No PyTorch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqrev.config import Config
from seqrev.data import check_possible, splits_of, write_dataset
from seqrev.resources import check_disk, check_memory
from seqrev.runs import Run, open_run


def start(config: Config, runs_dir: Path) -> Run:
    """Open the next run folder for a configuration, if its dataset can be filled and kept.

    Raises:
        UsageError: a split asks for more sequences than there are, or for more than memory; no folder was opened.
        StorageError: the dataset does not fit on the disk; no folder was opened.
        InputError: the folder cannot be written.
    """
    check_possible(config)
    task = config.task
    symbols = sum(splits_of(config).values()) * (task.min_length + task.max_length) // 2
    check_memory(4 * symbols, "The dataset")
    check_disk(runs_dir, 2 * (len(str(task.symbols)) + 2) * symbols, "The dataset")
    return open_run(runs_dir, config)


def generate(run: Run, advance: Callable[[int], None] = lambda rows: None) -> dict[str, Any]:
    """Fill a run's dataset; returns its manifest. ``advance`` is told how many rows were just drawn.

    Raises:
        InputError: another process is at work in this run.
        StorageError: the disk refused; there is no dataset then.
    """
    with run.locked():
        manifest = write_dataset(run.config(), run.data, advance)
        begun = "started" in run.record()  # then its status is that of a sitting
        run.update(**({} if begun else {"status": "generated"}), dataset_sha256=manifest["sha256"])
    return manifest
