"""What the tests of data share: a small configuration, the rows of a file, and the split written out by hand."""

import json
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from seqrev.config import Config, load_config
from seqrev.data.sequences import Sequences
from seqrev.task import ENDED, Array

SMALL = ("task.symbols=6", "task.max_length=5", "data.train=700", "data.validation=60", "data.test=50")
few = settings(max_examples=25, deadline=None)
lists_of_symbols = st.lists(st.lists(st.integers(0, 1_234), min_size=1, max_size=7), min_size=1, max_size=20)


def small_config(*overrides: str) -> Config:
    """A small dataset, with changes."""
    return load_config(overrides=[*SMALL, *overrides])


def read_rows(folder: Path, split: str) -> list[dict[str, list[int]]]:
    """The rows of a split, read line by line."""
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def to_lists(rows: Array) -> list[list[int]]:
    """The sequences of an array that is filled up with ``ENDED``."""
    return [[symbol for symbol in row if symbol != ENDED] for row in rows.tolist()]


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


def padded(rows: list[list[int]], width: int = 7) -> Sequences:
    """Sequences as one array, filled up by hand."""
    return Sequences(np.array([row + [ENDED] * (width - len(row)) for row in rows], dtype=np.int32).reshape(-1, width))
