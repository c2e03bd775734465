"""Many sequences as one array, and as text."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.errors import InputError, UsageError
from seqrev.sequences import BLOCK, NOTHING, Sequences, example, read_jsonl, read_sequences

rows_of_symbols = st.lists(st.lists(st.integers(0, 1_234), min_size=1, max_size=7), min_size=1, max_size=20)


def padded(rows: list[list[int]], width: int = 7) -> Sequences:
    return Sequences(np.array([row + [NOTHING] * (width - len(row)) for row in rows], dtype=np.int32).reshape(-1, width))


@given(rows=rows_of_symbols)
def test_sequences_are_the_list_that_they_were_made_of(rows: list[list[int]]) -> None:
    sequences = padded(rows)
    assert len(sequences) == len(rows)
    assert list(sequences) == rows
    assert list(sequences[1:3]) == rows[1:3]
    assert sequences[-1] == rows[-1]


@given(rows=rows_of_symbols)
def test_every_sequence_stands_where_its_length_says(rows: list[list[int]]) -> None:
    found = {place: row for places, group in padded(rows).by_length() for place, row in zip(places, group, strict=True)}
    assert {place: row.tolist() for place, row in found.items()} == dict(enumerate(rows))


@given(rows=rows_of_symbols)
def test_lines_are_what_json_writes(rows: list[list[int]]) -> None:
    expected = [json.dumps({"src": row, "tgt": row[::-1]}) + "\n" for row in rows]
    assert padded(rows).to_jsonl(symbols=1_235).decode() == "".join(expected)


@pytest.mark.parametrize("symbols", [2, 10, 11, 100, 1_000_000])
def test_the_largest_symbol_is_written_whole(symbols: int) -> None:
    text = padded([[symbols - 1, 0]]).to_jsonl(symbols)
    assert json.loads(text) == {"src": [symbols - 1, 0], "tgt": [0, symbols - 1]}


def test_no_sequences_are_no_lines() -> None:
    assert padded([]).to_jsonl(10) == b""


# --- reading a dataset ------------------------------------------------------------------------------------------------


@given(rows=rows_of_symbols, symbols=st.sampled_from([1_235, 1_000_000]))
def test_what_was_written_is_read(rows: list[list[int]], symbols: int) -> None:
    read = read_jsonl(BytesIO(padded(rows).to_jsonl(symbols)), most=len(rows), longest=7, symbols=symbols)
    assert read is not None
    assert list(read) == rows


def test_a_dataset_of_many_blocks_is_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.sequences.BLOCK", 100)
    rows = [[number % 10] * (1 + number % 7) for number in range(200)]
    assert list(read_jsonl(BytesIO(padded(rows).to_jsonl(10)), 200, 7, 10) or ()) == rows


WRITTEN = b'{"src": [1, 2], "tgt": [2, 1]}\n{"src": [0], "tgt": [0]}\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"2, 1]}", b"1, 2]}"),
        (b"[0]}", b"[1]}"),
        (b"[0]", b"[10]"),
        (b"[0]", b"[-0]"),
        (b"[0]", b"[00]"),
        (b"[0]", b"[256]"),
        (b"[0]", b"[99999999999999999999]"),
        (b"[0]", b"[\xb2]"),
        (b"[0]", b"[]"),
        (b"0]}\n", b"0]}"),
        (b"0]}\n", b"0]}\n\n"),
        (b"1, 2", b"1,2"),
        (b"src", b"tgt"),
        (b"src", b"s2c"),
        (b"1, 2", b"1 2,"),
        (WRITTEN, b"1 2\n0\n"),
        (WRITTEN, b"\x00"),
    ],
)
def test_what_was_written_by_others_is_left_to_the_careful_reader(old: bytes, new: bytes) -> None:
    assert read_jsonl(BytesIO(WRITTEN), 2, 2, 10) is not None
    assert old in WRITTEN
    assert read_jsonl(BytesIO(WRITTEN.replace(old, new)), 2, 2, 10) is None


@pytest.mark.parametrize(("most", "longest", "symbols"), [(1, 2, 10), (2, 1, 10), (2, 2, 2), (2, 10**9, 10)])
def test_a_dataset_that_is_larger_than_expected_or_would_become_so_is_not_read(
    most: int, longest: int, symbols: int
) -> None:
    assert read_jsonl(BytesIO(WRITTEN), most, longest, symbols) is None


def test_a_line_without_end_is_not_read_to_its_end() -> None:
    file = BytesIO(b"1" * (3 * BLOCK))
    assert read_jsonl(file, 1_000, 10, 10) is None
    assert file.tell() < 2 * BLOCK


def test_a_short_last_block_of_long_sequences_is_read_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.sequences.BLOCK", 2_000)
    rows = [*[[1] * 100] * 20, [2]]
    assert list(read_jsonl(BytesIO(padded(rows, 100).to_jsonl(10)), 21, 100, 10) or ()) == rows


# --- reading what people wrote ----------------------------------------------------------------------------------------


def test_sequences_are_read_as_words_or_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text('4 8 2 9\n1,2\n{"src": [3, 4]}\n {"tgt": [6, 5], "src": [5, 6], "note": 1}\n7')
    assert read_sequences(path, 10) == [[4, 8, 2, 9], [1, 2], [3, 4], [5, 6], [7]]


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
        ('{"src": [1, 2], "tgt": [1, 2]}', '"tgt" is not what the task makes of "src"'),
        ('{"src": [1, 2], "tgt": null}', '"tgt" is not what the task makes of "src"'),
    ],
)
def test_a_faulty_line_is_refused_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"1 2\n{line}\n3 4\n")
    with pytest.raises(UsageError) as caught:
        read_sequences(path, 10, longest=5)
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
        read_sequences(path, 10)
    with pytest.raises(InputError, match="is a folder"):
        read_sequences(tmp_path, 10)


def test_the_example_is_the_first_of_the_longest_that_fit() -> None:
    sequences = [[1], [1, 2], [2, 1], list(range(30))]
    assert example(sequences) == [1, 2]
    assert example(sequences, at_most=1) == [1]
    assert example([list(range(40)), list(range(30))]) == list(range(30))
