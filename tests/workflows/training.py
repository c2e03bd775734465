"""A short training, its interruption, and the comparison of two."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.system.signals import Interrupted, StopRequest
from seqrev.training.events import Event, Step, Validation
from seqrev.training.state import checkpoint_shapes
from seqrev.workflows.generate import generate, new_run
from seqrev.workflows.train import Observer, train
from tests.helpers import tiny_config

SHORT = (
    "train.steps=60",
    "train.validate_every=20",
    "train.log_every=7",
    "data.train=200",
    "model.dropout=0.1",
    "model.attention_dropout=0.1",
)


def fresh(folder: Path, *overrides: str) -> Run:
    run = new_run(tiny_config(*SHORT, *overrides), folder)
    generate(run)
    return run


def history(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(run.metrics)]


def stop_at(stop: StopRequest, step: int, kind: type[Step] | type[Validation] = Step) -> Callable[[Event], None]:
    """A listener that plays the part of Ctrl-C."""

    def listen(event: Event) -> None:
        if event.step == step and isinstance(event, kind):
            stop.received = 2

    return listen


def interrupt(run: Run, step: int, kind: type[Step] | type[Validation] = Step, device: str = "cpu") -> Interrupted:
    stop = StopRequest()
    with pytest.raises(Interrupted) as caught:
        train(run, device, observer=Observer(on_event=stop_at(stop, step, kind), stop=stop))
    return caught.value


def snapshots_of(run: Run) -> dict[str, bytes]:
    """The files of the snapshots."""
    return {path.name: path.read_bytes() for path in run.snapshots.iterdir()}


def assert_same_training(run: Run, other: Run) -> None:
    """Same events, same checkpoints, same arrays to the last bit."""
    assert history(run) == history(other)
    mine, others = list_checkpoints(run.checkpoints), list_checkpoints(other.checkpoints)
    assert mine[-1].step == others[-1].step
    assert mine[-1].validation == others[-1].validation
    for name in ("model", "optimizer"):
        shapes = checkpoint_shapes(run.config())[name]
        one, two = mine[-1].load(name, shapes), others[-1].load(name, shapes)
        assert one.keys() == two.keys()
        for key, value in one.items():
            assert np.array_equal(value, two[key]), key
    assert snapshots_of(run) == snapshots_of(other)


def newest_step(run: Run) -> int:
    return max((checkpoint.step for checkpoint in list_checkpoints(run.checkpoints)), default=0)
