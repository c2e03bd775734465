from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqrev import task
from seqrev.errors import UsageError

few = settings(max_examples=25, deadline=None)
sequences = st.lists(st.integers(0, 99), min_size=1, max_size=30)


BY_HAND: dict[task.RuleName, Callable[[list[int]], list[int]]] = {
    "reverse": lambda symbols: symbols[::-1],
    "copy": list,
    "sort": sorted,
    "rotate": lambda symbols: symbols[1:] + symbols[:1],
    "swap": lambda symbols: [symbol for start in range(0, len(symbols), 2) for symbol in symbols[start : start + 2][::-1]],
    "odd_first": lambda symbols: symbols[::2] + symbols[1::2],
    "repeat": lambda symbols: [symbol for symbol in symbols for _ in range(2)],
}
each_rule = pytest.mark.parametrize("rule", task.RULES)


def test_every_rule_is_tested_and_can_be_chosen() -> None:
    assert [*BY_HAND, "pairs"] == [*task.RULES, "pairs"] == list(get_args(task.RuleName))


def test_of_pairs_nobody_knows_the_answers() -> None:
    for ask in (task.apply_rule, task.alignment):
        with pytest.raises(UsageError, match="known of the given pairs only"):
            ask(np.array([1, 2]), "pairs")


@each_rule
@few
@given(sequences)
def test_a_rule_is_what_its_name_says(rule: task.RuleName, symbols: list[int]) -> None:
    assert task.apply_rule(np.array(symbols), rule).tolist() == BY_HAND[rule](symbols)


@pytest.mark.parametrize("rule", ["reverse", "swap"])
@few
@given(sequences)
def test_twice_it_is_the_identity(rule: task.RuleName, symbols: list[int]) -> None:
    assert task.apply_rule(task.apply_rule(np.array(symbols), rule), rule).tolist() == symbols


@each_rule
@few
@given(sequences)
def test_the_alignment_points_at_what_the_rule_emits(rule: task.RuleName, symbols: list[int]) -> None:
    source = np.array([symbols, symbols[::-1]])
    indices = task.alignment(source, rule)
    assert indices.shape == (2, task.answer_length(len(symbols), rule))
    times = indices.shape[1] // len(symbols)
    for row, order in zip(source, indices, strict=True):
        assert sorted(order.tolist()) == sorted([*range(len(symbols))] * times)  # each symbol as often
        assert [int(row[index]) for index in order] == task.apply_rule(row, rule).tolist()


def test_the_rule_works_on_every_row_of_a_batch() -> None:
    batch = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int32)
    assert task.apply_rule(batch, "reverse").tolist() == [[3, 2, 1], [6, 5, 4]]


batches = st.lists(st.lists(st.integers(0, 99), max_size=8), min_size=1, max_size=9)


def filled(rows: list[list[int]], longest: int) -> NDArray[np.int64]:
    return np.array([row + [task.ENDED] * (longest - len(row)) for row in rows], np.int64)


@each_rule
@few
@given(batches, st.integers(8, 11))
def test_a_batch_of_different_lengths_is_answered_as_its_rows_are(
    rule: task.RuleName, rows: list[list[int]], longest: int
) -> None:
    answers = task.apply_rule(filled(rows, longest), rule)
    expected = filled([BY_HAND[rule](row) for row in rows], task.answer_length(longest, rule))
    assert answers.tolist() == expected.tolist()


@few
@given(batches, st.integers(8, 11))
def test_a_batch_of_different_lengths_has_the_ids_of_its_rows_and_padding(rows: list[list[int]], longest: int) -> None:
    ids = task.add_special_tokens(filled(rows, longest)).tolist()
    for row, found in zip(rows, ids, strict=True):
        alone = task.add_special_tokens(np.array(row, np.int64)).tolist()
        assert found == alone + [task.PAD] * (longest - len(row))


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64])
def test_the_answer_has_the_type_of_the_source(kind: type[np.signedinteger[Any]]) -> None:
    for rows in ([[4, 8, 2], [9, 1, 0]], [[4, 8, 2], [9, task.ENDED, task.ENDED]]):
        assert task.apply_rule(np.array(rows, kind), "reverse").dtype == kind


