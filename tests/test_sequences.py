"""Many sequences as one array, and as text."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.sequences import NOTHING, Sequences

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
