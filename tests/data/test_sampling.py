import collections
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.config import TaskConfig, load_config
from seqrev.data.sampling import available_lengths, capacity, check_possible, draw_split, fresh_sequences, sample
from seqrev.data.splits import SPLITS, Split
from seqrev.errors import UsageError
from tests.data.common import few, small_config, split_by_hand

FRESH = [[3, 1, 2, 0, 4], [1, 7, 0, 4, 6], [8, 7, 1, 3, 4]]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("symbols", "length"), [(3, 4), (10, 12)])
def test_samples_are_of_their_split(split: Split, symbols: int, length: int) -> None:
    rows = sample(np.random.default_rng(0), split, length, 200, symbols)
    assert rows.shape == (200, length)
    assert rows.min() >= 0
    assert rows.max() == symbols - 1
    assert {split_by_hand(row) for row in rows.tolist()} == {split}


def test_samples_are_uniform_over_the_split() -> None:
    members = [row for row in itertools.product(range(4), repeat=3) if split_by_hand(list(row)) == "train"]
    rows = sample(np.random.default_rng(0), "train", 3, 400 * len(members), 4).tolist()
    counts = collections.Counter(map(tuple, rows))
    assert set(counts) == set(members)
    assert all(300 < count < 500 for count in counts.values())


def test_a_sample_from_an_empty_split_is_refused() -> None:
    with pytest.raises(UsageError, match="No validation sequence of length 1"):
        sample(np.random.default_rng(0), "validation", 1, 5, 2)


def test_lengths_are_uniform() -> None:
    config = load_config(overrides=["task.min_length=3", "task.max_length=10", "data.train=16000"])
    counts = collections.Counter(len(row) for chunk in draw_split("train", 16_000, config) for row in chunk)
    assert sorted(counts) == list(range(3, 11))
    assert all(1750 < count < 2250 for count in counts.values())  # 2000 expected, six standard deviations


def test_the_hint_of_an_impossible_dataset_leads_to_a_possible_one() -> None:
    overrides = ["task.symbols=3", "task.max_length=4"]
    for _ in range(4):
        try:
            check_possible(load_config(overrides=overrides))
        except UsageError as error:
            overrides.append(error.hint.removeprefix("--set "))
    check_possible(load_config(overrides=overrides))
    assert len(overrides) == 4  # validation and test, one hint each


def test_the_largest_task_is_checked_in_little_time() -> None:
    config = load_config(overrides=["task.max_length=100000", "model.max_positions=200000", "task.symbols=1000000"])
    check_possible(config)
    assert capacity("test", config.task) > 10**9


def test_a_task_whose_sequences_are_countless_is_checked_without_counting_them() -> None:
    task = TaskConfig(symbols=1_000_000, min_length=1_000_000, max_length=1_000_000)
    assert capacity("test", task) > 10**12


@pytest.mark.parametrize(("length", "symbols"), [(3, 6), (12, 6), (40, 10), (300, 2)])
def test_fresh_sequences_have_their_length_and_are_in_no_training_split(length: int, symbols: int) -> None:
    sequences = fresh_sequences(length, 50, small_config(f"task.symbols={symbols}"))
    assert len(sequences) == (18 if (length, symbols) == (3, 6) else 50)  # all that there are
    for sequence in sequences:
        assert len(sequence) == length
        assert set(sequence) <= set(range(symbols))
        assert split_by_hand(sequence) == "test"
    assert json.loads(json.dumps(sequences)) == sequences  # plain integers
    assert len(set(map(tuple, sequences))) == len(sequences)


@pytest.mark.parametrize(
    "override", ["seed=1", "seed=12345", "task.max_length=40", "data.test=7", "model.d_model=8", "data.stream=true"]
)
def test_every_model_gets_the_same_fresh_sequences(override: str) -> None:
    assert fresh_sequences(9, 20, small_config(override)) == fresh_sequences(9, 20, small_config())


def test_fresh_sequences_are_the_same_whatever_was_drawn_before() -> None:
    first = fresh_sequences(9, 20, small_config())
    np.random.default_rng(0).random()
    assert fresh_sequences(10, 20, small_config())[0][:9] != first[0]
    assert fresh_sequences(9, 20, small_config()) == first


@given(st.integers(1, 9), st.integers(2, 12), st.integers(1, 3_000))
@few
def test_fresh_sequences_are_different_and_all_where_there_are_few(length: int, symbols: int, count: int) -> None:
    config = small_config(f"task.symbols={symbols}")
    try:
        found = fresh_sequences(length, count, config)
    except UsageError:  # there is none
        return
    assert len({*map(tuple, found)}) == len(found) <= count
    if len(found) < count:
        every = itertools.product(range(symbols), repeat=length)
        assert len(found) == sum(split_by_hand(list(row)) == "test" for row in every)


def test_many_fresh_sequences_of_five_digits_are_all_that_there_are_and_once() -> None:
    """Ten thousand, of which twenty thousand draws would find some more often, and others not at all."""
    config = small_config("task.symbols=10")
    many = fresh_sequences(5, 20_000, config)
    assert len({*map(tuple, many)}) == len(many)
    assert len(many) == pytest.approx(10_000, rel=0.05)
    assert all(split_by_hand(row) == "test" for row in many[:500])
    assert len({*map(tuple, fresh_sequences(5, 64, config))}) == 64


def test_fresh_sequences_never_change_between_versions() -> None:
    """Or results of different versions would be measured on different questions."""
    assert fresh_sequences(5, 3, small_config("task.symbols=10")) == FRESH


def test_a_length_without_a_test_sequence_has_no_fresh_ones() -> None:
    with pytest.raises(UsageError, match="No test sequence of length 1 exists over 2 symbols"):
        fresh_sequences(1, 5, small_config("task.symbols=2"))


def test_more_sequences_than_memory_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(UsageError, match="memory"):
        fresh_sequences(10**6, 10**6, small_config())


def test_lengths_without_a_training_sequence_are_passed_over() -> None:
    task = TaskConfig(symbols=2, max_length=3)
    present = available_lengths("train", task)
    every = [row for length in (1, 2, 3) for row in itertools.product(range(2), repeat=length)]
    assert present == sorted({len(row) for row in every if split_by_hand(list(row)) == "train"})
