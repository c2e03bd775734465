"""Random sequences of a split: each a function of seed, split, and chunk or step, whatever was drawn before."""

import functools
import itertools
import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from seqrev.config import Config, TaskConfig
from seqrev.data.sequences import Sequences, digits, indices_by_length, smallest_integers
from seqrev.data.splits import GOLDEN, HELD_OUT, SPLITS, Split, first_of_each, mix, split_of, split_sizes
from seqrev.errors import UsageError
from seqrev.system.resources import check_memory
from seqrev.task import ENDED, Array

CHUNK = 32_768  # rows drawn and written at a time (it is part of what a seed means), fewer where they are long:
SYMBOLS_PER_CHUNK = 8_388_608
ROWS_AT_ONCE = 1_048_576  # of all sequences of a length
ENUMERABLE = 65_536  # up to this many sequences of a length, all of them are listed, and a split's share is exact
# Random streams beside those of the splits:
STREAM, EPOCH, FRESH, FAMILY, WINDOW = range(len(SPLITS), len(SPLITS) + 5)


def _is_enumerable(length: int, symbols: int) -> bool:
    return length * math.log(symbols) <= math.log(ENUMERABLE)


@functools.lru_cache(maxsize=64)
def _members(split: Split, length: int, symbols: int) -> Array:
    """All sequences of one length that belong to a split, ``[rows, length]``, if they are few enough to be listed."""
    total, found = symbols**length, []
    for start in range(0, total, ROWS_AT_ONCE):
        every = digits(np.arange(start, min(start + ROWS_AT_ONCE, total)), length, symbols)
        found.append(every[split_of(every) == SPLITS.index(split)])
    members: Array = np.concatenate(found)
    return members


def available_lengths(split: Split, task: TaskConfig) -> list[int]:
    """The lengths of the task at which the split has any sequence at all (with two symbols, length 1 is all training)."""
    lengths, symbols = range(task.min_length, task.max_length + 1), task.symbols
    return [length for length in lengths if not _is_enumerable(length, symbols) or len(_members(split, length, symbols))]


def capacity(split: Split, task: TaskConfig) -> int:
    """How many different sequences a split can be asked for: exact for the short lengths, half its share for the long."""
    total = 0
    for length in available_lengths(split, task):
        few = _is_enumerable(length, task.symbols)
        total += len(_members(split, length, task.symbols)) if few else task.symbols ** min(length, 64) * HELD_OUT // 200
        if total > 10**12:  # more than anyone asks for; so the powers of long lengths, slow to compute, do not matter
            break
    return total


def sample(rng: np.random.Generator, split: Split, length: int, count: int, symbols: int) -> Array:
    """Draw sequences of one length from a split, uniformly: ``[count, length]``; raise ``UsageError`` if it has none."""
    if _is_enumerable(length, symbols):
        members = _members(split, length, symbols)
        if not len(members):
            message = f"No {split} sequence of length {length} exists over {symbols} symbols."
            raise UsageError(message, "seqrev evaluate --lengths 20,50,100")
        return members.take(rng.integers(len(members), size=count), axis=0)
    found = np.empty((0, length), dtype=smallest_integers(symbols))
    share = (100 - 2 * HELD_OUT if split == "train" else HELD_OUT) / 100
    while len(found) < count:
        drawn = rng.integers(symbols, size=(int((count - len(found)) / share * 1.1) + 8, length), dtype=np.int32)
        fitting = drawn.astype(found.dtype, copy=False).compress(split_of(drawn) == SPLITS.index(split), axis=0)
        found = np.concatenate((found, fitting)) if len(found) else fitting
    return found[:count]


def stream_lengths(seed: int, places: Array, lengths: Sequence[int]) -> Array:
    """The lengths of the rows at some places of the endless training stream: uniform over ``lengths``, ``[rows]``."""
    return np.array(lengths)[_below(len(lengths), _numbers(seed, places, np.arange(1)))[:, 0]]


