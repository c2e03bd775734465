"""True = may attend, for every mask there is."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.model.masks import causal_mask, padding_mask
from seqrev.task import BOS, EOS, PAD


def test_padding_is_false_and_every_other_token_is_true() -> None:
    mask = padding_mask(torch.tensor([[BOS, 7, EOS, PAD, PAD], [BOS, 3, 4, 5, EOS]]))
    assert mask.dtype == torch.bool
    assert mask.shape == (2, 1, 1, 5)
    assert mask[:, 0, 0].tolist() == [[True, True, True, False, False], [True] * 5]


def test_a_position_sees_itself_and_what_comes_before() -> None:
    mask = causal_mask(3, 3)
    assert mask.dtype == torch.bool
    assert mask.shape == (1, 1, 3, 3)
    assert mask[0, 0].int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_fewer_queries_than_keys_are_the_last_positions() -> None:
    assert causal_mask(2, 5)[0, 0].int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert causal_mask(1, 4).all()


@settings(max_examples=25, deadline=None)
@given(past=st.integers(0, 9), queries=st.integers(1, 9))
def test_a_mask_with_a_past_is_the_bottom_of_the_whole_triangle(past: int, queries: int) -> None:
    keys = past + queries
    mask = causal_mask(queries, keys)
    assert mask.shape == (1, 1, queries, keys)
    for query in range(queries):
        for key in range(keys):
            assert bool(mask[0, 0, query, key]) == (key <= past + query)


def test_the_causal_mask_is_made_on_the_device_that_is_asked_for() -> None:
    assert causal_mask(2, 2, torch.device("meta")).device.type == "meta"
