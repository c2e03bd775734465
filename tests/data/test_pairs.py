"""Pairs that users bring: what is read, and how it is split."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import Config, load_config
from seqrev.data.jsonl import to_jsonl
from seqrev.data.pairs import config_of_pairs, read_pairs, split_pairs
from seqrev.data.sequences import Pairs, Sequences, answers_to, pick
from seqrev.data.splits import SPLITS, split_of
from seqrev.errors import InputError, UsageError

few = settings(max_examples=25, deadline=None)
SYMBOLS = st.lists(st.integers(0, 9), min_size=1, max_size=5)
MANY = [([a, b], [b] * (1 + a)) for a in range(10) for b in range(10)]


def written(path: Path, pairs: list[tuple[list[int], list[int]]], as_json: bool) -> Path:
    for_people = [" ".join(map(str, source)) + "\t" + " ".join(map(str, target)) for source, target in pairs]
    rows = [json.dumps({"src": source, "tgt": target}) for source, target in pairs]
    path.write_text("\n".join(rows if as_json else for_people) + "\n")
    return path


@few
@given(st.dictionaries(SYMBOLS.map(tuple), SYMBOLS, min_size=1, max_size=20), st.booleans())
def test_pairs_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, pairs: dict[tuple[int, ...], list[int]], as_json: bool
) -> None:
    rows = [(list(source), target) for source, target in pairs.items()]
    path = written(tmp_path_factory.mktemp("pairs") / "a.txt", rows, as_json)
    assert read_pairs(path) == rows
    table = Pairs.from_pairs(rows, 10)
    path.write_bytes(to_jsonl(table, 10, "pairs"))
    assert read_pairs(path) == rows


@few
@given(SYMBOLS, SYMBOLS)
def test_the_split_of_a_pair_is_that_of_its_source(source: list[int], target: list[int]) -> None:
    splits = split_pairs([*((s, t) for s, t in MANY if s != source), (source, target)], 10)
    (of,) = [split for split, rows in splits.items() if source in list(rows)]
    assert of == SPLITS[split_of(np.array([source]))[0]]
    rows = splits[of]
    assert rows.targets[list(rows).index(source)] == target


def test_a_pair_counts_once_and_two_targets_of_a_source_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("1 2\t3\n4\t5\n1 2\t3\n")
    assert read_pairs(path) == [([1, 2], [3]), ([4], [5])]
    path.write_text("1 2\t3\n4\t5\n1 2\t4\n")
    with pytest.raises(InputError, match=r"Lines 1 and 3 .* different targets"):
        read_pairs(path)


def test_a_line_without_a_target_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("1 2\t3\n4 5\n")
    with pytest.raises(UsageError, match=r"Line 2 .* has no target"):
        read_pairs(path)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(UsageError, match="none belongs to the split"):
        split_pairs([([1, 2], [3]), ([4], [5])], 10)


def test_the_configuration_becomes_that_of_the_pairs() -> None:
    splits = split_pairs([*MANY, ([12], [40] * 30)], 100)
    config = config_of_pairs(Config(), splits)
    assert config.task.model_dump() == {
        "rule": "pairs",
        "symbols": 41,
        "min_length": 1,
        "max_length": 2,
        "max_answer": 30,
    }
    assert config.data.train + config.data.validation + config.data.test == 101
    assert config.train == Config().train
    assert config_of_pairs(load_config(overrides=["task.symbols=50"]), splits).task.symbols == 50
    with pytest.raises(UsageError, match=r"more than model.max_positions \(20\)"):
        config_of_pairs(load_config(overrides=["model.max_positions=20"]), splits)


@pytest.mark.parametrize("pair", [([300], [1]), ([1], [10]), ([1, -1, 2], [1]), ([], [1]), ([1], [])])
def test_pairs_of_what_are_no_symbols_are_refused(pair: tuple[list[int], list[int]]) -> None:
    """Before they are put into an array, where -1 would be the end of a sequence."""
    with pytest.raises(UsageError):
        Pairs.from_pairs([([1], [2]), pair], 10)


def test_some_of_the_pairs_keep_their_answers() -> None:
    pairs = Pairs.from_pairs(MANY, 10)
    assert answers_to(pick(pairs, [7, 0, 7]), "pairs") == [MANY[7][1], MANY[0][1], MANY[7][1]]
    assert answers_to(pairs[3:5], "reverse") == [MANY[3][1], MANY[4][1]]
    assert pairs[3] == MANY[3][0]
    assert answers_to(Sequences.from_lists([[1, 2]], 10), "repeat") == [[1, 1, 2, 2]]
    with pytest.raises(UsageError, match="known of the given pairs only"):
        answers_to([[1, 2]], "pairs")
