"""How many sequences are computed together."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.config import ModelConfig
from seqrev.inference import batching
from seqrev.inference.batching import (
    DECODED_ROWS,
    DECODED_TOKENS,
    FORCED_BLOCK,
    FORCED_TOKENS,
    LOGITS_AT_ONCE,
    block_for_forcing,
    buckets_for_decoding,
    chunks_by_length,
    rows_for_forcing,
    rows_for_maps,
)
from seqrev.model.attention import SCORES_AT_ONCE
from seqrev.model.transformer import Transformer

MODEL = Transformer(ModelConfig(d_model=8, heads=2, encoder_layers=1, decoder_layers=2, d_ff=8), 13)
MAPS = 5  # of the encoder, the decoder's two layers, and their cross-attention

some_sources = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=20)


# --- chunks of one length ---------------------------------------------------------------------------------------------


@given(sources=some_sources, rows=st.integers(0, 4))
def test_chunks_hold_every_source_once_with_others_of_its_length(sources: list[list[int]], rows: int) -> None:
    chunks = list(chunks_by_length(sources, lambda length: rows))
    assert sorted(index for indices, _ in chunks for index in indices) == list(range(len(sources)))
    for indices, chunk in chunks:
        assert chunk.tolist() == [sources[index] for index in indices]
        assert 1 <= len(chunk) <= max(1, rows)


def test_the_size_of_a_chunk_depends_on_its_length() -> None:
    sources = [[1] * length for length in (1, 2, 3) for _ in range(6)]
    chunks = chunks_by_length(sources, lambda length: 6 // length)
    assert [chunk.shape for _, chunk in chunks] == [(6, 1), (3, 2), (3, 2), (2, 3), (2, 3), (2, 3)]


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 10, 100, 1_000])
def test_attention_maps_of_a_chunk_fit_in_memory_and_one_row_more_does_not(length: int) -> None:
    rows = rows_for_maps(MODEL, length)
    weights, logits = MAPS * 2 * (length + 2) ** 2, 13 * (length + 2)
    assert rows * max(weights, logits) <= SCORES_AT_ONCE < (rows + 1) * max(weights, logits)


def test_a_large_vocabulary_limits_the_rows_of_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODEL, "vocabulary_size", 10**5)
    rows = rows_for_maps(MODEL, 10)
    assert rows * 12 * 10**5 <= SCORES_AT_ONCE < (rows + 1) * 12 * 10**5


@pytest.mark.parametrize("length", [1, 10, 100, 5_000])
def test_teacher_forced_rows_fit_in_the_caches_of_a_cpu(length: int) -> None:
    rows = rows_for_forcing(MODEL, length)
    assert rows * (length + 2) <= FORCED_TOKENS < (rows + 1) * (length + 2)


@pytest.mark.parametrize("length", [1, 10, 100, 5_000, 10**5])
def test_a_teacher_forced_block_has_at_least_one_token(length: int) -> None:
    rows = max(1, rows_for_forcing(MODEL, length))
    block = block_for_forcing(MODEL, rows, length)
    assert 1 <= block <= FORCED_BLOCK
    assert block == 1 or block * rows * 2 * (length + 2) <= SCORES_AT_ONCE
    assert block == 1 or block * rows * 13 <= LOGITS_AT_ONCE


# --- decoding ---------------------------------------------------------------------------------------------------------


def sizes(sources: Sequence[Sequence[int]], beam: int = 1, vocabulary: int = 13) -> list[int]:
    return [len(bucket) for bucket in buckets_for_decoding(sources, beam, vocabulary)]


@given(sources=some_sources, beam=st.integers(1, 3), tokens=st.integers(1, 60))
def test_buckets_hold_every_source_once_the_shortest_first(sources: list[list[int]], beam: int, tokens: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "DECODED_TOKENS", tokens)
        buckets = list(buckets_for_decoding(sources, beam, 13))
    order = [index for bucket in buckets for index in bucket]
    assert sorted(order) == list(range(len(sources)))
    assert order == sorted(order, key=lambda index: len(sources[index]))
    for bucket in buckets:
        longest = max(len(sources[index]) for index in bucket)
        assert len(bucket) == 1 or len(bucket) * beam * (longest + 2) <= tokens


def test_no_source_makes_no_bucket() -> None:
    assert sizes([]) == []


@pytest.mark.parametrize("beam", [1, 2, 4])
def test_a_bucket_has_no_more_rows_than_a_step_can_work_on(beam: int) -> None:
    rows = DECODED_ROWS // beam
    assert sizes([[1]] * (2 * rows + 1), beam) == [rows, rows, 1]


def test_long_sources_make_small_buckets() -> None:
    assert sizes([[1] * (DECODED_TOKENS // 2 - 2)] * 5) == [2, 2, 1]
    assert sizes([[1] * DECODED_TOKENS] * 2) == [1, 1]


def test_a_large_vocabulary_makes_small_buckets() -> None:
    sources = [[1]] * 10
    assert sizes(sources) == [10]
    assert sizes(sources, vocabulary=LOGITS_AT_ONCE // 4) == [4, 4, 2]
    assert sizes(sources, vocabulary=LOGITS_AT_ONCE) == [1] * 10
    assert sizes(sources, vocabulary=2 * LOGITS_AT_ONCE) == [1] * 10
