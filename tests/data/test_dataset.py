import errno
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.config import Config, TaskConfig, load_config
from seqrev.data import dataset as dataset_module
from seqrev.data.dataset import load_split, write_dataset
from seqrev.data.sampling import CHUNK, capacity
from seqrev.data.sequences import Sequences
from seqrev.data.splits import SPLITS, Split
from seqrev.errors import InputError, StorageError, UsageError, command_line
from seqrev.system.files import atomic_open
from tests.data.common import few, read_rows, small_config, split_by_hand
from tests.helpers import flip_byte


def test_a_manifest_says_what_is_in_the_files(tmp_path: Path) -> None:
    manifest = write_dataset(small_config(), tmp_path / "data")
    assert json.loads((tmp_path / "data" / "manifest.json").read_text()) == manifest
    digests = ""
    counted: dict[int, dict[str, int]] = {}
    for split, rows in (("train", 700), ("validation", 60), ("test", 50)):
        found = read_rows(tmp_path / "data", split)
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
    write_dataset(small_config(), tmp_path / "data")
    for split in SPLITS:
        for row in read_rows(tmp_path / "data", split):
            assert row == {"src": row["src"], "tgt": row["src"][::-1]}
            assert 1 <= len(row["src"]) <= 5
            assert set(row["src"]) <= set(range(6))
            assert split_by_hand(row["src"]) == split


@pytest.mark.parametrize(("symbols", "shortest", "longest"), [(60, 1, 1), (10, 2, 2), (10, 1, 2), (3, 1, 5), (10, 1, 10)])
def test_splits_have_nothing_in_common_and_held_out_rows_are_all_different(
    tmp_path: Path, symbols: int, shortest: int, longest: int
) -> None:
    task = TaskConfig(symbols=symbols, min_length=shortest, max_length=longest)
    sizes = {split: min(80, capacity(split, task)) for split in ("validation", "test")}
    assert min(sizes.values()) > 0
    config = Config.model_validate({"task": task.model_dump(), "data": {"train": 1500, **sizes}})
    manifest = write_dataset(config, tmp_path / "data")
    rows = {str(split): [tuple(row["src"]) for row in read_rows(tmp_path / "data", split)] for split in SPLITS}
    for one, other in itertools.combinations(rows, 2):
        assert not set(rows[one]) & set(rows[other])
    assert manifest["overlap"] == 0
    for split, size in sizes.items():
        assert len(set(rows[split])) == len(rows[split]) == size


def test_overlap_is_counted_on_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [[1, 2, -1]]
    monkeypatch.setattr(
        dataset_module, "draw_split", lambda split, count, config: iter([Sequences(np.array(drawn * count))])
    )
    assert write_dataset(small_config(), tmp_path / "data")["overlap"] == 50 + 700


def test_overlap_is_counted_by_comparison_not_by_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(split: str, count: int, config: Config) -> Iterator[Sequences]:
        del config
        yield Sequences(np.array([[("validation", "test", "train").index(split), index % 2] for index in range(count)]))

    monkeypatch.setattr(dataset_module, "draw_split", rows)
    monkeypatch.setattr(dataset_module, "hash_rows", lambda sequences: np.zeros(len(sequences), dtype=np.uint64))
    assert write_dataset(small_config(), tmp_path / "data")["overlap"] == 0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset(small_config(f"seed={seed}"), tmp_path / name)
    for split in SPLITS:
        one, same, other = ((tmp_path / name / f"{split}.jsonl").read_bytes() for name in "abc")
        assert one == same
        assert one != other


