import collections
import errno
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev import data
from seqrev.config import Config, TaskConfig, load_config
from seqrev.data import SPLITS, Split
from seqrev.errors import InputError, StorageError, UsageError
from seqrev.sequences import Sequences
from tests.conftest import flip_byte

SMALL = ("task.symbols=6", "task.max_length=5", "data.train=700", "data.validation=60", "data.test=50")
few = settings(max_examples=25, deadline=None)
FRESH = [[3, 1, 2, 0, 4], [1, 7, 0, 4, 6], [8, 7, 1, 3, 4]]


def config_of(*overrides: str) -> Config:
    return load_config(overrides=[*SMALL, *overrides])


def rows_in(folder: Path, split: str) -> list[dict[str, list[int]]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def split_by_hand(sequence: list[int]) -> str:
    """The documented function, in plain integers."""
    mask = 2**64 - 1
    mixed = len(sequence)
    for symbol in sequence:
        mixed = (mixed * 0x9E3779B97F4A7C15 + symbol + 1) & mask
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & mask
    percent = (mixed ^ mixed >> 31) % 100
    return "train" if percent < 80 else "validation" if percent < 90 else "test"


# --- the split ------------------------------------------------------------------------------------------------------


@few
@given(st.lists(st.lists(st.integers(0, 999_999), min_size=7, max_size=7), min_size=1, max_size=20))
def test_the_split_is_a_function_of_the_sequence_alone(rows: list[list[int]]) -> None:
    together = [SPLITS[index] for index in data.split_of(np.array(rows, dtype=np.int32))]
    assert together == [split_by_hand(row) for row in rows]
    assert together == [SPLITS[int(data.split_of(np.array([row], dtype=np.int64))[0])] for row in rows]


def test_the_split_never_changes_between_versions() -> None:
    rows = np.array([[4, 8, 2, 9], [1, 2, 3, 4], [0, 0, 0, 0], [9, 9, 9, 9], [5, 1, 0, 7], [3, 3, 8, 1]])
    assert [SPLITS[index] for index in data.split_of(rows)] == [split_by_hand(row) for row in rows.tolist()]


@pytest.mark.parametrize(("symbols", "length"), [(10, 4), (2, 14), (200, 2)])
def test_four_fifths_are_for_training_and_a_tenth_each_is_held_out(symbols: int, length: int) -> None:
    every = np.array(list(itertools.product(range(symbols), repeat=length)))
    shares = np.bincount(data.split_of(every), minlength=3) / len(every)
    assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 0.02


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("symbols", "length"), [(3, 4), (10, 12)])
def test_samples_are_of_their_split(split: Split, symbols: int, length: int) -> None:
    rows = data.sample(np.random.default_rng(0), split, length, 200, symbols)
    assert rows.shape == (200, length)
    assert rows.min() >= 0
    assert rows.max() == symbols - 1
    assert {split_by_hand(row) for row in rows.tolist()} == {split}


def test_samples_are_uniform_over_the_split() -> None:
    members = [row for row in itertools.product(range(4), repeat=3) if split_by_hand(list(row)) == "train"]
    rows = data.sample(np.random.default_rng(0), "train", 3, 400 * len(members), 4).tolist()
    counts = collections.Counter(map(tuple, rows))
    assert set(counts) == set(members)
    assert all(300 < count < 500 for count in counts.values())


def test_a_sample_from_an_empty_split_is_refused() -> None:
    with pytest.raises(UsageError, match="No validation sequence of length 1"):
        data.sample(np.random.default_rng(0), "validation", 1, 5, 2)


# --- datasets -------------------------------------------------------------------------------------------------------


def test_a_manifest_says_what_is_in_the_files(tmp_path: Path) -> None:
    manifest = data.write_dataset(config_of(), tmp_path / "data")
    assert json.loads((tmp_path / "data" / "manifest.json").read_text()) == manifest
    digests = ""
    counted: dict[int, dict[str, int]] = {}
    for split, rows in (("train", 700), ("validation", 60), ("test", 50)):
        found = rows_in(tmp_path / "data", split)
        content = (tmp_path / "data" / f"{split}.jsonl").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert manifest["splits"][split] == {"rows": rows, "bytes": len(content), "sha256": digest}
        assert len(found) == rows
        digests += digest
        for row in found:
            length = len(row["src"])
            counted.setdefault(length, {"train": 0, "validation": 0, "test": 0})[split] += 1
    assert manifest["by_length"] == [{"length": length, **counted[length]} for length in sorted(counted)]
    assert manifest["sha256"] == hashlib.sha256(digests.encode()).hexdigest()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "manifest.json",
        "test.jsonl",
        "train.jsonl",
        "validation.jsonl",
    ]


