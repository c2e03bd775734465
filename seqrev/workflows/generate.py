"""``seqrev generate``: from a configuration to a run folder with its dataset. No PyTorch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqrev.config import Config
from seqrev.data.dataset import write_dataset
from seqrev.data.sampling import check_possible
from seqrev.data.splits import split_sizes
from seqrev.runs.folders import Run, default_runs_dir, open_run
from seqrev.system.resources import check_disk, check_memory


def new_run(config: Config, runs_dir: str | Path | None = None) -> Run:
    """Open the next run folder in ``runs_dir`` (None: ``SEQREV_RUNS``, else ``runs``), if its dataset can be made and kept.

    Raises:
        UsageError, StorageError: there are not so many sequences, or they do not fit in memory or on the disk.
        InputError: the folder cannot be written.
    """
    runs_dir = default_runs_dir() if runs_dir is None else Path(runs_dir)
    check_possible(config)
    task = config.task
    symbols = sum(split_sizes(config).values()) * (task.min_length + task.max_length) // 2
    check_memory(4 * symbols, "The dataset")
    check_disk(runs_dir, 2 * (len(str(task.symbols)) + 2) * symbols, "The dataset")
    return open_run(runs_dir, config)


def generate(run: Run, advance: Callable[[int, int], None] = lambda done, total: None) -> dict[str, Any]:
    """Fill a run's dataset; returns its manifest. ``advance`` is called with the rows drawn so far, and all of them.

    Raises:
        InputError: another process is at work in this run.
        StorageError: the disk refused; there is no dataset then.
    """
    config = run.config()
    done, total = 0, sum(split_sizes(config).values())

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        advance(done, total)

    run.check()
    with run.locked():
        manifest = write_dataset(config, run.data, count)
        status = {} if "started" in run.record.read() else {"status": "generated"}  # else it is that of a training
        run.record.update(**status, dataset_sha256=manifest["sha256"])
    return manifest
