"""Random numbers of a generator of one's own: the same as those of PyTorch, which keeps its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqrev.model.attention import MultiHeadAttention
from seqrev.model.positions import randomized_positions
from seqrev.model.randomness import Dropout, drawing_from, drop, seeded_globally

VALUES = torch.linspace(-1, 1, 60).view(3, 20)
LENGTHS = torch.tensor([[5], [9]])


def attend() -> Tensor:
    attention = MultiHeadAttention(8, 2, dropout=0.3, query_dropout=0.2, noise=0.7)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    torch.manual_seed(3)  # the constructor has drawn; a generator of one's own has not moved
    states = torch.linspace(-1, 1, 2 * 300 * 8).view(2, 300, 8)  # so long that the fused kernel would be the faster one
    found: Tensor = attention(states, states).states
    return found.detach()


DRAWS: dict[str, Callable[[], Tensor]] = {
    "drop": lambda: drop(VALUES, 0.4),
    "Dropout": lambda: Dropout(0.4)(VALUES),
    "positions": lambda: randomized_positions(LENGTHS, 50, training=True),
    "attention": attend,
}


@pytest.mark.parametrize("name", DRAWS)
def test_they_are_those_of_the_same_seed_and_the_process_keeps_its_own(name: str) -> None:
    torch.manual_seed(3)
    expected = DRAWS[name]()
    own = torch.Generator().manual_seed(3)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with drawing_from(own):
        found = DRAWS[name]()
    assert found.equal(expected)
    if name != "attention":  # of which the constructor draws
        assert torch.get_rng_state().equal(before)
    assert not own.get_state().equal(torch.Generator().manual_seed(3).get_state())


def test_outside_dropout_is_that_of_pytorch() -> None:
    torch.manual_seed(3)
    expected = functional.dropout(VALUES, 0.4)
    torch.manual_seed(3)
    assert drop(VALUES, 0.4).equal(expected)
    module = Dropout(0.4).eval()
    assert module(VALUES) is VALUES
    assert repr(module) == repr(torch.nn.Dropout(0.4))


def test_what_is_not_dropped_draws_nothing() -> None:
    own = torch.Generator().manual_seed(3)
    with drawing_from(own):
        assert drop(VALUES, 0.0).equal(VALUES)
    assert own.get_state().equal(torch.Generator().manual_seed(3).get_state())


def test_the_generators_of_the_process_go_on_where_they_were() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with seeded_globally(3, torch.device("cpu")):
        first = torch.rand(4)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(3)
    assert torch.rand(4).equal(first)
