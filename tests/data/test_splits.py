import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.data.sequences import Sequences
from seqrev.data.splits import SPLITS, first_of_each, split_of, split_sizes
from tests.data.common import few, small_config, split_by_hand


@few
@given(
    st.lists(st.lists(st.integers(0, 999_999), min_size=1, max_size=9), min_size=1, max_size=20),
    st.integers(0, 12),
)
def test_the_split_is_a_function_of_the_sequence_alone(rows: list[list[int]], longest: int) -> None:
    padded = Sequences.from_lists(rows, 1_000_000, longest).padded
    together = [SPLITS[index] for index in split_of(padded)]
    assert together == [split_by_hand(row) for row in rows]
    assert together == [SPLITS[int(split_of(np.array([row], dtype=np.int64))[0])] for row in rows]


def test_the_split_never_changes_between_versions() -> None:
    rows = np.array([[4, 8, 2, 9], [1, 2, 3, 4], [0, 0, 0, 0], [9, 9, 9, 9], [5, 1, 0, 7], [3, 3, 8, 1]])
    assert [SPLITS[index] for index in split_of(rows)] == [split_by_hand(row) for row in rows.tolist()]


@pytest.mark.parametrize(("symbols", "length"), [(10, 4), (2, 14), (200, 2)])
def test_four_fifths_are_for_training_and_a_tenth_each_is_held_out(symbols: int, length: int) -> None:
    every = np.array(list(itertools.product(range(symbols), repeat=length)))
    shares = np.bincount(split_of(every), minlength=3) / len(every)
    assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 0.02


def test_a_stream_needs_no_training_split() -> None:
    assert split_sizes(small_config()) == {"train": 700, "validation": 60, "test": 50}
    assert split_sizes(small_config("data.stream=true")) == {"validation": 60, "test": 50}


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1))
def test_each_sequence_is_found_where_it_is_first(rows: list[list[int]]) -> None:
    found = first_of_each(Sequences.from_lists(rows, 3).padded)
    assert found.tolist() == sorted({rows.index(row) for row in rows})
