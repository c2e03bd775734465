"""Pairs of sources and targets that users bring, as a dataset."""

from collections.abc import Mapping
from pathlib import Path

from seqrev.config import Config, TaskConfig, parse_config
from seqrev.data.lines import parse_lines
from seqrev.data.sequences import Pairs
from seqrev.data.splits import SPLITS, Split, split_of
from seqrev.errors import InputError, UsageError
from seqrev.system.files import open_regular

MOST_SYMBOLS = 1_000_000
LONGEST = 1_000_000  # symbols of a source or a target
HINT = "seqrev generate --help"


def read_pairs(path: Path) -> list[tuple[list[int], list[int]]]:
    """Read a file with a source, a tab and a target on each line, or JSONL rows with ``src`` and ``tgt``; each pair once.

    Raises:
        InputError: it cannot be read, or a source has two different targets.
        UsageError: a line is not a pair; the message has its number.
    """
    task = TaskConfig(symbols=MOST_SYMBOLS)
    seen: dict[tuple[int, ...], tuple[int, list[int]]] = {}
    with open_regular(path, "a file with a source, a tab and a target on each line, or JSONL rows", HINT) as file:
        for number, (source, target) in enumerate(parse_lines(file, str(path), task, LONGEST, HINT), start=1):
            if target is None:
                problem = f"Line {number} of {path} has no target; a source, a tab and a target were expected"
                raise UsageError(f'{problem}, or {{"src": [4, 8], "tgt": [8, 4]}}.', HINT)
            first, known = seen.setdefault(tuple(source), (number, target))
            if known != target:
                raise InputError(f"Lines {first} and {number} of {path} give different targets to the same source.", HINT)
    return [(list(source), target) for source, (_, target) in seen.items()]


def split_pairs(pairs: list[tuple[list[int], list[int]]], symbols: int) -> dict[Split, Pairs]:
    """Each pair in the split that its source belongs to, as in every other run.

    Raises:
        UsageError: a split would be empty.
    """
    every = Pairs.from_pairs(pairs, symbols)
    places = split_of(every.padded)
    splits = {split: every.pick((places == index).nonzero()[0]) for index, split in enumerate(SPLITS)}
    if empty := [split for split, rows in splits.items() if not len(rows)]:
        raise UsageError(
            f"Of these {len(pairs):,} different sources none belongs to the split {empty[0]}. By their hash, eight in ten "
            "are for training, and one in ten each for validation and test; thirty or more were expected.",
            HINT,
        )
    return splits


def config_of_pairs(config: Config, splits: Mapping[Split, Pairs]) -> Config:
    """The configuration with the task and the sizes of these pairs; more symbols than the pairs need stay.

    Raises:
        UsageError: they do not fit, as where they are longer than ``model.max_positions``.
    """
    tables = [table for rows in splits.values() for table in (rows.padded, rows.targets.padded)]
    lengths = [int(length) for rows in splits.values() for length in (rows.lengths.min(), rows.lengths.max())]
    task = {
        "rule": "pairs",
        "symbols": max(config.task.symbols, 1 + max(int(table.max()) for table in tables)),
        "min_length": min(lengths),
        "max_length": max(lengths),
        "max_answer": max(int(rows.targets.lengths.max()) for rows in splits.values()),
    }
    sizes = {split: len(rows) for split, rows in splits.items()}
    tree = config.model_dump()
    return parse_config({**tree, "task": task, "data": {**tree["data"], **sizes}}, "the configuration of these pairs")
