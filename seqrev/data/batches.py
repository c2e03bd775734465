"""Training batches."""

from collections.abc import Sequence

import numpy as np

from seqrev.config import Config
from seqrev.data.sampling import EPOCH, STREAM, available_lengths, sample
from seqrev.data.sequences import group_by_length
from seqrev.task import Array


class Batches:
    """Training batches; batch ``i`` is a pure function of configuration and ``i``.

    All sequences of a batch have the same length, so nothing is padded and no mask is needed. From a dataset, an epoch
    shuffles the rows of each length, cuts them into full batches (the last one of a length is filled up from its
    beginning), and shuffles the batches. From a stream, a batch is one random length and fresh sequences of it.
    """

    def __init__(self, config: Config, rows: Sequence[Sequence[int]] | None) -> None:
        """``rows``: the training split; None for a stream."""
        self._seed, self._size, self._task = config.seed, config.train.batch_size, config.task
        self._by_length = {group.shape[1]: group for _, group in group_by_length(rows or ())}
        self._lengths = available_lengths("train", config.task)
        self._epoch_batches = sum(-(-len(group) // self._size) for group in self._by_length.values())
        self._plan: tuple[int, list[tuple[int, Array]]] = (-1, [])

    def __getitem__(self, step: int) -> Array:
        """The source sequences of batch ``step`` (from 0), symbols ``[batch_size, length]``."""
        if not self._by_length:
            rng = np.random.default_rng([self._seed, STREAM, step])
            length = int(rng.choice(self._lengths))
            return sample(rng, "train", length, self._size, self._task.symbols)
        epoch, index = divmod(step, self._epoch_batches)
        if self._plan[0] != epoch:
            self._plan = (epoch, self._plan_epoch(epoch))
        length, rows = self._plan[1][index]
        return self._by_length[length][rows]

    def _plan_epoch(self, epoch: int) -> list[tuple[int, Array]]:
        rng = np.random.default_rng([self._seed, EPOCH, epoch])
        batches: list[tuple[int, Array]] = []
        for length, group in self._by_length.items():
            count = -(-len(group) // self._size)
            filled = np.resize(rng.permutation(len(group)), (count, self._size))
            batches += [(length, rows) for rows in filled]
        return [batches[index] for index in rng.permutation(len(batches))]
