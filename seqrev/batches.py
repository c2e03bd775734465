"""Sequences of one length together: a batch for every training step, and chunks that fit in memory for all else."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from seqrev.config import Config
from seqrev.data import EPOCH, STREAM, available_lengths, sample
from seqrev.sequences import Sequences
from seqrev.task import Array

SCORES_AT_ONCE = 8_388_608  # attention scores of one layer, or logits, in a forward pass that is not trained on


def group_by_length(sequences: Iterable[Sequence[int]]) -> dict[int, Array]:
    """Sequences of each length as one array, ``[rows, length]``, shortest first; their order is kept."""
    if isinstance(sequences, Sequences):
        return {group.shape[1]: group for _, group in sequences.by_length()}
    groups: dict[int, list[Sequence[int]]] = {}
    for sequence in sequences:
        groups.setdefault(len(sequence), []).append(sequence)
    return {length: np.array(groups[length], dtype=np.int32) for length in sorted(groups)}


def in_chunks(sequences: Iterable[Sequence[int]], heads: int, vocabulary: int) -> Iterator[Array]:
    """Groups of equally long sequences, ``[rows, length]``, so small that all their scores and logits fit in memory."""
    for length, group in group_by_length(sequences).items():
        rows = max(1, SCORES_AT_ONCE // max(heads * (length + 2) ** 2, vocabulary * (length + 2)))
        yield from (group[start : start + rows] for start in range(0, len(group), rows))


class Batches:
    """Training batches: batch ``i`` is a pure function of (configuration, seed, ``i``).

    All sequences of a batch have the same length, so nothing is padded and no mask is needed. From a dataset, an epoch
    shuffles the rows of each length, cuts them into full batches (the last one of a length is filled up from its
    beginning), and shuffles the batches. From a stream, a batch is one random length and fresh sequences of it.
    """

    def __init__(self, config: Config, rows: Sequence[Sequence[int]] | None) -> None:
        """``rows``: the training split; None for a stream."""
        self._seed, self._size, self._task = config.seed, config.train.batch_size, config.task
        self._by_length = group_by_length(rows or ())
        self._lengths = available_lengths("train", config.task)
        self._epoch_batches = sum(-(-len(group) // self._size) for group in self._by_length.values())
        self._plan: tuple[int, list[tuple[int, Array]]] = (-1, [])

    def __getitem__(self, step: int) -> Array:
        """The source sequences of batch ``step`` (from 0), symbols ``[batch_size, length]``."""
        if not self._by_length:
            rng = np.random.default_rng([self._seed, STREAM, step])
            length = int(rng.choice(self._lengths))
            return sample(rng, "train", length, self._size, self._task.symbols)
        epoch, place = divmod(step, self._epoch_batches)
        if self._plan[0] != epoch:
            self._plan = (epoch, self._plan_epoch(epoch))
        length, rows = self._plan[1][place]
        return self._by_length[length][rows]

    def _plan_epoch(self, epoch: int) -> list[tuple[int, Array]]:
        rng = np.random.default_rng([self._seed, EPOCH, epoch])
        batches: list[tuple[int, Array]] = []
        for length, group in self._by_length.items():
            count = -(-len(group) // self._size)
            filled = np.resize(rng.permutation(len(group)), (count, self._size))
            batches += [(length, rows) for rows in filled]
        return [batches[place] for place in rng.permutation(len(batches))]
