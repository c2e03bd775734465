"""What the parts of speed.py share: how much is measured, how times are taken, and a line of the table."""

import functools
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqrev.config import load_config
from seqrev.data.batches import Batches
from seqrev.training.state import TrainingState

ROOT = Path(__file__).parent.parent
SMALL, FAST = ROOT / "configs" / "small.yaml", ROOT / "configs" / "fast.yaml"
Result = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    threads: int = 2
    compiled: bool = False
    """Whether the compiled peer is timed too."""
    repetitions: int = 3
    seeds: int = 5
    """Trainings until the model is perfect: the peer is as fast with some seeds as with others it is slow."""
    rows: int = 10_000
    """Sequences of an epoch, and those that are decoded."""
    steps: int = 40
    """Training steps that are timed."""
    longest: int = 1_000
    """Symbols in the long sequences."""
    written: int = 1_000_000
    """Rows that are generated."""
    exact: float = 0.999
    """The exact match of a perfect model."""
    mass: float = 0.9
    """Of a crisp picture, at least."""
    hit: float = 0.98
    """Of the same."""
    changes: tuple[str, ...] = ()
    """To the configurations that are trained until they are perfect."""
    peer: tuple[str, ...] = ()
    """Options of the peer that is."""


SMOKE = Plan(
    threads=1,
    repetitions=1,
    seeds=1,
    rows=64,
    steps=2,
    longest=20,
    written=1_000,
    exact=0.0,
    mass=0.0,
    hit=0.0,
    changes=("data.train=640", "data.validation=20", "data.test=20", "train.steps=4", "train.validate_every=2"),
    peer=("--rows", "64", "--epochs", "1"),
)
"""Everything runs, and nothing is measured."""


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(repetitions: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each; in turn, so that a slow minute of the machine falls on all of them."""
    times = [[seconds(work) for work in works] for _ in range(repetitions)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


@functools.cache
def environment() -> dict[str, str]:
    """Of a child: this project is importable."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def process(*arguments: str) -> str:
    """Run Python in a process of its own; returns what it prints."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout


def random_rows(count: int, length: int) -> list[list[int]]:
    """Sequences of one length."""
    return [[random.randrange(10) for _ in range(length)] for _ in range(count)]


def training_state(rows: list[list[int]], *overrides: str) -> tuple[TrainingState, Batches]:
    """A model of small.yaml, without noise unless asked for, and its batches."""
    without = ("model.attention_noise=0", "train.noise_warmup_steps=0", "train.target_noise=0")
    config = load_config(SMALL, [*without, *overrides])
    return TrainingState(config), Batches(config, rows)


def row(what: str, own: float, other: float, target: float | None = None, detail: str = "") -> Result:
    """One line of the table, of two times; infinite: never."""
    ratio = other / own if own < math.inf else math.nan
    return {"what": what, "seconds": own, "against": other, "ratio": ratio, "target": target, "detail": detail}
