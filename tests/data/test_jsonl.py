import json
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.data.jsonl import BLOCK, read_jsonl, to_jsonl
from tests.data.common import lists_of_symbols, padded


@given(rows=lists_of_symbols)
def test_lines_are_what_json_writes(rows: list[list[int]]) -> None:
    expected = [json.dumps({"src": row, "tgt": row[::-1]}) + "\n" for row in rows]
    assert to_jsonl(padded(rows), 1_235, "reverse").decode() == "".join(expected)


@pytest.mark.parametrize("symbols", [2, 10, 11, 100, 1_000_000])
def test_the_largest_symbol_is_written_whole(symbols: int) -> None:
    text = to_jsonl(padded([[symbols - 1, 0]]), symbols, "reverse")
    assert json.loads(text) == {"src": [symbols - 1, 0], "tgt": [0, symbols - 1]}


def test_no_sequences_are_no_lines() -> None:
    assert to_jsonl(padded([]), 10, "reverse") == b""
    read = read_jsonl(BytesIO(), most=0, longest=7, symbols=10, rule="reverse")
    assert read is not None
    assert list(read) == []


@given(rows=lists_of_symbols, symbols=st.sampled_from([1_235, 1_000_000]))
def test_what_was_written_is_read(rows: list[list[int]], symbols: int) -> None:
    read = read_jsonl(BytesIO(to_jsonl(padded(rows), symbols, "reverse")), len(rows), 7, symbols, "reverse")
    assert read is not None
    assert list(read) == rows


def test_a_dataset_of_many_blocks_is_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.data.jsonl.BLOCK", 100)
    rows = [[number % 10] * (1 + number % 7) for number in range(200)]
    assert list(read_jsonl(BytesIO(to_jsonl(padded(rows), 10, "reverse")), 200, 7, 10, "reverse") or ()) == rows


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
    assert read_jsonl(BytesIO(WRITTEN), 2, 2, 10, "reverse") is not None
    assert old in WRITTEN
    assert read_jsonl(BytesIO(WRITTEN.replace(old, new)), 2, 2, 10, "reverse") is None


@pytest.mark.parametrize(("most", "longest", "symbols"), [(1, 2, 10), (2, 1, 10), (2, 2, 2), (2, 10**9, 10)])
def test_a_dataset_that_is_larger_than_expected_or_would_become_so_is_not_read(
    most: int, longest: int, symbols: int
) -> None:
    assert read_jsonl(BytesIO(WRITTEN), most, longest, symbols, "reverse") is None


def test_a_line_without_end_is_not_read_to_its_end() -> None:
    file = BytesIO(b"1" * (3 * BLOCK))
    assert read_jsonl(file, 1_000, 10, 10, "reverse") is None
    assert file.tell() < 2 * BLOCK


def test_a_short_last_block_of_long_sequences_is_read_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.data.jsonl.BLOCK", 2_000)
    rows = [*[[1] * 100] * 20, [2]]
    assert list(read_jsonl(BytesIO(to_jsonl(padded(rows, 100), 10, "reverse")), 21, 100, 10, "reverse") or ()) == rows
