"""Metrics of a run in TensorBoard's format, for ``tensorboard --logdir runs``. An optional extra."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from seqrev.errors import UsageError
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics


def check_installed() -> None:
    """Raise ``UsageError`` if TensorBoard is not installed; nothing is imported."""
    if find_spec("tensorboard") is None:
        raise UsageError("TensorBoard, an optional extra, is not installed.", "pip install 'seqrev[tensorboard]'")


def export(run: Run) -> Path:
    """Write every number of ``metrics.jsonl`` anew, and return the folder; raise ``UsageError`` without TensorBoard."""
    check_installed()
    from torch.utils.tensorboard import SummaryWriter

    folder = run.path / "tensorboard"
    if folder.exists():
        shutil.rmtree(folder)
    with SummaryWriter(str(folder)) as writer:
        for row in read_metrics(run.metrics):
            for name in row.keys() - {"event", "step"}:
                writer.add_scalar(f"{row['event']}/{name}", row[name], row["step"])
    return folder
