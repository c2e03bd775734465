"""From a configuration to a run folder with its dataset. No PyTorch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqrev.config import Config
from seqrev.data import check_possible, write_dataset
from seqrev.runs import Run, open_run


def start(config: Config, runs_dir: Path) -> Run:
    """Open the next run folder for a configuration, if its dataset can be filled.

    Raises:
        UsageError: a split asks for more sequences than there are; no folder was opened.
        InputError: the folder cannot be written.
    """
    check_possible(config)
    return open_run(runs_dir, config)


def generate(run: Run, advance: Callable[[int], None] = lambda rows: None) -> dict[str, Any]:
    """Fill a run's dataset; returns its manifest. ``advance`` is told how many rows were just written."""
    manifest = write_dataset(run.config(), run.data, advance)
    run.update(status="generated", dataset_sha256=manifest["sha256"])
    return manifest
