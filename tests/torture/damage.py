"""Every truncation and every changed byte of a checkpoint: seen, told once, and the one before it taken."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from seqrev.checkpoints import save_checkpoint
from seqrev.runs import Run
from tests.torture.common import Outcome, Size, scratch

SAMPLE = 1_000
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "model": {"w": (2, 3), "b": (2,)},
    "optimizer": {"step.w": (), "m.w": (2, 3)},
}


def damage(size: Size, seed: int) -> Outcome:
    """Each byte with each of its bits turned and with all of them, each length from none to all but one, and one more."""
    from seqrev import experiment

    with scratch() as name:
        run = Run(Path(name))
        for step in (20, 40):
            tensors = {
                name: {key: np.full(shape, step, np.float32) for key, shape in shapes.items()}
                for name, shapes in SHAPES.items()
            }
            save_checkpoint(run.checkpoints, step, tensors, {"exact_match": 0.5, "token_accuracy": 0.5, "loss": 1.0})
        files = sorted((run.checkpoints / "step-000040").iterdir())
        cases = [(path, kind, place) for path in files for kind, place in _cases(path.stat().st_size)]
        if size == "fast":
            cases = random.Random(seed).sample(cases, SAMPLE)
        kinds = Counter[str]()
        for path, kind, place in cases:
            content = path.read_bytes()
            path.write_bytes(_damaged(content, kind, place))
            state, warnings = Restored(), list[str]()
            experiment._restore(run, cast(Any, state), SHAPES, warnings.append)
            context = f"{path.name}, {kind} at {place}, seed {seed}: step {state.step}, {warnings}"
            assert state.step == 20, context
            assert len(warnings) == 1, context
            assert "step-000040" in warnings[0], context
            assert "Going on from step 20." in warnings[0], context
            path.write_bytes(content)
            kinds["truncations" if kind < 0 else "changed bytes"] += 1
        state = Restored()
        experiment._restore(run, cast(Any, state), SHAPES, lambda message: None)
        assert state.step == 40, "the last case was not undone"
    what = " and ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    return Outcome(kinds.total(), f"{what}, of a checkpoint of {len(files)} files")


def _cases(length: int) -> Iterator[tuple[int, int]]:
    """Kind below 0: cut off there, or, at its length, one byte more; else what the byte is xored with."""
    yield from ((-1, place) for place in range(length + 1))
    yield from ((kind, place) for place in range(length) for kind in (1, 2, 4, 8, 16, 32, 64, 128, 255))


def _damaged(content: bytes, kind: int, place: int) -> bytes:
    if kind < 0:
        return content[:place] if place < len(content) else content + b"\n"
    return content[:place] + bytes([content[place] ^ kind]) + content[place + 1 :]


class Restored:
    """In the place of a ``TrainingState``: remembers what it was given."""

    step = 0

    def restore(self, step: int, validated: bool, weights: dict[str, Any], moments: dict[str, Any]) -> None:
        assert validated
        assert all(np.all(value == step) for value in (*weights.values(), *moments.values()))
        self.step = step
