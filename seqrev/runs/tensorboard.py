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
    """Write every number of ``metrics.jsonl`` anew, and return the folder.

    Raises:
        UsageError: TensorBoard is not installed, or cannot write to such a path.
    """
    check_installed()
    if any("\ud800" <= char <= "\udfff" for char in str(run.path)):  # bytes that are no UTF-8, as Python keeps them
        problem = f"TensorBoard cannot write to {run}, as its path is not UTF-8; all else of the run is complete."
        raise UsageError(problem, "a copy of that folder under another name")
    from torch.utils.tensorboard import SummaryWriter

    folder = run.path / "tensorboard"
    if folder.exists():
        shutil.rmtree(folder)
    with SummaryWriter(str(folder)) as writer:
        for row in read_metrics(run.metrics):
            for name in row.keys() - {"event", "step"}:
                writer.add_scalar(f"{row['event']}/{name}", row[name], row["step"])
    return folder
