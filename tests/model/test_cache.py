"""The cache returns what was put into it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.model.cache import KeyValueCache, LayerCache
from tests.model.models import draw


@settings(max_examples=25, deadline=None)
@given(chunks=st.lists(st.integers(1, 24), min_size=1, max_size=6), single_query=st.booleans())
def test_it_returns_everything_that_was_appended(chunks: list[int], single_query: bool) -> None:
    cache = KeyValueCache(single_query)
    keys, values = draw(2, 3, sum(chunks), 4), draw(2, 3, sum(chunks), 4, seed=1)
    end = 0
    for chunk in chunks:
        start, end = end, end + chunk
        key, value = cache.append(keys[:, :, start:end], values[:, :, start:end])
        assert cache.length == end
        assert key.equal(keys[:, :, :end])
        assert value.equal(values[:, :, :end])
        assert [tensor.tolist() for tensor in cache.all()] == [key.tolist(), value.tolist()]


def test_it_keeps_the_selected_rows_in_their_order_and_grows_on() -> None:
    cache = KeyValueCache()
    first, more = draw(3, 1, 5, 2), draw(4, 1, 20, 2, seed=1)
    cache.append(first, -first)
    rows = torch.tensor([2, 0, 2, 1])
    cache.select(rows)
    key, value = cache.all()
    assert key.equal(first[rows])
    assert value.equal(-first[rows])
    key, value = cache.append(more, -more)  # grows
    assert key.equal(torch.cat((first[rows], more), dim=2))
    assert value.equal(-key)


@pytest.mark.parametrize(("single_query", "axis"), [(True, 2), (False, 3)], ids=["single query", "many queries"])
def test_on_a_cpu_a_single_query_finds_the_numbers_of_a_feature_side_by_side(single_query: bool, axis: int) -> None:
    cache = KeyValueCache(single_query)
    cache.append(draw(3, 1, 5, 2), draw(3, 1, 5, 2))
    cache.append(draw(3, 1, 20, 2), draw(3, 1, 20, 2))
    cache.select(torch.tensor([2, 0]))
    assert [tensor.stride(axis) for tensor in cache.all()] == [1, 1]


def test_it_copies_rarely() -> None:
    """Doubling: over many single appends the buffer moves a logarithmic number of times."""
    cache, one = KeyValueCache(), draw(1, 1, 1, 1)
    sizes = {cache.append(one, one)[0].untyped_storage().size() for _ in range(1000)}
    assert len(sizes) <= math.log2(1000) - 2  # 16 positions at first
    assert max(sizes) <= 4 * 1000 * one.element_size()


def test_an_empty_cache_has_nothing_to_return_and_nothing_to_select() -> None:
    cache = KeyValueCache()
    cache.select(torch.tensor([0, 0]))
    assert cache.length == 0
    with pytest.raises(ValueError, match="empty"):
        cache.all()


def test_a_layer_cache_selects_target_and_source_alike() -> None:
    cache, rows = LayerCache(), torch.tensor([1, 1, 0])
    target, source = draw(2, 1, 3, 4), draw(2, 1, 5, 4, seed=1)
    cache.target.append(target, -target)
    cache.source.append(source, -source)
    cache.select(rows)
    assert cache.target.all()[0].equal(target[rows])
    assert cache.source.all()[1].equal(-source[rows])
