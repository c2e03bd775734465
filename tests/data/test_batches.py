import collections
from typing import Any

import numpy as np
import pytest

from seqrev.config import Config
from seqrev.data.batches import Batches
from seqrev.data.sampling import draw_split
from tests.data.common import small_config, split_by_hand


def training_rows(config: Config) -> list[tuple[int, ...]]:
    return [tuple(row) for chunk in draw_split("train", config.data.train, config) for row in chunk]


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_is_a_function_of_configuration_and_step_in_any_order(stream: bool) -> None:
    config = small_config("train.batch_size=32")
    rows = None if stream else training_rows(config)
    in_order = [Batches(config, rows)[step] for step in range(60)]
    batches = Batches(config, rows)
    for step in np.random.default_rng(0).permutation(60).tolist():
        assert np.array_equal(batches[step], in_order[step])
    others = [Batches(small_config("train.batch_size=32", "seed=9"), rows)[step] for step in range(60)]
    assert not all(np.array_equal(one, other) for one, other in zip(in_order, others, strict=True))


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_is_full_and_of_one_length(stream: bool) -> None:
    config = small_config("train.batch_size=32")
    batches = Batches(config, None if stream else training_rows(config))
    shapes = {batches[step].shape for step in range(200)}
    assert shapes == {(32, length) for length in range(1, 6)}


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
def test_every_training_row_is_in_every_epoch(batch_size: int) -> None:
    config = small_config(f"train.batch_size={batch_size}", "data.train=300")
    rows = training_rows(config)
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
    config = small_config("train.batch_size=64", "task.max_length=8", "task.min_length=6")
    batches = Batches(config, None)
    seen: list[Any] = []
    for step in range(20):
        batch = batches[step].tolist()
        assert {split_by_hand(row) for row in batch} == {"train"}
        assert batch not in seen
        seen.append(batch)
