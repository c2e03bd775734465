"""Makes the trained run that is part of the package: ``make pretrained``.

It is what ``seqrev train --config configs/small.yaml`` makes, less what is not needed to look at it: the optimizer's state,
the training rows, the pictures, and where it was made. Another processor gives other weights.
"""

import json
import shutil
import tempfile
from pathlib import Path

import seqrev
from seqrev.config import load_config
from seqrev.model.weights import weight_shapes
from seqrev.runs.checkpoints import save_checkpoint
from seqrev.runs.folders import PRETRAINED, Run
from seqrev.runs.record import Record
from seqrev.system.files import write_json
from seqrev.task import vocabulary_size
from seqrev.workflows.train import train

ROOT = Path(__file__).parents[1]
KEPT = ("config.yaml", "metrics.jsonl", "snapshots", "data/manifest.json", "data/test.jsonl", "data/validation.jsonl")
OF_THE_RECORD = ("schema", "run", "seed", "status", "step", "versions", "dataset_sha256", "device", "threads")


def strip(run: Run, target: Path) -> None:
    """Copy a finished run without what nobody needs."""
    for name in KEPT:
        copy = shutil.copytree if (run.path / name).is_dir() else shutil.copy
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copy(run.path / name, target / name)
    checkpoint = seqrev.load(run).checkpoint
    assert checkpoint is not None
    config = run.config()
    weights = checkpoint.load("model", weight_shapes(config.model, vocabulary_size(config.task.symbols)))
    save_checkpoint(target / "checkpoints", checkpoint.step, {"model": weights}, checkpoint.validation)
    record = run.record.read()
    write_json(Record(target).path, {key: record[key] for key in OF_THE_RECORD if key in record} | {"run": PRETRAINED})


def main() -> None:
    """Train, and put the run where the package has it."""
    target = ROOT / "seqrev" / PRETRAINED
    with tempfile.TemporaryDirectory() as folder:
        summary = train(load_config(ROOT / "configs" / "small.yaml"), "cpu", folder)
        shutil.rmtree(target, ignore_errors=True)
        strip(summary.run, target)
    print(json.dumps(vars(summary.validation)))


if __name__ == "__main__":
    main()