def stream_rows(seed: int, places: Array, lengths: Array, task: TaskConfig) -> Array:
    """Rows of the endless training stream: symbols, ``[rows, longest]``, filled up with ``ENDED``.

    Each is drawn by itself, from its place in the stream, ``[rows]``. One that belongs to another split is drawn once more,
    and again, until it does not. ``lengths``: of these rows.
    """
    rows = np.full((len(lengths), int(lengths.max())), ENDED, dtype=smallest_integers(task.symbols))
    columns = np.arange(rows.shape[1])
    missing = np.arange(len(rows))
    for attempt in itertools.count():
        numbers = _numbers(seed, places[missing], 1 + attempt * task.max_length + columns)
        drawn = np.where(columns < lengths[missing, None], _below(task.symbols, numbers), ENDED)
        rows[missing] = drawn
        missing = missing[split_of(drawn) != SPLITS.index("train")]
        if not len(missing):
            break
    return rows


def _numbers(seed: int, places: Array, indices: Array) -> NDArray[np.uint64]:
    """Random 64-bit numbers, ``[places, indices]``.

    Every place has a generator of its own, SplitMix64 (Steele et al. 2014), whose number ``n`` is a mix of its seed and n.
    """
    stream = mix(np.array([seed, STREAM], dtype=np.uint64)).sum()
    seeds = mix(places.astype(np.uint64) + stream)
    return mix(seeds[:, None] + (indices.astype(np.uint64) + np.uint64(1)) * GOLDEN)


def _below(limit: int, numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Random 64-bit numbers as integers from 0 to ``limit - 1``."""
    return ((numbers >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)


def check_possible(config: Config, given: Collection[Split] = ()) -> None:
    """Raise ``UsageError`` if a split cannot be sampled, naming how many sequences it has; ``given`` splits need not be."""
    task = config.task
    for split, count in split_sizes(config).items():
        if split in given:
            continue
        if task.rule == "pairs":
            problem = (
                "With task.rule=pairs, the sequences are those of a file (seqrev generate --from FILE), which is missing."
            )
            raise UsageError(problem, "seqrev generate --help")
        limit = capacity(split, task)
        if not limit or (split != "train" and count > limit):
            raise UsageError(
                f"data.{split} asks for {count:,} different sequences, but of length {task.min_length} to "
                f"{task.max_length} over {task.symbols} symbols that split has at most {limit:,}.",
                f"--set data.{split}={limit}" if limit else f"--set task.max_length={task.max_length + 5}",
            )


def fresh_sequences(length: int, count: int, config: Config) -> list[list[int]]:
    """At most ``count`` different test sequences of a length, the same in every run; raise ``UsageError`` if none exist."""
    check_memory(4 * count * length * 100 // HELD_OUT, f"Drawing {count:,} sequences of length {length:,}")
    rng = np.random.default_rng([FRESH, length])  # not the run's seed: every model gets the same questions
    symbols = config.task.symbols
    few = length * math.log(symbols) <= math.log(
        2 * count * 100 / HELD_OUT
    )  # of so few, most would be drawn again and again
    if (few or _is_enumerable(length, symbols)) and len(members := _members("test", length, symbols)):
        drawn = rng.permutation(members)[:count]
    else:
        drawn = sample(rng, "test", length, count, symbols)
        while len(different := drawn.take(first_of_each(drawn), axis=0)) < count:
            drawn = np.concatenate((different, sample(rng, "test", length, count - len(different), symbols)))
    rows: list[list[int]] = drawn.tolist()
    return rows


def draw_split(split: Split, count: int, config: Config) -> Iterator[Sequences]:
    """The rows of a split, in chunks: lengths uniform, training rows independent draws, held-out rows all different."""
    task, lengths = config.task, available_lengths(split, config.task)
    size = max(1, min(CHUNK, SYMBOLS_PER_CHUNK // task.max_length))
    seen: set[bytes] = set()
    for chunk in itertools.count():
        rng = np.random.default_rng([config.seed, SPLITS.index(split), chunk])
        drawn = rng.choice(lengths, size=min(size, count))
        rows = np.full((len(drawn), task.max_length), ENDED, dtype=smallest_integers(task.symbols))
        for length, indices in indices_by_length(drawn):
            rows[indices, :length] = sample(rng, split, length, len(indices), task.symbols)
        if split != "train":
            first = {row.tobytes(): index for index, row in reversed(list(enumerate(rows)))}
            new = sorted(index for row, index in first.items() if row not in seen)
            rows, drawn = rows[new], drawn[new]
            seen.update(first)
        yield Sequences(rows, drawn)
        count -= len(rows)
        if count <= 0:
            return