def test_every_row_is_json_with_source_and_target_and_of_its_split(tmp_path: Path) -> None:
    data.write_dataset(config_of(), tmp_path / "data")
    for split in SPLITS:
        for row in rows_in(tmp_path / "data", split):
            assert row == {"src": row["src"], "tgt": row["src"][::-1]}
            assert 1 <= len(row["src"]) <= 5
            assert set(row["src"]) <= set(range(6))
            assert split_by_hand(row["src"]) == split


@pytest.mark.parametrize(("symbols", "shortest", "longest"), [(60, 1, 1), (10, 2, 2), (10, 1, 2), (3, 1, 5), (10, 1, 10)])
def test_splits_have_nothing_in_common_and_held_out_rows_are_all_different(
    tmp_path: Path, symbols: int, shortest: int, longest: int
) -> None:
    task = TaskConfig(symbols=symbols, min_length=shortest, max_length=longest)
    sizes = {split: min(80, data.capacity(split, task)) for split in ("validation", "test")}
    assert min(sizes.values()) > 0
    config = Config.model_validate({"task": task.model_dump(), "data": {"train": 1500, **sizes}})
    manifest = data.write_dataset(config, tmp_path / "data")
    rows = {str(split): [tuple(row["src"]) for row in rows_in(tmp_path / "data", split)] for split in SPLITS}
    for one, other in itertools.combinations(rows, 2):
        assert not set(rows[one]) & set(rows[other])
    assert manifest["overlap"] == 0
    for split, size in sizes.items():
        assert len(set(rows[split])) == len(rows[split]) == size


def test_overlap_is_counted_on_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "rows_of", lambda split, count, config: iter([Sequences(np.array([[1, 2, -1]] * count))]))
    assert data.write_dataset(config_of(), tmp_path / "data")["overlap"] == 50 + 700


def test_overlap_is_counted_by_comparison_not_by_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(split: str, count: int, config: Config) -> Iterator[Sequences]:
        del config
        yield Sequences(np.array([[("validation", "test", "train").index(split), place % 2] for place in range(count)]))

    monkeypatch.setattr(data, "rows_of", rows)
    monkeypatch.setattr(data, "_hash", lambda sequences: np.zeros(len(sequences), dtype=np.uint64))
    assert data.write_dataset(config_of(), tmp_path / "data")["overlap"] == 0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        data.write_dataset(config_of(f"seed={seed}"), tmp_path / name)
    for split in SPLITS:
        one, same, other = ((tmp_path / name / f"{split}.jsonl").read_bytes() for name in "abc")
        assert one == same
        assert one != other


def test_what_was_held_out_with_one_seed_is_not_trained_on_with_another(tmp_path: Path) -> None:
    for seed in (1, 2):
        data.write_dataset(config_of(f"seed={seed}"), tmp_path / str(seed))
    trained = {tuple(row["src"]) for row in rows_in(tmp_path / "1", "train")}
    for split in ("validation", "test"):
        assert trained.isdisjoint(tuple(row["src"]) for row in rows_in(tmp_path / "2", split))


def test_lengths_are_uniform() -> None:
    config = load_config(overrides=["task.min_length=3", "task.max_length=10", "data.train=16000"])
    counts = collections.Counter(len(row) for chunk in data.rows_of("train", 16_000, config) for row in chunk)
    assert sorted(counts) == list(range(3, 11))
    assert all(1750 < count < 2250 for count in counts.values())  # 2000 expected, six standard deviations


def test_a_dataset_larger_than_a_chunk_is_written_whole_and_reported(tmp_path: Path) -> None:
    told: list[int] = []
    config = config_of(f"data.train={2 * data.CHUNK + 5}", "task.max_length=12")
    data.write_dataset(config, tmp_path / "data", told.append)
    assert len(rows_in(tmp_path / "data", "train")) == 2 * data.CHUNK + 5
    assert sum(told) == 2 * data.CHUNK + 5 + 60 + 50
    assert len(told) >= 5
    rows = [tuple(row["src"]) for row in rows_in(tmp_path / "data", "train")]
    assert rows[: data.CHUNK] != rows[data.CHUNK : 2 * data.CHUNK]  # chunks differ


