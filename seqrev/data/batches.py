"""Training batches: row ``r`` of batch ``i`` is a pure function of the seed, ``i`` and ``r``."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqrev.config import Config
from seqrev.data.sampling import EPOCH, available_lengths, stream_lengths, stream_rows
from seqrev.data.sequences import Sequences, smallest_integers
from seqrev.task import Array

ALL = slice(None)


class Batches:
    """Training batches, which mix all lengths; any rows of any batch, without the others.

    From a dataset, an epoch is a new random order of its rows, and a batch the next ``train.batch_size`` of them; the next
    epoch begins where one ends, in the middle of a batch. From a stream, every row has a random length, and fresh symbols.
    """

    def __init__(self, config: Config, rows: Sequence[Sequence[int]] | None) -> None:
        """``rows``: the training split; None for a stream."""
        self._seed, self._size, self._task = config.seed, config.train.batch_size, config.task
        if rows is not None and not isinstance(rows, Sequences):
            rows = Sequences.from_lists(rows, config.task.symbols)
        self._rows = rows
        self._lengths = available_lengths("train", config.task)
        self._order: tuple[int, Array] = (-1, np.empty(0, int))  # of the epoch that was asked for last

    def lengths(self, step: int, part: slice = ALL) -> NDArray[np.integer]:
        """The lengths of rows ``part`` of batch ``step`` (from 0)."""
        if self._rows is not None:
            return self._rows.lengths[self._indices(step)[part]]
        return stream_lengths(self._seed, step, self._size, self._lengths)[part]

    def rows(self, step: int, part: slice = ALL) -> Array:
        """Rows ``part`` of batch ``step`` (from 0): symbols, ``[rows, longest]``, filled up with ``ENDED``."""
        lengths = self.lengths(step, part)
        if self._rows is not None:
            return self._rows.padded[self._indices(step)[part], : lengths.max()]
        first = range(self._size)[part].start
        return stream_rows(self._seed, step, first, lengths, self._task)

    def _indices(self, step: int) -> Array:
        """Which rows of the dataset are in a batch."""
        assert self._rows is not None
        epochs, places = np.divmod(np.arange(step * self._size, (step + 1) * self._size), len(self._rows))
        found = []
        for epoch in np.unique(epochs).tolist():
            if self._order[0] != epoch:
                order = np.random.default_rng([self._seed, EPOCH, epoch]).permutation(len(self._rows))
                self._order = epoch, order.astype(smallest_integers(len(order)))
            found.append(self._order[1][places[epochs == epoch]])
        return np.concatenate(found)
