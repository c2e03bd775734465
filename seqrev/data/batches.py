"""Training batches: row ``r`` of batch ``i`` is a pure function of the configuration, its seed, ``i`` and ``r``."""

from collections.abc import Sequence

import numpy as np

from seqrev.config import Config
from seqrev.data.sampling import EPOCH, WINDOW, available_lengths, stream_lengths, stream_rows
from seqrev.data.sequences import Pairs, Sequences, smallest_integers
from seqrev.task import Array, answer_length

BATCHES_IN_A_WINDOW = 16  # whose rows are sorted by length together, with ``train.group_by_length``
ALL = slice(None)


class Batches:
    """Training batches; any rows of any batch, without the others.

    Training goes through an endless sequence of rows, of which each batch is the next ``train.batch_size``. From a dataset,
    that is one epoch after the other, each a new random order of all rows (so a batch may begin in one and end in the
    next). From a stream, every row has a random length, and fresh symbols.

    So a batch mixes all lengths. Long sequences would then be padded a lot: with ``train.group_by_length``, the rows of a
    window of batches are sorted by length before they are cut into batches, whose order is random.
    """

    def __init__(self, config: Config, rows: Sequence[Sequence[int]] | None) -> None:
        """``rows``: the training split; None for a stream."""
        self._seed, self._size, self._task = config.seed, config.train.batch_size, config.task
        self._batches_in_a_window = BATCHES_IN_A_WINDOW if config.train.group_by_length else 1
        if rows is not None and not isinstance(rows, Sequences):
            rows = Sequences.from_lists(rows, config.task.symbols)
        self._dataset = rows
        self._lengths = available_lengths("train", config.task)
        none = np.empty(0, int)
        self._order: tuple[int, Array] = (-1, none)  # of the epoch that was asked for last
        self._window: tuple[int, Array, Array] = (-1, none, none)  # the last: places and lengths, [batch, row]

    def lengths(self, step: int, part: slice = ALL) -> Array:
        """The lengths of rows ``part`` of batch ``step`` (from 0)."""
        return self._places(step)[1][part]

    def tokens(self, step: int) -> int:
        """Target tokens of batch ``step``, ``<EOS>`` included."""
        places, lengths = self._places(step)
        if isinstance(self._dataset, Pairs):
            return int(self._dataset.targets.lengths[self._indices(places)].sum()) + self._size
        return answer_length(int(lengths.sum()), self._task.rule) + self._size

    def targets(self, step: int, part: slice = ALL) -> Array | None:
        """Answers that were given to rows ``part`` of batch ``step``, as ``rows`` has them; None: the rule gives them."""
        if not isinstance(self._dataset, Pairs):
            return None
        return self._dataset.targets_at(self._indices(self._places(step)[0][part]))

    def rows(self, step: int, part: slice = ALL) -> Array:
        """Rows ``part`` of batch ``step`` (from 0): symbols, ``[rows, longest]``, filled up with ``ENDED``."""
        places, lengths = (some[part] for some in self._places(step))
        if self._dataset is None:
            return stream_rows(self._seed, places, lengths, self._task)
        return self._dataset.padded[self._indices(places), : lengths.max()]

    def _places(self, step: int) -> tuple[Array, Array]:
        """Where the rows of a batch are in the endless sequence, and their lengths, ``[batch_size]`` each."""
        window, slot = divmod(step, self._batches_in_a_window)
        if self._window[0] != window:  # it is asked for again: for lengths and for rows, and by every batch of the window
            count = self._batches_in_a_window * self._size
            places = np.arange(window * count, (window + 1) * count)
            lengths = self._lengths_at(places)
            chosen = np.arange(count).reshape(self._batches_in_a_window, -1)
            if self._batches_in_a_window > 1:
                by_length = np.argsort(lengths, kind="stable")[chosen]
                chosen = np.random.default_rng([self._seed, WINDOW, window]).permutation(by_length)
            self._window = window, places[chosen], lengths[chosen]
        return self._window[1][slot], self._window[2][slot]

    def _lengths_at(self, places: Array) -> Array:
        if self._dataset is None:
            return stream_lengths(self._seed, places, self._lengths)
        return self._dataset.lengths[self._indices(places)]

    def _indices(self, places: Array) -> Array:
        """Which rows of the dataset are at some places."""
        assert self._dataset is not None
        epochs, within = np.divmod(places, len(self._dataset))
        found = np.empty_like(within)
        for epoch in np.unique(epochs).tolist():
            if self._order[0] != epoch:
                order = np.random.default_rng([self._seed, EPOCH, epoch]).permutation(len(self._dataset))
                self._order = epoch, order.astype(smallest_integers(len(order)))
            here = epochs == epoch
            found[here] = self._order[1][within[here]]
        return found