def test_a_seed_means_the_same_dataset_for_ever(tmp_path: Path) -> None:
    """Who changes what is drawn, the size of a chunk included, changes every training that is repeated, and says so."""
    manifest = data.write_dataset(Config.model_validate({"data": {"train": 2 * data.CHUNK}}), tmp_path / "data")
    assert manifest["sha256"] == "48bccaa86806ef8ad998f651e842f8eb210a95bcea6a2ca285e8d7723b8fe4c0"


def test_no_write_of_a_dataset_fails_unnoticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made in a thread, whose errors somebody must ask for."""
    put, calls, failing = data._put, itertools.count(), -1

    def put_or_fail(text: bytes, file: BinaryIO, digest: Any) -> None:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(text, file, digest)

    monkeypatch.setattr(data, "_put", put_or_fail)
    config = config_of(f"data.train={2 * data.CHUNK + 5}", "task.max_length=12")
    data.write_dataset(config, tmp_path / "whole")
    writes = next(calls)
    assert writes >= 3 + 5
    for failing in range(writes):
        calls, folder = itertools.count(), tmp_path / str(failing)
        with pytest.raises(StorageError, match="No space left"):
            data.write_dataset(config, folder)
        assert not (folder / "manifest.json").exists()
        assert not list(folder.glob(".*"))


def test_a_split_can_be_filled_to_its_capacity(tmp_path: Path) -> None:
    task = TaskConfig(symbols=4, max_length=4)
    sizes = {split: data.capacity(split, task) for split in ("validation", "test")}
    every = [row for length in range(1, 5) for row in itertools.product(range(4), repeat=length)]
    for split, size in sizes.items():
        assert size == sum(split_by_hand(list(row)) == split for row in every)
    config = Config.model_validate({"task": task.model_dump(), "data": sizes})
    assert data.write_dataset(config, tmp_path / "data")["overlap"] == 0


@pytest.mark.parametrize(
    ("overrides", "split"),
    [
        (("task.symbols=2", "task.max_length=1"), "validation"),
        (("task.symbols=2", "task.max_length=4"), "validation"),
        (("task.symbols=10", "task.max_length=2", "data.validation=5"), "test"),
    ],
)
def test_an_impossible_dataset_is_refused_with_its_limit_and_nothing_is_written(
    tmp_path: Path, overrides: tuple[str, ...], split: Split
) -> None:
    config = load_config(overrides=overrides)
    limit = data.capacity(split, config.task)
    with pytest.raises(UsageError) as caught:
        data.write_dataset(config, tmp_path / "data")
    assert f"data.{split} asks for 1,000 different sequences" in str(caught.value)
    assert f"at most {limit:,}." in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    if limit:
        assert caught.value.hint == f"--set data.{split}={limit}"


def test_the_hint_of_an_impossible_dataset_leads_to_a_possible_one() -> None:
    overrides = ["task.symbols=3", "task.max_length=4"]
    for _ in range(4):
        try:
            data.check_possible(load_config(overrides=overrides))
        except UsageError as error:
            overrides.append(error.hint.removeprefix("--set "))
    data.check_possible(load_config(overrides=overrides))
    assert len(overrides) == 4  # validation and test, one hint each


def test_the_largest_task_is_checked_in_little_time() -> None:
    config = load_config(overrides=["task.max_length=100000", "model.max_positions=200000", "task.symbols=1000000"])
    data.check_possible(config)
    assert data.capacity("test", config.task) > 10**9


def test_a_stream_has_no_training_split(tmp_path: Path) -> None:
    manifest = data.write_dataset(config_of("data.stream=true"), tmp_path / "data")
    assert list(manifest["splits"]) == ["validation", "test"]
    assert not (tmp_path / "data" / "train.jsonl").exists()
    with pytest.raises(InputError, match="no train split"):
        data.load_split(tmp_path / "data", "train", config_of("data.stream=true"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "data"
    data.write_dataset(config_of(), folder)
    return folder


def test_a_split_is_loaded_as_it_was_written(dataset: Path) -> None:
    for split in SPLITS:
        assert list(data.load_split(dataset, split, config_of())) == [row["src"] for row in rows_in(dataset, split)]


@pytest.mark.parametrize("damage", ["flip", "truncate", "append", "remove", "manifest", "no manifest", "no entry"])
def test_a_damaged_dataset_is_refused(tmp_path: Path, dataset: Path, damage: str) -> None:
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    path, manifest = folder / "test.jsonl", folder / "manifest.json"
    match damage:
        case "flip":
            flip_byte(path)
        case "truncate":
            path.write_bytes(path.read_bytes()[:-20])
        case "append":
            path.write_bytes(path.read_bytes() + b'{"src": [1], "tgt": [1]}\n')
        case "remove":
            path.unlink()
        case "manifest":
            manifest.write_bytes(b"\x00\xff")
        case "no manifest":
            manifest.unlink()
        case "no entry":
            manifest.write_text('{"splits": []}')
    with pytest.raises(InputError):
        data.load_split(folder, "test", config_of())


# --- fresh sequences --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "symbols"), [(3, 6), (12, 6), (40, 10), (300, 2)])
def test_fresh_sequences_have_their_length_and_are_in_no_training_split(length: int, symbols: int) -> None:
    sequences = data.fresh_sequences(length, 50, config_of(f"task.symbols={symbols}"))
    assert len(sequences) == (18 if (length, symbols) == (3, 6) else 50)  # all that there are
    for sequence in sequences:
        assert len(sequence) == length
        assert set(sequence) <= set(range(symbols))
        assert split_by_hand(sequence) == "test"
    assert json.loads(json.dumps(sequences)) == sequences  # plain integers
    assert len(set(map(tuple, sequences))) == len(sequences)


@pytest.mark.parametrize(
    "override", ["seed=1", "seed=12345", "task.max_length=40", "data.test=7", "model.d_model=8", "data.stream=true"]
)
def test_every_model_gets_the_same_fresh_sequences(override: str) -> None:
    assert data.fresh_sequences(9, 20, config_of(override)) == data.fresh_sequences(9, 20, config_of())


def test_fresh_sequences_are_the_same_whatever_was_drawn_before() -> None:
    first = data.fresh_sequences(9, 20, config_of())
    np.random.default_rng(0).random()
    assert data.fresh_sequences(10, 20, config_of())[0][:9] != first[0]
    assert data.fresh_sequences(9, 20, config_of()) == first


def test_fresh_sequences_never_change_between_versions() -> None:
    """Or results of different versions would be measured on different questions."""
    assert data.fresh_sequences(5, 3, config_of("task.symbols=10")) == FRESH


def test_a_length_without_a_test_sequence_has_no_fresh_ones() -> None:
    with pytest.raises(UsageError, match="No test sequence of length 1 exists over 2 symbols"):
        data.fresh_sequences(1, 5, config_of("task.symbols=2"))


# --- datasets that somebody else made -------------------------------------------------------------------------------


def seal(folder: Path, split: str) -> None:
    """Put what stands in a file of the dataset into its manifest."""
    content, manifest = (folder / f"{split}.jsonl").read_bytes(), json.loads((folder / "manifest.json").read_text())
    manifest["splits"][split].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "content", [b"99\n", b"1 " * 5_000, b"1\n" * 100_000, b'{"src": 1}\n'], ids=lambda content: ascii(content[:9])
)
def test_a_dataset_that_does_not_fit_its_configuration_is_refused(tmp_path: Path, dataset: Path, content: bytes) -> None:
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    (folder / "test.jsonl").write_bytes(content)
    seal(folder, "test")
    with pytest.raises(InputError, match=r"test\.jsonl (does not fit|is larger)"):
        data.load_split(folder, "test", config_of())


def test_a_task_whose_sequences_are_countless_is_checked_without_counting_them() -> None:
    task = {"symbols": 1_000_000, "min_length": 1_000_000, "max_length": 1_000_000}
    assert data.capacity("test", TaskConfig(**task)) > 10**12


def test_more_sequences_than_memory_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(UsageError, match="memory"):
        data.fresh_sequences(10**6, 10**6, config_of())
