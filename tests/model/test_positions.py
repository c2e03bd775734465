"""The position encoding against the formula of the paper, written out once more."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.model.positions import sinusoidal


def formula(position: int, d_model: int, base: float = 10_000.0) -> list[float]:
    """ "Attention Is All You Need", section 3.5, in double precision: sines at even places, cosines at odd ones."""
    encoding = []
    for i in range(d_model // 2):
        angle = position / base ** (2 * i / d_model)
        encoding += [math.sin(angle), math.cos(angle)]
    return encoding


@pytest.mark.parametrize("d_model", [2, 6, 64])
@pytest.mark.parametrize("base", [10_000.0, 100.0, 1.5])
def test_it_is_the_formula_of_the_paper(d_model: int, base: float) -> None:
    positions = [0, 1, 2, 3, 17, 4095]
    expected = torch.tensor([formula(position, d_model, base) for position in positions], dtype=torch.float64)
    encoding = sinusoidal(torch.tensor(positions), d_model, base)
    assert encoding.dtype == torch.float32
    torch.testing.assert_close(encoding.double(), expected, rtol=0, atol=1e-7)


def test_the_base_is_ten_thousand_unless_said_otherwise() -> None:
    positions = torch.arange(50)
    assert sinusoidal(positions, 8).equal(sinusoidal(positions, 8, 10_000.0))


@settings(max_examples=30, deadline=None)
@given(position=st.integers(0, 10_000_000))
def test_large_positions_are_as_precise_as_small_ones(position: int) -> None:
    expected = torch.tensor(formula(position, 16), dtype=torch.float64)
    torch.testing.assert_close(sinusoidal(torch.tensor([position]), 16)[0].double(), expected, rtol=0, atol=1e-7)


def test_leading_axes_are_kept() -> None:
    positions = torch.arange(12).view(2, 3, 2)
    encoding = sinusoidal(positions, 6)
    assert encoding.shape == (2, 3, 2, 6)
    assert encoding.flatten(0, 2).equal(sinusoidal(torch.arange(12), 6))


@pytest.mark.parametrize("start", [0, 1_000_000])
def test_no_two_positions_are_alike(start: int) -> None:
    encoding = sinusoidal(torch.arange(start, start + 1000), 32).double()
    distance = torch.cdist(encoding, encoding) + 10 * torch.eye(1000)
    assert distance.min() > 0.1
