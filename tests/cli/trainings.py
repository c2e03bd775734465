"""Small trainings by the command line, and what they must leave."""

from pathlib import Path
from typing import Any

from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.training.state import checkpoint_shapes
from tests.helpers import Result, settings

QUICK = ("train.steps=20", "train.validate_every=10", "data.train=100")


def tiny(*overrides: str) -> list[str]:
    return [*settings(), *settings(overrides)]


def history(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(run.metrics)]


def load_all(run: Run, index: int) -> dict[str, dict[str, Any]]:
    """Every tensor of a checkpoint, verified."""
    checkpoint = list_checkpoints(run.checkpoints)[index]
    return {name: checkpoint.load(name, shapes) for name, shapes in checkpoint_shapes(run.config()).items()}


def assert_document(result: Result, run: str, steps: int) -> None:
    assert result.code == 0, result.err
    document = result.document
    assert (document["run"], document["steps"]) == (run, steps)
    assert set(document["validation"]) >= {"exact_match", "token_accuracy", "loss"}
    assert 0 <= document["validation"]["exact_match"] <= document["validation"]["token_accuracy"] <= 1
    assert document["validation"]["loss"] > 0
    assert document["seconds"] > 0
    (last,) = [
        row for row in read_metrics(Path(run, "metrics.jsonl")) if (row["event"], row["step"]) == ("validation", steps)
    ]
    assert {key: last[key] for key in document["validation"]} == document["validation"]
