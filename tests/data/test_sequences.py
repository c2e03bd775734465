from hypothesis import given
from hypothesis import strategies as st

from seqrev.data.sequences import Sequences, example, group_by_length
from tests.data.common import few, lists_of_symbols, padded


@given(rows=lists_of_symbols)
def test_sequences_are_the_list_that_they_were_made_of(rows: list[list[int]]) -> None:
    sequences = padded(rows)
    assert len(sequences) == len(rows)
    assert list(sequences) == rows
    assert list(sequences[1:3]) == rows[1:3]
    assert sequences[-1] == rows[-1]


@given(rows=lists_of_symbols)
def test_every_sequence_is_in_the_group_of_its_length(rows: list[list[int]]) -> None:
    found = {
        index: row for indices, group in group_by_length(padded(rows)) for index, row in zip(indices, group, strict=True)
    }
    assert {index: row.tolist() for index, row in found.items()} == dict(enumerate(rows))


@few
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=30))
def test_grouping_by_length_keeps_every_row_and_the_order(rows: list[list[int]]) -> None:
    for sequences in (rows, Sequences.from_lists(rows, symbols=10, longest=6)):
        groups = list(group_by_length(sequences))
        assert [group.shape[1] for _, group in groups] == sorted({len(row) for row in rows})
        for indices, group in groups:
            expected = [(index, row) for index, row in enumerate(rows) if len(row) == group.shape[1]]
            assert [*zip(indices.tolist(), group.tolist(), strict=True)] == expected


def test_the_example_is_the_first_of_the_longest_that_fit() -> None:
    sequences = [[1], [1, 2], [2, 1], list(range(30))]
    assert example(sequences) == [1, 2]
    assert example(sequences, at_most=1) == [1]
    assert example([list(range(40)), list(range(30))]) == list(range(30))
