from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.config import TaskConfig
from seqrev.data.sequences import Sequences, example, group_by_length, read_sequences
from seqrev.errors import InputError, UsageError
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


def test_sequences_are_read_as_words_or_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text('4 8 2 9\n1,2\n{"src": [3, 4]}\n {"tgt": [6, 5], "src": [5, 6], "note": 1}\n7')
    assert read_sequences(path, TaskConfig()) == [[4, 8, 2, 9], [1, 2], [3, 4], [5, 6], [7]]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 x", "'x' is not a whole number"),
        ("", "empty"),
        ("99", "99 is not in the vocabulary"),
        ("1 2 3 4 5 6", "takes 1 to 5"),
        ("{", "not valid JSON"),
        ('{"src": ' + "[" * 100_000, "not valid JSON"),
        ("{}", '"src" must be a list of whole numbers'),
        ('{"src": "12"}', '"src" must be a list of whole numbers'),
        ('{"src": [1.0]}', '"src" must be a list of whole numbers'),
        ('{"src": [true]}', '"src" must be a list of whole numbers'),
        ('{"src": []}', "empty"),
        ('{"src": [-1]}', "-1 is not in the vocabulary"),
        ('{"src": [1000000000000000000000000000000]}', "is not in the vocabulary"),
        ('{"src": [1, 2], "tgt": [1, 2]}', '"tgt" is not what the rule reverse makes of "src"'),
        ('{"src": [1, 2], "tgt": null}', '"tgt" is not what the rule reverse makes of "src"'),
    ],
)
def test_a_faulty_line_is_refused_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"1 2\n{line}\n3 4\n")
    with pytest.raises(UsageError) as caught:
        read_sequences(path, TaskConfig(), longest=5)
    assert str(caught.value).startswith("Line 2: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"), [(None, "does not exist"), (b"", "is empty"), (b"1 2\n\x80\xff\x00", "is not text")]
)
def test_a_file_without_sequences_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_sequences(path, TaskConfig())
    with pytest.raises(InputError, match="is a folder"):
        read_sequences(tmp_path, TaskConfig())


def test_the_example_is_the_first_of_the_longest_that_fit() -> None:
    sequences = [[1], [1, 2], [2, 1], list(range(30))]
    assert example(sequences) == [1, 2]
    assert example(sequences, at_most=1) == [1]
    assert example([list(range(40)), list(range(30))]) == list(range(30))
