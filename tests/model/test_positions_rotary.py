"""Rotary positions against complex numbers. The rotations are float32, whatever the states are."""

import cmath
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.model.positions import angles, apply_rotary, rotation
from tests.model.models import draw

FEW = settings(max_examples=30, deadline=None)
positions_up_to_a_million = st.integers(0, 1_000_000)
bases = st.sampled_from([10_000.0, 100.0, 2.0])


def rotate(states: torch.Tensor, positions: list[int], base: float) -> torch.Tensor:
    return apply_rotary(states, rotation(torch.tensor(positions), states.shape[-1], base))


def rotated_by_hand(state: list[float], position: int, base: float) -> list[float]:
    """Pair ``i`` is one complex number, multiplied by ``exp(i pos / base^(2i / d_head))``."""
    half = len(state) // 2
    numbers = [
        complex(state[i], state[i + half]) * cmath.exp(1j * position / base ** (2 * i / len(state))) for i in range(half)
    ]
    return [number.real for number in numbers] + [number.imag for number in numbers]


@FEW
@given(
    positions=st.lists(positions_up_to_a_million, min_size=1, max_size=4),
    half=st.integers(1, 4),
    base=bases,
    seed=st.integers(0, 99),
)
def test_a_rotation_is_multiplying_complex_numbers(positions: list[int], half: int, base: float, seed: int) -> None:
    states = draw(2, 3, len(positions), 2 * half, seed=seed)
    rotated = rotate(states, positions, base)
    expected = [
        [[rotated_by_hand(s, p, base) for s, p in zip(h, positions, strict=True)] for h in b] for b in states.tolist()
    ]
    torch.testing.assert_close(rotated, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


@FEW
@given(query=positions_up_to_a_million, key=positions_up_to_a_million, shift=positions_up_to_a_million, base=bases)
def test_a_product_depends_only_on_the_difference_of_positions(query: int, key: int, shift: int, base: float) -> None:
    states = draw(2, 1, 1, 1, 8)

    def product(query: int, key: int) -> float:
        rotated = [rotate(state, [position], base) for state, position in zip(states, (query, key), strict=True)]
        return float((rotated[0] * rotated[1]).sum())

    assert product(query + shift, key + shift) == pytest.approx(product(query, key), abs=1e-5)


def test_a_product_tells_near_from_far_and_before_from_after() -> None:
    states = draw(2, 1, 1, 1, 8)
    products = {
        difference: float((states[0] * rotate(states[1], [difference], 100.0)).sum()) for difference in range(-20, 21)
    }
    assert min(abs(a - b) for a, b in itertools.combinations(products.values(), 2)) > 1e-6


@FEW
@given(position=positions_up_to_a_million, base=bases, seed=st.integers(0, 99))
def test_a_rotation_keeps_the_norm_of_every_pair_and_position_zero(position: int, base: float, seed: int) -> None:
    state = draw(1, 1, 2, 8, seed=seed)
    rotated = rotate(state, [0, position], base)
    assert rotated[0, 0, 0].equal(state[0, 0, 0])
    for states in (state, rotated):
        assert states.shape == (1, 1, 2, 8)
    norms = [states.view(1, 1, 2, 2, 4).norm(dim=-2) for states in (state, rotated)]
    torch.testing.assert_close(norms[0], norms[1], rtol=0, atol=1e-6)


def test_a_rotation_is_precise_at_a_large_position_in_single_precision_too() -> None:
    """The sine and cosine of 1,000,000 radians, to ten places: a float32 angle has an error of 0.03 there."""
    rotated = rotate(torch.tensor([[[[1.0, 0.0]]]]), [1_000_000], 10_000.0)
    assert rotated.dtype == torch.float32
    assert rotated.flatten().tolist() == pytest.approx([0.9367521275, -0.3499935022], abs=1e-7)
    states = draw(1, 1, 1, 16)
    assert angles(torch.tensor([999_999]), 16, 100.0).dtype == torch.float64
    expected = torch.tensor(rotated_by_hand(states.flatten().tolist(), 999_999, 100.0), dtype=torch.float64)
    torch.testing.assert_close(rotate(states.float(), [999_999], 100.0).double().flatten(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_states_keep_their_type(dtype: torch.dtype) -> None:
    assert rotate(draw(1, 1, 2, 4).to(dtype), [0, 3], 100.0).dtype == dtype


def test_rows_may_have_positions_of_their_own_that_all_heads_share() -> None:
    positions, states = torch.tensor([[0, 3], [5, 1]]), draw(2, 3, 2, 4)
    rotated = apply_rotary(states, rotation(positions, 4, 100.0))
    for row in range(2):
        assert rotated[row].equal(rotate(states[row : row + 1], positions[row].tolist(), 100.0)[0])
