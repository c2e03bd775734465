"""``seqrev generate``: from a configuration to a run folder with its dataset. No PyTorch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seqrev.config import Config
from seqrev.data.dataset import write_dataset
from seqrev.data.pairs import MOST_SYMBOLS, config_of_pairs, read_pairs, split_pairs
from seqrev.data.sampling import check_possible
from seqrev.data.sequences import Pairs, Sequences
from seqrev.data.splits import Split, split_sizes
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


def new_run_of_pairs(path: Path, config: Config, runs_dir: str | Path | None = None) -> tuple[Run, Mapping[Split, Pairs]]:
    """Open the next run folder for the pairs of a file; returns the run, and the rows of its splits for ``generate``.

    The configuration of the run has ``task.rule: pairs``, and the sizes of these pairs.

    Raises:
        InputError: the file cannot be read, or the folder not written.
        UsageError: a line is not a pair, a split would be empty, or the pairs do not fit the model.
    """
    pairs = read_pairs(path)
    splits = split_pairs(pairs, MOST_SYMBOLS)
    config = config_of_pairs(config, splits)
    return open_run(default_runs_dir() if runs_dir is None else Path(runs_dir), config), splits


def generate(
    run: Run,
    advance: Callable[[int, int], None] = lambda done, total: None,
    rows: Mapping[Split, Sequences] | None = None,
) -> dict[str, Any]:
    """Fill a run's dataset; returns its manifest. ``advance`` is called with the rows drawn so far, and all of them.

    ``rows``: splits that are not to be sampled.

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
        manifest = write_dataset(config, run.data, count, rows)
        status = {} if "started" in run.record.read() else {"status": "generated"}  # else it is that of a training
        run.record.update(**status, dataset_sha256=manifest["sha256"])
    return manifest
