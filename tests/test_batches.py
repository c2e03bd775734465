"""Batches and chunks."""

import collections
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev import batches as batches_module
from seqrev import data
from seqrev.batches import Batches
from seqrev.config import Config, TaskConfig
from tests.test_data import config_of, few, split_by_hand


def rows_of(config: Config) -> list[tuple[int, ...]]:
    return [tuple(row) for chunk in data.rows_of("train", config.data.train, config) for row in chunk]


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_is_a_function_of_configuration_and_step_in_any_order(stream: bool) -> None:
    config = config_of("train.batch_size=32")
    rows = None if stream else rows_of(config)
    in_order = [Batches(config, rows)[step] for step in range(60)]
    batches = Batches(config, rows)
    for step in np.random.default_rng(0).permutation(60).tolist():
        assert np.array_equal(batches[step], in_order[step])
    others = [Batches(config_of("train.batch_size=32", "seed=9"), rows)[step] for step in range(60)]
    assert not all(np.array_equal(one, other) for one, other in zip(in_order, others, strict=True))


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_is_full_and_of_one_length(stream: bool) -> None:
    config = config_of("train.batch_size=32")
    batches = Batches(config, None if stream else rows_of(config))
    shapes = {batches[step].shape for step in range(200)}
    assert shapes == {(32, length) for length in range(1, 6)}


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
def test_every_training_row_is_in_every_epoch(batch_size: int) -> None:
    config = config_of(f"train.batch_size={batch_size}", "data.train=300")
    rows = rows_of(config)
    per_length = collections.Counter(map(len, rows))
    steps = sum(-(-count // batch_size) for count in per_length.values())
    batches = Batches(config, rows)
    orders = []
    for epoch in range(3):
        seen = collections.Counter(
            tuple(row) for step in range(epoch * steps, (epoch + 1) * steps) for row in batches[step].tolist()
        )
        expected = collections.Counter(rows)
        assert seen.keys() == expected.keys()
        assert all(seen[row] >= expected[row] for row in expected)
        assert seen.total() == steps * batch_size
        orders.append([batches[step].tolist() for step in range(epoch * steps, (epoch + 1) * steps)])
    assert orders[0] != orders[1] != orders[2]


def test_a_stream_holds_only_training_sequences_and_never_repeats_a_batch() -> None:
    config = config_of("train.batch_size=64", "task.max_length=8", "task.min_length=6")
    batches = Batches(config, None)
    seen: list[Any] = []
    for step in range(20):
        batch = batches[step].tolist()
        assert {split_by_hand(row) for row in batch} == {"train"}
        assert batch not in seen
        seen.append(batch)


def test_a_stream_passes_over_lengths_without_a_training_sequence() -> None:
    task = TaskConfig(symbols=2, max_length=3)
    present = data.available_lengths("train", task)
    every = [row for length in (1, 2, 3) for row in itertools.product(range(2), repeat=length)]
    assert present == sorted({len(row) for row in every if split_by_hand(list(row)) == "train"})


@few
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=30))
def test_grouping_by_length_keeps_every_row_and_the_order(rows: list[list[int]]) -> None:
    groups = batches_module.group_by_length(rows)
    assert list(groups) == sorted({len(row) for row in rows})
    for length, group in groups.items():
        assert group.tolist() == [row for row in rows if len(row) == length]


@pytest.mark.parametrize("heads", [1, 4])
def test_chunks_hold_every_sequence_once_and_bounded_scores(heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "SCORES_AT_ONCE", 500)
    rows = [tuple(range(length)) for length in (3, 8, 3, 30, 8, 3, 8, 8) for _ in range(5)]
    chunks = list(batches_module.in_chunks(rows, heads, vocabulary=9))
    assert sorted(tuple(row) for chunk in chunks for row in chunk.tolist()) == sorted(rows)
    for chunk in chunks:
        assert len(chunk) == 1 or len(chunk) * heads * (chunk.shape[1] + 2) ** 2 <= 500