@few
@given(sequences)
def test_adding_special_tokens_and_removing_them_is_the_identity(symbols: list[int]) -> None:
    ids = task.add_special_tokens(np.array(symbols)).tolist()
    assert len(ids) == len(symbols) + 2
    assert (ids[0], ids[-1]) == (task.BOS, task.EOS)
    assert min(ids[1:-1]) >= task.FIRST_SYMBOL
    assert task.ids_to_symbols(ids[1:]) == symbols


def test_adding_special_tokens_keeps_leading_axes() -> None:
    ids = task.add_special_tokens(np.array([[0, 1], [2, 3]], dtype=np.int32))
    assert ids.tolist() == [[1, 3, 4, 2], [1, 5, 6, 2]]
    assert ids.dtype == np.int64


def test_symbols_end_at_the_first_eos_and_need_none() -> None:
    assert task.ids_to_symbols([5, 2, 6, 2]) == [2]
    assert task.ids_to_symbols([5, 6]) == [2, 3]
    assert task.ids_to_symbols([2]) == []


def test_the_vocabulary_has_three_ids_more_than_symbols() -> None:
    assert task.vocabulary_size(10) == 13


@few
@given(sequences, st.sampled_from([" ", ",", ", ", "\t", "  "]))
def test_what_is_printed_can_be_parsed(symbols: list[int], separator: str) -> None:
    assert task.parse_sequence(separator.join(map(str, symbols)) + "\n", symbols=100) == symbols


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  , ,", "empty"),
        ("4 x 2", "'x' is not a whole number"),
        ("4.0", "'4.0' is not a whole number"),
        ("1_0", "'1_0' is not a whole number"),
        ("--1", "'--1' is not a whole number"),
        ("+1", "'+1' is not a whole number"),
        ("٣", "is not a whole number"),
        ("²", "is not a whole number"),
        ("1" * 5000, "is not a whole number"),
        ("10", "10 is not in the vocabulary; the symbols are 0 to 9"),
        ("-1", "-1 is not in the vocabulary"),
        ("1 2 3 4 5 6", "6 symbols; this model takes 1 to 5"),
        ("\x1b[31m", "is not a whole number"),
    ],
)
def test_a_wrong_sequence_is_refused_with_its_reason(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        task.parse_sequence(text, symbols=10, longest=5)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200
    assert "\x1b" not in str(caught.value)
    too_long = "takes 1 to 5" in says
    assert caught.value.hint.startswith("seqrev train --config " if too_long else "seqrev decode ")


@pytest.mark.parametrize(("length", "fits"), [(1, True), (1_000, True), (1_001, False)])
def test_a_length_alone_can_be_checked(length: int, fits: bool) -> None:
    if fits:
        task.check_length(length, 1_000)
        return
    with pytest.raises(UsageError, match=r"1,001 symbols; this model takes 1 to 1,000 \(model\.max_positions") as caught:
        task.check_length(length, 1_000)
    assert caught.value.hint == "seqrev train --config extrapolate"
    with pytest.raises(UsageError) as caught:
        task.check_length(200_000, 131_070)
    assert caught.value.hint == "seqrev train --config extrapolate --set model.max_positions=200002"


def test_the_example_in_the_hint_fits_the_vocabulary() -> None:
    with pytest.raises(UsageError) as caught:
        task.check_sequence([5], symbols=3)
    assert all(0 <= int(word) < 3 for word in caught.value.hint.split()[2:])


def test_the_longest_sequence_that_fits_is_taken() -> None:
    assert task.parse_sequence("1 2 3 4 5", symbols=10, longest=5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("line", "hint"), [("4829", "4 8 2 9"), ("1 23", "1 2 3")])
def test_symbols_that_were_not_separated_are_recognised(line: str, hint: str) -> None:
    with pytest.raises(UsageError, match="Put spaces between them") as caught:
        task.parse_sequence(line, symbols=10)
    assert caught.value.hint == f"seqrev decode {hint}"


@pytest.mark.parametrize(("line", "symbols"), [("47", 5), ("12", 12), ("-12", 10)])
def test_a_number_that_cannot_be_several_symbols_is_only_out_of_range(line: str, symbols: int) -> None:
    with pytest.raises(UsageError, match="is not in the vocabulary") as caught:
        task.parse_sequence(line, symbols)
    assert "spaces" not in str(caught.value)
