"""Training batches: pure functions of (seed, step, row), which mix all lengths."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import Config
from seqrev.data.batches import BATCHES_IN_A_WINDOW, Batches
from seqrev.data.sampling import draw_split
from seqrev.task import ENDED
from tests.data.common import few, small_config, split_by_hand, to_lists


def training_rows(config: Config) -> list[list[int]]:
    return [row for chunk in draw_split("train", config.data.train, config) for row in chunk]


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_is_a_function_of_configuration_and_step_in_any_order(stream: bool) -> None:
    config = small_config("train.batch_size=32")
    rows = None if stream else training_rows(config)
    in_order = [Batches(config, rows).rows(step) for step in range(60)]
    batches = Batches(config, rows)
    for step in np.random.default_rng(0).permutation(60).tolist():
        assert np.array_equal(batches.rows(step), in_order[step])
    other = Batches(small_config("train.batch_size=32", "seed=9"), rows)
    assert not any(to_lists(other.rows(step)) == to_lists(in_order[step]) for step in range(60))


@settings(max_examples=80, deadline=None)
@given(
    stream=st.booleans(),
    grouped=st.booleans(),
    batch_size=st.integers(1, 50),
    step=st.integers(0, 10_000_000),
    seed=st.integers(0, 2**63 - 1),
    bounds=st.tuples(st.integers(0, 49), st.integers(1, 50)),
)
def test_any_rows_of_a_batch_are_those_of_the_whole(
    stream: bool, grouped: bool, batch_size: int, step: int, seed: int, bounds: tuple[int, int]
) -> None:
    grouping = f"train.group_by_length={str(grouped).lower()}"
    config = small_config(f"train.batch_size={batch_size}", f"seed={seed}", grouping)
    rows = None if stream else [[n % 5] * (n % 5 + 1) for n in range(30)]  # fewer than a batch may have
    start = bounds[0] % batch_size
    part = slice(start, min(batch_size, start + bounds[1]))
    whole, some = Batches(config, rows), Batches(config, rows)
    assert to_lists(some.rows(step, part)) == to_lists(whole.rows(step))[part]
    assert some.lengths(step, part).tolist() == [len(row) for row in to_lists(whole.rows(step))][part]


@few
@given(
    stream=st.booleans(),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**63 - 1),
)
def test_another_batch_size_cuts_the_same_rows_elsewhere(stream: bool, sizes: tuple[int, int], seed: int) -> None:
    rows = None if stream else [[n % 5] * (n % 5 + 1) for n in range(30)]  # several epochs, and batches over their ends

    def first(count: int, batch_size: int) -> list[list[int]]:
        batches = Batches(small_config(f"train.batch_size={batch_size}", f"seed={seed}"), rows)
        return [row for step in range(-(-count // batch_size)) for row in to_lists(batches.rows(step))][:count]

    pairs = zip(first(100, sizes[0]), first(100, sizes[1]), strict=True)
    differing = [place for place, (one, other) in enumerate(pairs) if one != other]
    assert not differing  # rather than the lists, whose difference pytest takes minutes to print


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_is_full_and_mixes_all_lengths(stream: bool) -> None:
    config = small_config("train.batch_size=64")
    batches = Batches(config, None if stream else training_rows(config))
    for step in range(50):
        rows = batches.rows(step)
        assert len(rows) == 64
        assert {len(row) for row in to_lists(rows)} == set(range(1, 6))
        assert (np.diff((rows == ENDED).astype(int), axis=1) >= 0).all()  # filled up at the end only


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
def test_an_epoch_shows_every_training_row_once(batch_size: int) -> None:
    config = small_config(f"train.batch_size={batch_size}", "data.train=300")
    rows = training_rows(config)
    batches = Batches(config, rows)
    seen = [row for step in range(-(-900 // batch_size)) for row in to_lists(batches.rows(step))]
    epochs = [seen[start : start + 300] for start in (0, 300, 600)]
    expected = collections.Counter(map(tuple, rows))
    assert all(collections.Counter(map(tuple, epoch)) == expected for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("stream", [False, True])
def test_grouped_batches_are_the_same_rows_sorted_by_length_in_a_random_order(stream: bool) -> None:
    settings = ("train.batch_size=20", "task.max_length=40", "data.train=1000")
    mixed, grouped = small_config(*settings), small_config(*settings, "train.group_by_length=true")
    rows = None if stream else training_rows(mixed)
    one, other = Batches(mixed, rows), Batches(grouped, rows)
    orders = []
    for window in range(3):
        steps = range(window * BATCHES_IN_A_WINDOW, (window + 1) * BATCHES_IN_A_WINDOW)
        together = [row for step in steps for row in to_lists(one.rows(step))]
        batches = [to_lists(other.rows(step)) for step in steps]
        assert sorted(row for batch in batches for row in batch) == sorted(together)
        ranges = [(min(map(len, batch)), max(map(len, batch))) for batch in batches]
        assert all(low[1] <= high[0] for low, high in itertools.pairwise(sorted(ranges)))
        orders.append(sorted(range(len(ranges)), key=ranges.__getitem__))
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_a_stream_holds_only_training_sequences_and_never_repeats_a_batch() -> None:
    config = small_config("train.batch_size=64", "task.max_length=8", "task.min_length=6")
    batches = Batches(config, None)
    seen: set[tuple[int, ...]] = set()
    for step in range(20):
        rows = to_lists(batches.rows(step))
        assert {split_by_hand(row) for row in rows} == {"train"}
        assert len(seen & set(map(tuple, rows))) < 8  # of 64 among tens of thousands: by chance
        seen |= set(map(tuple, rows))


def test_lengths_and_symbols_of_a_stream_are_uniform() -> None:
    batches = Batches(small_config("train.batch_size=5000", "task.max_length=8", "task.min_length=6"), None)
    rows = to_lists(batches.rows(0)) + to_lists(batches.rows(1))
    lengths = np.bincount([len(row) for row in rows])[6:]
    assert np.abs(lengths - 10_000 / 3).max() < 4.5 * (10_000 * 2 / 9) ** 0.5
    for place in range(6):
        symbols = np.bincount([row[place] for row in rows])
        assert len(symbols) == 6
        assert np.abs(symbols - 10_000 / 6).max() < 4.5 * (10_000 * 5 / 36) ** 0.5


def test_of_few_sequences_all_that_are_for_training_are_drawn_and_no_other() -> None:
    config = small_config("task.symbols=2", "task.max_length=3", "train.batch_size=400", "data.stream=true")
    seen = {tuple(row) for row in to_lists(Batches(config, None).rows(0))}
    every = [[first] for first in range(2)] + [[a, b] for a in range(2) for b in range(2)]
    assert {row for row in seen if len(row) < 3} == {tuple(row) for row in every if split_by_hand(row) == "train"}


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_seed_means_the_same_batches_everywhere(stream: bool) -> None:
    config = small_config("train.batch_size=4", "seed=5", "task.max_length=9")
    rows = to_lists(Batches(config, None if stream else training_rows(config)).rows(7))
    recorded = {
        True: [[5, 0, 0, 2, 4, 5, 4, 2], [5, 2, 2, 0, 3, 1, 1, 2], [2, 0, 2], [1, 2, 0, 2, 0]],
        False: [[2, 1, 5, 5, 0], [2, 2, 1, 1], [0, 1, 5, 1, 0, 0, 0, 3], [3, 3]],
    }
    assert rows == recorded[stream]
