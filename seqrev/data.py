"""Sequences: the split, sampling, dataset files.

Everything random here is a pure function of the seed and a place (a split and a chunk, or a step), so nothing depends on
what was drawn before, and a resumed training sees what an uninterrupted one would have seen.
"""

import functools
import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seqrev.config import Config, TaskConfig
from seqrev.errors import InputError, UsageError
from seqrev.files import (
    make_folder,
    open_regular,
    open_whole,
    read_json,
    sha256_of,
    storage_errors,
    write_json,
)
from seqrev.resources import check_memory
from seqrev.sequences import NOTHING, Sequences, integers_for, places_by_length, read_jsonl, read_sequences
from seqrev.task import Array

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
HELD_OUT = 10  # per cent of all sequences that belong to validation, and as many to test
CHUNK = 32_768  # rows drawn and written at a time (it is part of what a seed means), fewer where they are long:
SYMBOLS_AT_ONCE = 8_388_608
ENUMERABLE = 65_536  # up to so many sequences of a length, all of them are listed, and a split's share is exact
STREAM, EPOCH, FRESH = range(len(SPLITS), len(SPLITS) + 3)  # random streams beside those of the splits


# --- the split ------------------------------------------------------------------------------------------------------


def split_of(sequences: Array) -> NDArray[np.int8]:
    """The split that each sequence belongs to: a function of the sequence alone, the same in every run.

    So a test sequence of one run was not trained on in any other, whatever their seeds. The function is a 64-bit
    polynomial hash (multiply by an odd constant, add the symbol), finished with the mixer of SplitMix64 (Steele et al.
    2014), taken modulo 100: 0–79 train, 80–89 validation, 90–99 test.

    Args:
        sequences: symbols, ``[rows, length]``.

    Returns:
        Indices into ``SPLITS``, ``[rows]``.
    """
    percent = _hash(sequences) % np.uint64(100)
    return ((percent >= 100 - 2 * HELD_OUT).astype(np.int8)) + (percent >= 100 - HELD_OUT).astype(np.int8)


def _hash(sequences: Array) -> NDArray[np.uint64]:
    """The 64-bit hash of each row of ``[rows, length]``."""
    length = sequences.shape[1]
    powers = np.uint64(0x9E3779B97F4A7C15) ** np.arange(length, -1, -1, dtype=np.uint64)
    mixed: NDArray[np.uint64] = length * powers[:1] + powers[1:].sum()  # it begins with the length; symbols count from one
    mixed = mixed + np.einsum("rl,l->r", sequences, powers[1:], dtype=np.uint64, casting="unsafe")
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _enumerable(length: int, symbols: int) -> bool:
    return length * math.log(symbols) <= math.log(ENUMERABLE)


@functools.lru_cache(maxsize=64)
def _members(split: Split, length: int, symbols: int) -> Array | None:
    """All sequences of one length that belong to a split, ``[rows, length]``; None where there are too many to list."""
    if not _enumerable(length, symbols):
        return None
    every = np.array(list(itertools.product(range(symbols), repeat=length)), dtype=integers_for(symbols))
    members: Array = every[split_of(every) == SPLITS.index(split)]
    return members


def available_lengths(split: Split, task: TaskConfig) -> list[int]:
    """The lengths of the task at which the split has any sequence at all (with two symbols, length 1 is all training)."""
    lengths = range(task.min_length, task.max_length + 1)
    members = (_members(split, length, task.symbols) if _enumerable(length, task.symbols) else None for length in lengths)
    return [length for length, rows in zip(lengths, members, strict=True) if rows is None or len(rows)]


def capacity(split: Split, task: TaskConfig) -> int:
    """How many different sequences a split can be asked for: exact for the short lengths, half its share for the long."""
    total = 0
    for length in available_lengths(split, task):
        rows = _members(split, length, task.symbols)
        total += task.symbols ** min(length, 64) * HELD_OUT // 200 if rows is None else len(rows)
        if total > 10**12:  # more than anyone asks for; so the powers of long lengths, slow to compute, do not matter
            break
    return total


# --- sampling -------------------------------------------------------------------------------------------------------


