"""Where tokens are, sinusoids against the formula of their paper, and what each scheme tells attention."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import ModelConfig
from seqrev.inference.search import MAX_EXTRA_TOKENS
from seqrev.model.positions import (
    BUCKETS,
    NO_POSITIONS,
    PositionInputs,
    ScoreBias,
    alibi_bias,
    length_scale,
    position_inputs,
    randomized_positions,
    relative_bias,
    rotation,
    sinusoidal,
    source_positions,
)
from tests.model.models import draw


def formula(position: int, d_model: int, base: float = 10_000.0) -> list[float]:
    """ "Attention Is All You Need", section 3.5, in double precision: sines at even indices, cosines at odd ones."""
    encoding = []
    for i in range(d_model // 2):
        angle = position / base ** (2 * i / d_model)
        encoding += [math.sin(angle), math.cos(angle)]
    return encoding


@pytest.mark.parametrize("d_model", [2, 6, 64])
@pytest.mark.parametrize("base", [10_000.0, 100.0, 1.5])
def test_sinusoids_are_the_formula_of_the_paper(d_model: int, base: float) -> None:
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


def test_source_positions_count_up_from_the_start_or_down_to_the_last_real_token() -> None:
    lengths = torch.tensor([[6], [4], [1]])
    assert source_positions(lengths, 6, "start").tolist() == [[0, 1, 2, 3, 4, 5]] * 3
    assert source_positions(lengths, 6, "end").tolist() == [
        [5, 4, 3, 2, 1, 0],
        [3, 2, 1, 0, -1, -2],
        [0, -1, -2, -3, -4, -5],
    ]


@pytest.mark.parametrize("length", [1, 2, 9])
@pytest.mark.parametrize("padding", [0, 3])
def test_from_the_end_what_to_emit_next_is_one_position_after_the_target_whatever_the_length(
    length: int, padding: int
) -> None:
    tokens = length + 2  # <BOS> and <EOS> have positions too
    positions = source_positions(torch.tensor([[tokens]]), tokens + padding, "end")[0].tolist()
    for step in range(length):  # the target token at position `step` is followed by the source symbol length - 1 - step
        emitted = 1 + (length - 1 - step)
        assert positions[emitted] == step + 1


def test_in_training_they_are_a_sorted_random_subset_of_all_positions() -> None:
    torch.manual_seed(0)
    lengths, drawn = torch.tensor([[3], [7], [5]]), torch.zeros(50)
    for _ in range(400):
        positions = randomized_positions(lengths, 50, training=True)
        assert positions.shape == (1, 7)  # one for the whole batch, as long as its longest source
        assert (positions.diff() > 0).all()
        assert 0 <= positions[0, 0] <= positions[0, -1] < 50
        drawn[positions[0]] += 1
    assert drawn.min() > 25  # 56 on average, with a standard deviation of 7
    assert drawn.max() < 90


def test_in_training_all_positions_are_used_where_there_are_no_more() -> None:
    assert randomized_positions(torch.tensor([[9]]), 9, training=True).tolist() == [[*range(9)]]


def test_in_evaluation_they_are_spread_evenly_by_each_rows_own_length() -> None:
    positions = randomized_positions(torch.tensor([[4], [10], [1], [300]]), 103, training=False)
    for row, step in zip(positions.tolist(), (25, 10, 103, 1), strict=True):  # more tokens than positions: one by one
        assert row == [step * index for index in range(len(row))]
    alone = randomized_positions(torch.tensor([[4]]), 103, training=False)
    assert alone[0].equal(positions[0, : alone.shape[1]])


@pytest.mark.parametrize("length", [3, 12, 1000])
def test_in_evaluation_there_is_a_position_for_every_token_of_the_longest_answer(length: int) -> None:
    positions = randomized_positions(torch.tensor([[length]]), 2048, training=False)
    assert positions.shape[1] >= length + MAX_EXTRA_TOKENS
    assert positions[0, length - 1] < 2048


def test_the_length_scale_is_one_at_nineteen_keys_and_grows_with_the_logarithm() -> None:
    scale = length_scale(torch.tensor([19, 399, 7_999, 1, 0]))
    assert scale.dtype == torch.float32
    assert scale.tolist() == pytest.approx([1, 2, 3, math.log(2) / math.log(20), 0], abs=1e-6)


def config(**changes: str | int | bool | float) -> ModelConfig:
    return ModelConfig.model_validate({"d_model": 16, "heads": 2} | changes)


QUERIES, KEYS = torch.tensor([3, 9]), torch.tensor([[5, 4, 3, 2], [1, 0, -1, -2]])
LENGTHS = torch.tensor([[4], [2]])


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("others", [{}, {"source_from": "end", "random_positions": 50}])
def test_additive_schemes_and_none_tell_attention_nothing(positions: str, others: dict[str, str | int]) -> None:
    assert position_inputs(config(positions=positions, **others), QUERIES, KEYS) == NO_POSITIONS


def rotations(inputs: PositionInputs) -> tuple[torch.Tensor, ...]:
    assert inputs.query_rotation is not None
    assert inputs.key_rotation is not None
    return *inputs.query_rotation, *inputs.key_rotation


def test_rotary_gives_rotations_with_the_width_and_the_base_of_a_head() -> None:
    inputs = position_inputs(config(positions="rotary", position_base=50), QUERIES, KEYS)
    assert (inputs.bias, inputs.query_scale) == (None, None)
    expected = (*rotation(QUERIES, 8, 50.0), *rotation(KEYS, 8, 50.0))
    assert all(one.equal(other) for one, other in zip(rotations(inputs), expected, strict=True))
    assert [one.shape for one in rotations(inputs)] == [(2, 8)] * 2 + [(2, 1, 4, 8)] * 2  # the same in every head


def test_rotary_rotates_only_the_keys_that_are_not_cached() -> None:
    new = torch.tensor([7])
    inputs = position_inputs(config(positions="rotary"), QUERIES, KEYS, new_keys=new)
    expected = (*rotation(QUERIES, 8, 10_000.0), *rotation(new, 8, 10_000.0))
    assert all(one.equal(other) for one, other in zip(rotations(inputs), expected, strict=True))
    inputs = position_inputs(config(positions="rotary"), QUERIES, KEYS, new_keys=KEYS[:, :0])
    assert inputs.key_rotation is not None
    assert inputs.key_rotation.cos.shape == (2, 1, 0, 8)


def test_alibi_gives_a_bias_to_all_keys_cached_or_not() -> None:
    for new_keys in (None, KEYS[:, :0]):
        inputs = position_inputs(config(positions="alibi"), QUERIES, KEYS, new_keys=new_keys)
        assert inputs.bias is not None
        assert inputs.bias.whole.equal(alibi_bias(QUERIES, KEYS, 2))
        assert inputs._replace(bias=None) == NO_POSITIONS


def test_relative_gives_every_key_its_bias_cached_or_not_times_the_root_of_a_heads_width() -> None:
    biases = draw(BUCKETS, 2)
    for new_keys in (None, KEYS[:, :0]):
        inputs = position_inputs(config(positions="relative"), QUERIES, KEYS, new_keys=new_keys, relative=biases)
        assert inputs.bias is not None
        torch.testing.assert_close(inputs.bias.whole, math.sqrt(8) * relative_bias(QUERIES, KEYS, biases))
        assert inputs._replace(bias=None) == NO_POSITIONS


@pytest.mark.parametrize("queries", [torch.arange(6), torch.arange(12).view(2, 6)], ids=["shared", "of each row"])
def test_a_bias_is_computed_for_the_queries_that_are_asked_for_and_the_whole_once(queries: torch.Tensor) -> None:
    calls = []

    def compute(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        calls.append(one.shape)
        return alibi_bias(one, other, 2)

    bias = ScoreBias(compute, queries, KEYS)
    some = bias.rows(slice(2, 5))
    assert calls == [(*queries.shape[:-1], 3)]
    assert bias.whole.equal(alibi_bias(queries, KEYS, 2))
    assert bias.whole is bias.whole
    assert len(calls) == 2
    assert some.equal(bias.whole[:, :, 2:5])


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "alibi", "none"])
def test_length_scaling_goes_with_every_scheme(positions: str) -> None:
    plain, scaled = (
        position_inputs(config(positions=positions, length_scaling=scaling), QUERIES, KEYS, lengths=LENGTHS)
        for scaling in (False, True)
    )
    assert plain.query_scale is None
    assert scaled.query_scale is not None
    assert scaled.query_scale.shape == (2, 1, 1, 1)
    assert scaled.query_scale.flatten().tolist() == pytest.approx([math.log(5, 20), math.log(3, 20)])
    for one, other in zip(plain[:3], scaled[:3], strict=True):
        assert (one is None) == (other is None)


def test_self_attention_is_not_scaled_with_length() -> None:
    assert position_inputs(config(length_scaling=True), QUERIES, KEYS) == NO_POSITIONS
