"""Every truncation and every changed byte of a checkpoint: seen, reported once, and the one before it taken."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from seqrev.runs.checkpoints import save_checkpoint
from seqrev.runs.folders import Run
from tests.torture.common import Outcome, Size, scratch

SAMPLE = 1_000
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "model": {"w": (2, 3), "b": (2,)},
    "optimizer": {"step.w": (), "m.w": (2, 3)},
}


def damage(size: Size, seed: int) -> Outcome:
    """Each byte with each of its bits turned and with all of them, each length from none to all but one, and one more."""
    from seqrev.workflows import train as workflow  # which imports PyTorch

    with scratch() as name, mock.patch.object(workflow, "checkpoint_shapes", return_value=SHAPES):
        run = Run(Path(name))
        for step in (20, 40):
            tensors = {
                name: {key: np.full(shape, step, np.float32) for key, shape in shapes.items()}
                for name, shapes in SHAPES.items()
            }
            save_checkpoint(run.checkpoints, step, tensors, {"exact_match": 0.5, "token_accuracy": 0.5, "loss": 1.0})
        files = sorted((run.checkpoints / "step-000040").iterdir())
        cases = [(path, kind, position) for path in files for kind, position in _cases(path.stat().st_size)]
        if size == "fast":
            cases = random.Random(seed).sample(cases, SAMPLE)
        kinds = Counter[str]()
        for path, kind, position in cases:
            content = path.read_bytes()
            path.write_bytes(_damaged(content, kind, position))
            state, warnings = Restored(), list[str]()
            workflow._restore(run, _trainer(state), warnings.append)
            context = f"{path.name}, {kind} at {position}, seed {seed}: step {state.step}, {warnings}"
            assert state.step == 20, context
            assert len(warnings) == 1, context
            assert "step-000040" in warnings[0], context
            assert "Going on from step 20." in warnings[0], context
            path.write_bytes(content)
            kinds["truncations" if kind < 0 else "changed bytes"] += 1
        state = Restored()
        workflow._restore(run, _trainer(state), lambda message: None)
        assert state.step == 40, "the last case was not undone"
    what = " and ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    return Outcome(kinds.total(), f"{what}, of a checkpoint of {len(files)} files")


def _cases(length: int) -> Iterator[tuple[int, int]]:
    """Kind below 0: cut off there, or, at its length, one byte more; else what the byte is xored with."""
    yield from ((-1, position) for position in range(length + 1))
    yield from ((kind, position) for position in range(length) for kind in (1, 2, 4, 8, 16, 32, 64, 128, 255))


def _damaged(content: bytes, kind: int, position: int) -> bytes:
    if kind < 0:
        return content[:position] if position < len(content) else content + b"\n"
    return content[:position] + bytes([content[position] ^ kind]) + content[position + 1 :]


def _trainer(state: "Restored") -> Any:
    """What ``_restore`` needs of a ``Trainer``."""
    return SimpleNamespace(config=None, state=state)


class Restored:
    """Instead of a ``TrainingState``: remembers what it was given."""

    step = 0

    def restore(self, step: int, validated: bool, weights: dict[str, Any], moments: dict[str, Any]) -> None:
        assert validated
        assert all(np.all(value == step) for value in (*weights.values(), *moments.values()))
        self.step = step

    def judge(self, exact_match: float) -> None:
        assert 0 <= exact_match <= 1