def test_what_was_held_out_with_one_seed_is_not_trained_on_with_another(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_dataset(small_config(f"seed={seed}"), tmp_path / str(seed))
    trained = {tuple(row["src"]) for row in read_rows(tmp_path / "1", "train")}
    for split in ("validation", "test"):
        assert trained.isdisjoint(tuple(row["src"]) for row in read_rows(tmp_path / "2", split))


def test_a_dataset_larger_than_a_chunk_is_written_whole_and_reported(tmp_path: Path) -> None:
    drawn: list[int] = []
    config = small_config(f"data.train={2 * CHUNK + 5}", "task.max_length=12")
    write_dataset(config, tmp_path / "data", drawn.append)
    assert len(read_rows(tmp_path / "data", "train")) == 2 * CHUNK + 5
    assert sum(drawn) == 2 * CHUNK + 5 + 60 + 50
    assert len(drawn) >= 5
    rows = [tuple(row["src"]) for row in read_rows(tmp_path / "data", "train")]
    assert rows[:CHUNK] != rows[CHUNK : 2 * CHUNK]  # chunks differ


def test_a_seed_means_the_same_dataset_for_ever(tmp_path: Path) -> None:
    """Who changes what is drawn, the size of a chunk included, changes every training that is repeated, and says so."""
    manifest = write_dataset(Config.model_validate({"data": {"train": 2 * CHUNK}}), tmp_path / "data")
    assert manifest["sha256"] == "48bccaa86806ef8ad998f651e842f8eb210a95bcea6a2ca285e8d7723b8fe4c0"


def test_no_write_of_a_dataset_fails_unnoticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made in a thread, whose errors somebody must ask for."""
    calls, failing = itertools.count(), -1

    @contextmanager
    def open_failing(path: Path) -> Iterator[BinaryIO]:
        def write_or_fail(text: bytes) -> int:
            if next(calls) == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return file.write(text)

        with atomic_open(path) as file:
            yield cast(BinaryIO, SimpleNamespace(write=write_or_fail, tell=file.tell))

    monkeypatch.setattr(dataset_module, "atomic_open", open_failing)
    config = small_config(f"data.train={2 * CHUNK + 5}", "task.max_length=12")
    write_dataset(config, tmp_path / "whole")
    writes = next(calls)
    assert writes >= 3 + 5
    for failing in range(writes):
        calls, folder = itertools.count(), tmp_path / str(failing)
        with pytest.raises(StorageError, match="No space left"):
            write_dataset(config, folder)
        assert not (folder / "manifest.json").exists()
        assert not list(folder.glob(".*"))


def test_a_split_that_is_there_already_is_written_as_it_is(tmp_path: Path) -> None:
    config = small_config()
    drawn = write_dataset(config, tmp_path / "drawn")
    rows = [row["src"] for row in read_rows(tmp_path / "drawn", "validation")]
    given: dict[Split, Sequences] = {"validation": Sequences.from_lists(rows, 6, 5)}
    assert write_dataset(config, tmp_path / "given", rows=given) == drawn
    given = {"validation": Sequences.from_lists(rows[::-1], 6, 5)}
    assert write_dataset(config, tmp_path / "other", rows=given)["overlap"] == 0
    assert [row["src"] for row in read_rows(tmp_path / "other", "validation")] == rows[::-1]


def test_a_split_can_be_filled_to_its_capacity(tmp_path: Path) -> None:
    task = TaskConfig(symbols=4, max_length=4)
    sizes = {split: capacity(split, task) for split in ("validation", "test")}
    every = [row for length in range(1, 5) for row in itertools.product(range(4), repeat=length)]
    for split, size in sizes.items():
        assert size == sum(split_by_hand(list(row)) == split for row in every)
    config = Config.model_validate({"task": task.model_dump(), "data": sizes})
    assert write_dataset(config, tmp_path / "data")["overlap"] == 0


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
    limit = capacity(split, config.task)
    with pytest.raises(UsageError) as caught:
        write_dataset(config, tmp_path / "data")
    assert f"data.{split} asks for 1,000 different sequences" in str(caught.value)
    assert f"at most {limit:,}." in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    if limit:
        assert caught.value.hint == f"--set data.{split}={limit}"


def test_a_stream_has_no_training_split(tmp_path: Path) -> None:
    manifest = write_dataset(small_config("data.stream=true"), tmp_path / "data")
    assert list(manifest["splits"]) == ["validation", "test"]
    assert not (tmp_path / "data" / "train.jsonl").exists()
    with pytest.raises(InputError, match="no train split"):
        load_split(tmp_path / "data", "train", small_config("data.stream=true"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "data"
    write_dataset(small_config(), folder)
    return folder


def test_a_split_is_loaded_as_it_was_written(dataset: Path) -> None:
    for split in SPLITS:
        assert list(load_split(dataset, split, small_config())) == [row["src"] for row in read_rows(dataset, split)]


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
        load_split(folder, "test", small_config())


OTHERS = {
    "seed": 1,
    "task.rule": "copy",
    "task.symbols": 7,
    "task.min_length": 2,
    "task.max_length": 6,
    "data.train": 701,
    "data.validation": 59,
    "data.test": 51,
}


@few
@given(changed=st.sets(st.sampled_from(sorted(OTHERS)), min_size=1), split=st.sampled_from(SPLITS))
def test_a_dataset_of_another_configuration_is_refused_with_the_fields_that_differ(
    dataset: Path, changed: set[str], split: Split
) -> None:
    config = small_config(*(f"{name}={OTHERS[name]}" for name in changed))
    with pytest.raises(InputError, match="one of them was changed") as caught:
        load_split(dataset, split, config)
    assert caught.value.hint == command_line("train", "--config", dataset.parent / "config.yaml")
    for side in str(caught.value).split(", but the dataset"):
        assert {name for name in OTHERS if f"{name}=" in side} == changed


@pytest.mark.parametrize("change", ["train.lr=1", "train.steps=3", "model.d_model=32", "train.batch_size=5"])
def test_a_dataset_goes_with_every_model_and_every_way_to_train(dataset: Path, change: str) -> None:
    assert len(load_split(dataset, "train", small_config(change))) == 700


@pytest.mark.parametrize("rest", [{}, {"task": [], "seed": 0}, {"task": {"symbols": 6}}], ids=str)
def test_a_manifest_that_says_less_is_not_held_against_the_configuration(
    tmp_path: Path, dataset: Path, rest: dict[str, object]
) -> None:
    """As that of somebody who wrote the files by another program."""
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    splits = json.loads((folder / "manifest.json").read_text())["splits"]
    (folder / "manifest.json").write_text(json.dumps({"splits": splits, **rest}))
    assert len(load_split(folder, "test", small_config())) == 50


def seal(folder: Path, split: str) -> None:
    """Make the manifest fit a file of the dataset that was changed."""
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
    with pytest.raises(InputError, match=r"test\.jsonl(, line 1: .* does not fit| is larger)"):
        load_split(folder, "test", small_config())
