"""The position schemes against the formulas of their papers, written out once more."""

import cmath
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import ModelConfig
from seqrev.decoding import PATIENCE
from seqrev.model.positions import (
    BUCKETS,
    NOWHERE,
    alibi_bias,
    angles,
    length_scale,
    offset_buckets,
    place_table,
    relate,
    relative_bias,
    sinusoidal,
    source_positions,
    turn,
)

FEW = settings(max_examples=30, deadline=None)
positions_up_to_a_million = st.integers(0, 1_000_000)
bases = st.sampled_from([10_000.0, 100.0, 2.0])


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


# --- rotary -----------------------------------------------------------------------------------------------------------


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned_by_hand(state: list[float], position: int, base: float) -> list[float]:
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
def test_turning_is_multiplying_complex_numbers(positions: list[int], half: int, base: float, seed: int) -> None:
    states = draw(2, 3, len(positions), 2 * half, seed=seed)
    turned = turn(states, angles(torch.tensor(positions), 2 * half, base))
    expected = [
        [[turned_by_hand(s, p, base) for s, p in zip(h, positions, strict=True)] for h in b] for b in states.tolist()
    ]
    torch.testing.assert_close(turned, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


@FEW
@given(query=positions_up_to_a_million, key=positions_up_to_a_million, shift=positions_up_to_a_million, base=bases)
def test_a_product_depends_only_on_the_difference_of_positions(query: int, key: int, shift: int, base: float) -> None:
    states = draw(2, 1, 1, 1, 8)

    def product(query: int, key: int) -> float:
        turned = [
            turn(state, angles(torch.tensor([place]), 8, base)) for state, place in zip(states, (query, key), strict=True)
        ]
        return float((turned[0] * turned[1]).sum())

    assert product(query + shift, key + shift) == pytest.approx(product(query, key), abs=1e-8)


def test_a_product_tells_near_from_far_and_before_from_after() -> None:
    states = draw(2, 1, 1, 1, 8)
    products = {
        difference: float((states[0] * turn(states[1], angles(torch.tensor([difference]), 8, 100.0))).sum())
        for difference in range(-20, 21)
    }
    assert min(abs(a - b) for a, b in itertools.combinations(products.values(), 2)) > 1e-6


@FEW
@given(position=positions_up_to_a_million, base=bases, seed=st.integers(0, 99))
def test_turning_keeps_the_norm_of_every_pair_and_position_zero(position: int, base: float, seed: int) -> None:
    state = draw(1, 1, 2, 8, seed=seed)
    turned = turn(state, angles(torch.tensor([0, position]), 8, base))
    assert turned[0, 0, 0].equal(state[0, 0, 0])
    for states in (state, turned):
        assert states.shape == (1, 1, 2, 8)
    norms = [states.view(1, 1, 2, 2, 4).norm(dim=-2) for states in (state, turned)]
    torch.testing.assert_close(norms[0], norms[1], rtol=0, atol=1e-12)


def test_turning_is_precise_at_a_large_position_in_single_precision_too() -> None:
    """The sine and cosine of 1,000,000 radians, to ten places: a float32 angle has an error of 0.03 there."""
    turned = turn(torch.tensor([[[[1.0, 0.0]]]]), angles(torch.tensor([1_000_000]), 2, 10_000.0))
    assert turned.dtype == torch.float32
    assert turned.flatten().tolist() == pytest.approx([0.9367521275, -0.3499935022], abs=1e-7)
    states = draw(1, 1, 1, 16)
    angle = angles(torch.tensor([999_999]), 16, 100.0)
    assert angle.dtype == torch.float64
    expected = torch.tensor(turned_by_hand(states.flatten().tolist(), 999_999, 100.0), dtype=torch.float64)
    torch.testing.assert_close(turn(states.float(), angle).double().flatten(), expected, rtol=0, atol=1e-6)


# --- where source tokens stand ----------------------------------------------------------------------------------------


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
    framed = length + 2  # <BOS> and <EOS> have positions too
    places = source_positions(torch.tensor([[framed]]), framed + padding, "end")[0].tolist()
    for step in range(length):  # the target token at position `step` is followed by the source symbol length - 1 - step
        emitted = 1 + (length - 1 - step)
        assert places[emitted] == step + 1


# --- ALiBi ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, [1 / 256]),
        (2, [1 / 16, 1 / 256]),
        (8, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]),  # the example of the paper
    ],
)
def test_the_bias_falls_linearly_with_distance_both_ways(heads: int, slopes: list[float]) -> None:
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


# --- relative biases --------------------------------------------------------------------------------------------------


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


# --- random positions -------------------------------------------------------------------------------------------------


