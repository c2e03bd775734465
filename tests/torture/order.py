"""Which samples a training sees, in which order: the same for any number of processes, wherever it is resumed."""

import itertools
import random

from seqrev.config import Config, load_config
from seqrev.data.batches import Batches
from seqrev.training.distributed import Processes
from tests.data.common import to_lists
from tests.torture.common import Outcome, Size

Rows = list[list[int]]

CASES = {"fast": 50, "long": 1_000}
WORLDS = (1, 2, 4)


def order(size: Size, seed: int) -> Outcome:
    """Random datasets and streams, each trained on by every number of processes with resumes at random steps."""
    rng, resumes = random.Random(seed), 0
    for number in range(CASES[size]):
        rows = [[rng.randrange(5) for _ in range(rng.randint(1, 6))] for _ in range(rng.randint(1, 90))]
        stream = rng.random() < 0.3
        config = load_config(
            overrides=[
                f"seed={rng.randrange(1000)}",
                "task.symbols=5",
                "task.max_length=6",
                f"train.batch_size={4 * rng.randint(1, 8)}",
            ]
        )
        batches = Batches(config, None if stream else rows)
        steps = rng.randint(2, 60)  # several epochs of most datasets
        expected = [to_lists(batches.rows(step)) for step in range(steps)]
        for world in WORLDS:
            points = sorted(rng.sample(range(1, steps), rng.randint(0, min(3, steps - 1))))
            resumes += len(points)
            seen = _train(config, None if stream else rows, steps, world, points)
            for step, (one, two) in enumerate(zip(expected, seen, strict=True)):
                context = f"seed {seed}, case {number}: step {step} of {steps}, {world} processes, resumed at {points}"
                assert one == two, context
    return Outcome(CASES[size], f"trainings x {len(WORLDS)} numbers of processes, with {resumes:,} resumes")


def _train(config: Config, rows: Rows | None, steps: int, world: int, points: list[int]) -> list[Rows]:
    """What all processes together see, step by step; at every resume all begin anew."""
    seen = []
    for first, last in zip([0, *points], [*points, steps], strict=True):
        processes = [Batches(config, rows) for _ in range(world)]
        for step in range(first, last):
            parts = [Processes(rank, world).share(config.train.batch_size) for rank in range(world)]
            shares = [to_lists(batches.rows(step, part)) for batches, part in zip(processes, parts, strict=True)]
            assert len({len(share) for share in shares}) == 1
            seen.append(list(itertools.chain(*shares)))
    return seen
