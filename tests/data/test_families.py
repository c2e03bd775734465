"""Every short sequence, and families with a pattern."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import TaskConfig
from seqrev.data.families import FAMILIES, FAMILY_SIZE, count_up_to, families, sequences_up_to
from seqrev.errors import UsageError

tasks = st.builds(
    lambda symbols, first, more: TaskConfig(symbols=symbols, min_length=first, max_length=first + more),
    st.integers(2, 300),
    st.integers(1, 8),
    st.integers(0, 12),
)


@pytest.mark.parametrize(("longest", "symbols"), [(1, 2), (3, 2), (4, 5), (2, 300)])
def test_every_sequence_is_there_once(longest: int, symbols: int) -> None:
    every = [tuple(row) for chunk in sequences_up_to(longest, symbols) for row in chunk]
    lengths = range(1, longest + 1)
    assert every == [row for length in lengths for row in itertools.product(range(symbols), repeat=length)]
    assert count_up_to(longest, symbols) == len(every)


def test_many_come_in_chunks_of_one_length() -> None:
    chunks = list(sequences_up_to(6, 10))
    assert sum(map(len, chunks)) == count_up_to(6, 10) == 1_111_110
    assert max(map(len, chunks)) == 100_000
    assert all(len(set(chunk.lengths.tolist())) == 1 for chunk in chunks)
    assert chunks[-1][-1] == [9] * 6


@pytest.mark.parametrize(("longest", "symbols", "hint"), [(7, 10, "--exhaustive 6"), (1_000_000, 2, "--exhaustive 19")])
def test_too_many_to_be_listed_are_refused_with_the_most_that_are_not(longest: int, symbols: int, hint: str) -> None:
    with pytest.raises(UsageError, match=f"up to {longest:,} symbols") as caught:
        count_up_to(longest, symbols)
    assert caught.value.hint.endswith(hint)
    assert count_up_to(int(hint.split()[-1]), symbols)


@settings(max_examples=40, deadline=None)
@given(task=tasks)
def test_a_family_has_its_pattern_and_no_sequence_twice(task: TaskConfig) -> None:
    found = {name: [tuple(row) for row in rows] for name, rows in families(task)}
    assert found.keys() == FAMILIES.keys() - (set() if task.max_length > 1 else {"alternating"})
    for name, rows in found.items():
        assert rows, name
        assert len(set(rows)) == len(rows), name
        assert len(rows) <= max(FAMILY_SIZE, task.max_length)
        shortest = max(2, task.min_length) if name == "alternating" else task.min_length
        assert {len(row) for row in rows} == set(range(shortest, task.max_length + 1))
        assert all(0 <= symbol < task.symbols for row in rows for symbol in row)
    assert all(len(set(row)) == 1 for row in found["constant"])
    for row in found.get("alternating", ()):
        assert row[0] != row[1]
        assert row[2:] == row[:-2]
    assert all(row == row[::-1] for row in found["palindromes"])
    assert all(len(set(row)) <= 2 for row in found["two symbols"])
    assert all(list(row) == sorted(row) for row in found["ascending"])
    assert all(list(row) == sorted(row, reverse=True) for row in found["descending"])


def test_of_ten_digits_all_constant_and_alternating_sequences_are_there() -> None:
    sizes = {name: len(rows) for name, rows in families(TaskConfig())}
    assert sizes["constant"] == 10 * 10
    assert sizes["alternating"] == 9 * 10 * 9
    assert min(sizes.values()) == 100


def test_of_many_lengths_some_are_tried_from_the_shortest_to_the_longest() -> None:
    task = TaskConfig(min_length=3, max_length=1_500)
    lengths = {name: sorted({len(row) for row in rows}) for name, rows in families(task)}
    assert all(some == lengths["constant"] for some in lengths.values())
    assert len(lengths["constant"]) == 100
    assert (lengths["constant"][0], lengths["constant"][-1]) == (3, 1_500)


def test_they_are_the_same_in_every_run() -> None:
    once, again = ([(name, list(rows)) for name, rows in families(TaskConfig())] for _ in range(2))
    assert once == again


def test_sequences_that_do_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 1_000)  # pages, and bytes of a page: a machine of one megabyte
    with pytest.raises(UsageError, match="needs at least"):
        list(families(TaskConfig()))