def test_in_training_places_are_a_sorted_subset_of_all_positions() -> None:
    torch.manual_seed(0)
    lengths, drawn = torch.tensor([[3], [7], [5]]), torch.zeros(50)
    for _ in range(400):
        table = place_table(lengths, 50, training=True)
        assert table.shape == (1, 7)  # one for the whole batch, as long as its longest source
        assert (table.diff() > 0).all()
        assert 0 <= table[0, 0] <= table[0, -1] < 50
        drawn[table[0]] += 1
    assert drawn.min() > 25  # 56 on average, with a standard deviation of 7
    assert drawn.max() < 90


def test_in_training_all_positions_are_used_where_there_are_no_more() -> None:
    assert place_table(torch.tensor([[9]]), 9, training=True).tolist() == [[*range(9)]]


def test_in_evaluation_places_are_spread_evenly_by_each_rows_own_length() -> None:
    table = place_table(torch.tensor([[4], [10], [1], [300]]), 103, training=False)
    for row, step in zip(table.tolist(), (25, 10, 103, 1), strict=True):  # more tokens than positions: one by one
        assert row == [step * place for place in range(len(row))]
    alone = place_table(torch.tensor([[4]]), 103, training=False)
    assert alone[0].equal(table[0, : alone.shape[1]])


@pytest.mark.parametrize("length", [3, 12, 1000])
def test_in_evaluation_there_is_a_place_for_the_longest_answer(length: int) -> None:
    table = place_table(torch.tensor([[length]]), 2048, training=False)
    assert table.shape[1] >= length + PATIENCE
    assert table[0, length - 1] < 2048


# --- length scaling, and all together ---------------------------------------------------------------------------------


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
    assert relate(config(positions=positions, **others), QUERIES, KEYS) == NOWHERE


def test_rotary_gives_angles_with_the_width_and_the_base_of_a_head() -> None:
    places = relate(config(positions="rotary", position_base=50), QUERIES, KEYS)
    assert (places.bias, places.query_scale) == (None, None)
    assert places.query_angles is not None
    assert places.key_angles is not None
    assert places.query_angles.equal(angles(QUERIES, 8, 50.0))
    assert places.key_angles.equal(angles(KEYS, 8, 50.0)[:, None])  # the same in every head
    assert places.query_angles.shape == (2, 4)
    assert places.key_angles.shape == (2, 1, 4, 4)


def test_rotary_turns_only_the_keys_that_are_not_cached() -> None:
    new = torch.tensor([7])
    places = relate(config(positions="rotary"), QUERIES, KEYS, new_keys=new)
    assert places.key_angles is not None
    assert places.key_angles.equal(angles(new, 8, 10_000.0))
    places = relate(config(positions="rotary"), QUERIES, KEYS, new_keys=KEYS[:, :0])
    assert places.key_angles is not None
    assert places.key_angles.shape == (2, 1, 0, 4)


def test_alibi_gives_a_bias_to_all_keys_cached_or_not() -> None:
    for new_keys in (None, KEYS[:, :0]):
        places = relate(config(positions="alibi"), QUERIES, KEYS, new_keys=new_keys)
        assert (places.query_angles, places.key_angles, places.query_scale) == (None, None, None)
        assert places.bias is not None
        assert places.bias.equal(alibi_bias(QUERIES, KEYS, 2))


def test_relative_gives_every_key_its_bias_cached_or_not_times_the_root_of_a_heads_width() -> None:
    biases = draw(BUCKETS, 2)
    for new_keys in (None, KEYS[:, :0]):
        places = relate(config(positions="relative"), QUERIES, KEYS, new_keys=new_keys, biases=biases)
        assert (places.query_angles, places.key_angles, places.query_scale) == (None, None, None)
        assert places.bias is not None
        torch.testing.assert_close(places.bias, math.sqrt(8) * relative_bias(QUERIES, KEYS, biases))


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "alibi", "none"])
def test_length_scaling_goes_with_every_scheme(positions: str) -> None:
    plain, scaled = (
        relate(config(positions=positions, length_scaling=scaling), QUERIES, KEYS, lengths=LENGTHS)
        for scaling in (False, True)
    )
    assert plain.query_scale is None
    assert scaled.query_scale is not None
    assert scaled.query_scale.shape == (2, 1, 1, 1)
    assert scaled.query_scale.flatten().tolist() == pytest.approx([math.log(5, 20), math.log(3, 20)])
    for one, other in zip(plain[:3], scaled[:3], strict=True):
        assert (one is None) == (other is None)


def test_self_attention_is_not_scaled_with_length() -> None:
    assert relate(config(length_scaling=True), QUERIES, KEYS) == NOWHERE