def sample(rng: np.random.Generator, split: Split, length: int, count: int, symbols: int) -> Array:
    """Draw sequences of one length from a split, uniformly and independently: ``[count, length]``.

    Raises:
        UsageError: the split has no sequence of this length.
    """
    members = _members(split, length, symbols)
    if members is not None:
        if not len(members):
            raise UsageError(
                f"No {split} sequence of length {length} exists over {symbols} symbols.",
                "seqrev evaluate --lengths 20,50,100",
            )
        return members.take(rng.integers(len(members), size=count), axis=0)
    found = np.empty((0, length), dtype=integers_for(symbols))
    share = (100 - 2 * HELD_OUT if split == "train" else HELD_OUT) / 100
    while len(found) < count:
        drawn = rng.integers(symbols, size=(int((count - len(found)) / share * 1.1) + 8, length), dtype=np.int32)
        fitting = drawn.astype(found.dtype, copy=False).compress(split_of(drawn) == SPLITS.index(split), axis=0)
        found = np.concatenate((found, fitting)) if len(found) else fitting
    return found[:count]


def splits_of(config: Config) -> dict[Split, int]:
    """The splits that a configuration's dataset has, with their sizes; a stream needs no training split."""
    sizes: dict[Split, int] = {"validation": config.data.validation, "test": config.data.test}
    return sizes if config.data.stream else {"train": config.data.train, **sizes}


def check_possible(config: Config) -> None:
    """Refuse a dataset that cannot be filled.

    Raises:
        UsageError: naming the split and how many sequences it has.
    """
    task = config.task
    for split, count in splits_of(config).items():
        limit = capacity(split, task)
        if not limit or (split != "train" and count > limit):
            raise UsageError(
                f"data.{split} asks for {count:,} different sequences, but of length {task.min_length} to "
                f"{task.max_length} over {task.symbols} symbols that split has at most {limit:,}.",
                f"--set data.{split}={limit}" if limit else f"--set task.max_length={task.max_length + 5}",
            )


