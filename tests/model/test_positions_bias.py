"""Biases of the scores: ALiBi and relative ones against the formulas of their papers, written out once more."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.model.positions import BUCKETS, alibi_bias, offset_buckets, relative_bias
from tests.model.models import draw

FEW = settings(max_examples=30, deadline=None)


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, [1 / 256]),
        (2, [1 / 16, 1 / 256]),
        (8, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]),  # the example of the paper
    ],
)
def test_alibi_falls_linearly_with_distance_both_ways(heads: int, slopes: list[float]) -> None:
    queries, keys = [2, 0], [0, 1, 5]
    bias = alibi_bias(torch.tensor(queries), torch.tensor(keys), heads)
    assert bias.dtype == torch.float32
    assert bias.tolist() == [[[-slope * abs(q - k) for k in keys] for q in queries] for slope in slopes]


@pytest.mark.parametrize(
    ("queries", "keys", "shape"),
    [
        ((3,), (5,), (4, 3, 5)),
        ((2, 3), (2, 5), (2, 4, 3, 5)),
        ((3,), (2, 5), (2, 4, 3, 5)),
        ((1, 3), (2, 5), (2, 4, 3, 5)),
        ((2, 3), (5,), (2, 4, 3, 5)),
    ],
)
def test_rows_may_have_positions_of_their_own(
    queries: tuple[int, ...], keys: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randint(20, queries, generator=generator), torch.randint(20, keys, generator=generator)
    bias = alibi_bias(query, key, 4)
    assert bias.shape == shape
    for row in range(2 if len(shape) == 4 else 0):
        assert bias[row].equal(alibi_bias(query.expand(2, -1)[row], key.expand(2, -1)[row], 4))


def bucket_of_t5(offset: int) -> int:
    """As T5's published code has it, with 32 buckets up to a distance of 128, for attention that looks both ways."""
    distance, first = abs(offset), 16 if offset > 0 else 0
    if distance < 8:
        return first + distance
    return first + min(8 + int(math.log(distance / 8) / math.log(128 / 8) * 8 + 1e-9), 15)


def test_offsets_share_the_buckets_of_t5() -> None:
    offsets = [*range(-1_000, 1_001), 100_000, -100_000]
    buckets = offset_buckets(torch.tensor(offsets)).tolist()
    assert buckets == [bucket_of_t5(offset) for offset in offsets]
    assert {*buckets} == {*range(BUCKETS)} - {16}  # no distance of zero is after
    assert [bucket_of_t5(offset) for offset in (0, -7, -8, -11, -12, -90, -91, 1, 12)] == [0, 7, 8, 8, 9, 14, 15, 17, 25]


@FEW
@given(offset=st.integers(-10_000_000, 10_000_000), further=st.integers(0, 1_000_000))
def test_a_key_further_off_is_never_in_a_nearer_bucket(offset: int, further: int) -> None:
    away = offset + further if offset > 0 else offset - further
    near, far = offset_buckets(torch.tensor([offset, away])).tolist()
    assert near <= far
    assert (near < BUCKETS // 2) == (offset <= 0) == (far < BUCKETS // 2)


@pytest.mark.parametrize(("queries", "keys"), [((3,), (5,)), ((2, 3), (2, 5)), ((3,), (2, 5)), ((2, 3), (5,))])
def test_a_relative_bias_is_the_number_of_its_bucket_and_head(queries: tuple[int, ...], keys: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randint(200, queries, generator=generator), torch.randint(200, keys, generator=generator)
    biases = draw(BUCKETS, 4)
    bias = relative_bias(query, key, biases)
    rows = bias if bias.ndim == 4 else bias[None]
    assert bias.ndim == max(query.ndim, key.ndim) + 2
    for row, (ones, others) in enumerate(zip(query.expand(len(rows), -1), key.expand(len(rows), -1), strict=True)):
        for (t, one), (s, other) in itertools.product(enumerate(ones.tolist()), enumerate(others.tolist())):
            assert rows[row, :, t, s].equal(biases[bucket_of_t5(other - one)])
