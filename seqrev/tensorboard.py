"""``python -m seqrev.tensorboard runs/001 …`` writes the metrics of runs in TensorBoard's format, into each run's folder.

An extra: training knows nothing of it, and any run, however old, can be looked at: ``tensorboard --logdir runs``.
"""

import shutil
import sys
from pathlib import Path

from seqrev.errors import SeqrevError, UsageError
from seqrev.metrics import read_metrics
from seqrev.runs import Run, find_run


def export(run: Run) -> Path:
    """Write every number of ``metrics.jsonl``, in place of what was written before; returns the folder.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("TensorBoard, an optional extra, is not installed.", "pip install 'seqrev[tensorboard]'") from None
    folder = run.path / "tensorboard"
    if folder.exists():
        shutil.rmtree(folder)
    with SummaryWriter(str(folder)) as writer:
        for row in read_metrics(run.metrics):
            for name in row.keys() - {"event", "step"}:
                writer.add_scalar(f"{row['event']}/{name}", row[name], row["step"])
    return folder


if __name__ == "__main__":
    try:
        for argument in sys.argv[1:] or ["latest"]:
            print(export(find_run(argument, Path("runs"), lambda run: run.metrics.is_file(), "metrics of a training")))
    except SeqrevError as error:
        sys.exit(f"Error: {error}\nTry: {error.hint}")