def fresh_sequences(length: int, count: int, config: Config) -> list[list[int]]:
    """Different sequences of any one length that no training split has, drawn from the test split: the same for every run.

    Where there are fewer than ``count``, as there are of short lengths, all of them.

    Raises:
        UsageError: the test split has none of this length (there are few symbols, and it is short), or so many do not fit
            in memory.
    """
    check_memory(4 * count * length * 100 // HELD_OUT, f"Drawing {count:,} sequences of length {length:,}")
    rng = np.random.default_rng([FRESH, length])  # not the run's seed: every model gets the same questions
    members = _members("test", length, config.task.symbols)
    if members is not None and len(members):
        drawn = members[rng.permutation(len(members))[:count]]
    else:
        drawn = sample(rng, "test", length, count, config.task.symbols)
    rows: list[list[int]] = drawn.tolist()
    return rows


def rows_of(split: Split, count: int, config: Config) -> Iterator[Sequences]:
    """The rows of a split, in chunks: lengths uniform, training rows independent draws, held-out rows all different.

    The configuration must have passed ``check_possible``.
    """
    task, lengths = config.task, available_lengths(split, config.task)
    size = max(1, min(CHUNK, SYMBOLS_AT_ONCE // task.max_length))
    seen: set[bytes] = set()
    for chunk in itertools.count():
        rng = np.random.default_rng([config.seed, SPLITS.index(split), chunk])
        drawn = rng.choice(lengths, size=min(size, count))
        rows = _draw(rng, split, drawn, task)
        if split != "train":
            first = {row.tobytes(): place for place, row in reversed(list(enumerate(rows)))}
            new = sorted(place for row, place in first.items() if row not in seen)
            rows, drawn = rows[new], drawn[new]
            seen.update(first)
        yield Sequences(rows, drawn)
        count -= len(rows)
        if count <= 0:
            return


def _draw(rng: np.random.Generator, split: Split, lengths: Array, task: TaskConfig) -> Array:
    """One sequence of each of the lengths, in their order, padded to the longest; equal lengths are drawn together."""
    rows = np.full((len(lengths), task.max_length), NOTHING, dtype=integers_for(task.symbols))
    for length, places in places_by_length(lengths):
        rows[places, :length] = sample(rng, split, length, len(places), task.symbols)
    return rows


# --- dataset files --------------------------------------------------------------------------------------------------


def write_dataset(config: Config, folder: Path, advance: Callable[[int], None] = lambda rows: None) -> dict[str, Any]:
    """Sample a dataset and stream it to ``folder``: a JSONL file for each split, then ``manifest.json``.

    The manifest comes last: a folder without one is not a dataset. Memory holds two chunks and the held-out sequences.

    Args:
        config: seed, task and data sections decide the content.
        folder: is made if need be.
        advance: is told how many rows were just drawn and given to the thread that writes them.

    Returns:
        The manifest: rows and SHA-256 of each file, the number of sequences by length, and ``overlap``, the number of
        rows that are also in another split: counted on what was written, not assumed.

    Raises:
        UsageError: a split cannot be filled.
    """
    check_possible(config)
    sizes = splits_of(config)
    with storage_errors(folder):
        make_folder(folder)
    held_out = _HeldOut()
    overlap = 0
    files: dict[str, Any] = {}
    counts: dict[int, dict[str, int]] = {}
    for split, count in sorted(sizes.items(), key=lambda item: item[0] == "train"):  # training rows last, to be compared
        digest = hashlib.sha256()
        with open_whole(folder / f"{split}.jsonl") as file, ThreadPoolExecutor(max_workers=1) as thread:
            writing = thread.submit(_put, b"", file, digest)
            for rows in rows_of(split, count, config):
                overlap += held_out.count(rows)
                if split != "train":
                    held_out.add(rows)
                for length in np.flatnonzero(by_length := np.bincount(rows.lengths)).tolist():
                    counts.setdefault(length, dict.fromkeys(sizes, 0))[split] += int(by_length[length])
                text = rows.to_jsonl(config.task.symbols)
                writing.result()  # before this chunk, so that there are never more than two in memory
                writing = thread.submit(_put, text, file, digest)  # meanwhile the next rows are drawn
                advance(len(rows))
            writing.result()
            size = file.tell()
        files[split] = {"rows": count, "bytes": size, "sha256": digest.hexdigest()}
    manifest = {
        "schema": 1,
        "seed": config.seed,
        "task": config.task.model_dump(),
        "splits": {split: files[split] for split in sizes},
        "by_length": [{"length": length, **counts[length]} for length in sorted(counts)],
        "overlap": overlap,
        "sha256": hashlib.sha256("".join(files[split]["sha256"] for split in sizes).encode()).hexdigest(),
    }
    write_json(folder / "manifest.json", manifest)
    return manifest


def _put(text: bytes, file: BinaryIO, digest: "hashlib._Hash") -> None:
    digest.update(text)
    file.write(text)


class _HeldOut:
    """The validation and test rows that were written, to find them among others: by a mark at their hash, then for sure."""

    def __init__(self) -> None:
        self._rows: set[bytes] = set()
        self._marks = np.zeros(2**22, dtype=bool)

    def add(self, rows: Sequences) -> None:
        self._rows.update(row.tobytes() for row in rows.padded)
        self._marks[self._places(rows)] = True

    def count(self, rows: Sequences) -> int:
        """How many of the rows are among them."""
        marked = self._marks.take(self._places(rows))
        return sum(row.tobytes() in self._rows for row in rows.padded.compress(marked, axis=0))

    def _places(self, rows: Sequences) -> NDArray[np.intp]:
        return (_hash(rows.padded) & np.uint64(len(self._marks) - 1)).astype(np.intp)


def load_split(folder: Path, split: Split, config: Config) -> Sequence[list[int]]:
    """The source sequences of a split, as they stand in its file; ``Sequences``, unless somebody else wrote it.

    Raises:
        InputError: the dataset has no such split, or its file is missing, damaged, not what the manifest says, or not of
            this configuration.
    """
    manifest = read_json(folder / "manifest.json")
    splits = manifest.get("splits")
    entry = splits.get(split) if isinstance(splits, dict) else None
    path = folder / f"{split}.jsonl"
    if not isinstance(entry, dict):
        raise InputError(f"The dataset in {folder} has no {split} split.", "seqrev generate")
    with open_regular(path, "a split of the dataset", "seqrev generate", follow=False) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _largest_split(split, config):
            raise InputError(f"{path} is larger than a {split} split of this configuration can be.", "seqrev generate")
        if size != entry.get("bytes") or sha256_of(path) != entry.get("sha256"):
            raise InputError(f"{path} is damaged: its size or SHA-256 is not the one in manifest.json.", "seqrev generate")
        own = read_jsonl(file, splits_of(config).get(split, 0), config.task.max_length, config.task.symbols)
    try:
        return own or read_sequences(path, config.task.symbols, config.model.max_positions - 2)
    except UsageError as error:
        raise InputError(f"{path} does not fit the configuration of its run: {error}", "seqrev generate") from None


def _largest_split(split: Split, config: Config) -> int:
    """Bytes; twice what ``write_dataset`` would need if all sequences were of the greatest length."""
    row = 2 * config.task.max_length * (len(str(config.task.symbols)) + 2) + len('{"src": [], "tgt": []}\n')
    return 2 * row * splits_of(config).get(split, 0)
