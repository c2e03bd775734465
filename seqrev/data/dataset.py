"""Dataset files: a JSONL file for each split, and a manifest."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from seqrev.config import Config, TaskConfig
from seqrev.data.jsonl import read_jsonl, to_jsonl
from seqrev.data.lines import read_sequences
from seqrev.data.sampling import check_possible, draw_split
from seqrev.data.sequences import Pairs, Sequences, answers_to
from seqrev.data.splits import Split, hash_rows, split_sizes
from seqrev.errors import InputError, UsageError, command_line
from seqrev.system.files import atomic_open, make_folder, open_regular, read_json, sha256_of, storage_errors, write_json
from seqrev.system.text import shorten
from seqrev.task import RuleName


def write_dataset(
    config: Config,
    folder: Path,
    advance: Callable[[int], None] = lambda rows: None,
    rows: Mapping[Split, Sequences] | None = None,
) -> dict[str, Any]:
    """Sample a dataset and stream it to ``folder``: a JSONL file a split, and last ``manifest.json``, which is returned.

    Its ``overlap`` is the number of rows that are also in another split, counted on what was written. In memory are two
    chunks and the held-out sequences. ``advance`` is called with the number of rows that were just drawn; ``rows`` are
    splits that are not to be sampled. If another cannot be filled, ``UsageError`` is raised.
    """
    check_possible(config, rows or ())
    sizes, held_out = split_sizes(config), _HeldOut()
    files: dict[Split, dict[str, Any]] = {}
    counts: dict[int, dict[str, int]] = {}
    overlap = 0

    def counted(split: Split, chunks: Iterable[Sequences]) -> Iterator[Sequences]:
        nonlocal overlap
        for chunk in chunks:
            overlap += held_out.find(chunk, remember=split != "train")
            for length in np.flatnonzero(by_length := np.bincount(chunk.lengths)).tolist():
                counts.setdefault(length, dict.fromkeys(sizes, 0))[split] += int(by_length[length])
            yield chunk
            advance(len(chunk))

    with storage_errors(folder):
        make_folder(folder)
    for split, count in sorted(sizes.items(), key=lambda item: item[0] == "train"):  # training rows last, to be compared
        chunks = [rows[split]] if rows and split in rows else draw_split(split, count, config)
        files[split] = {"rows": count, **_write_split(folder / f"{split}.jsonl", counted(split, chunks), config.task)}
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


def _write_split(path: Path, chunks: Iterable[Sequences], task: TaskConfig) -> dict[str, Any]:
    """Write chunks in another thread, while the next one is drawn: two are in memory at most; returns size and SHA-256."""
    digest = hashlib.sha256()
    with atomic_open(path) as file, ThreadPoolExecutor(max_workers=1) as thread:

        def put(text: bytes) -> None:
            digest.update(text)
            file.write(text)

        pending = thread.submit(put, b"")
        for chunk in chunks:
            text = to_jsonl(chunk, task.symbols, task.rule)
            pending.result()
            pending = thread.submit(put, text)
        pending.result()
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


class _HeldOut:
    """The validation and test rows that were written, to find them among others: first by a mark, then exactly."""

    def __init__(self) -> None:
        self._rows: set[bytes] = set()
        self._marks = np.zeros(2**22, dtype=bool)

    def find(self, rows: Sequences, remember: bool) -> int:
        """How many of the rows are among them; ``remember``: from then on, these are, too."""
        marks = (hash_rows(rows.padded) & np.uint64(len(self._marks) - 1)).astype(np.intp)
        marked = rows.padded.compress(self._marks.take(marks), axis=0)
        found = sum(row.tobytes() in self._rows for row in marked)
        if remember:
            self._rows.update(row.tobytes() for row in rows.padded)
            self._marks[marks] = True
        return found


def most_symbols(config: Config) -> int:
    """Symbols in the longest sequence that a model can be trained on: its positions less ``<BOS>`` and ``<EOS>``."""
    model = config.model
    return min(model.max_positions, model.random_positions or model.max_positions) - 2


def load_split(folder: Path, split: Split, config: Config) -> Sequence[list[int]]:
    """The source sequences of a split, in order, with their answers if those were given (``Pairs``).

    Raises:
        InputError: it is missing, damaged, or made from another configuration.
    """
    hint, task, rows = "seqrev generate", config.task, split_sizes(config).get(split, 0)
    manifest = read_json(folder / "manifest.json")
    splits = manifest.get("splits")
    entry = splits.get(split) if isinstance(splits, dict) else None
    path = folder / f"{split}.jsonl"
    if not isinstance(entry, dict):
        raise InputError(f"The dataset in {folder} has no {split} split.", hint)
    _check_same(manifest, config, folder)
    with open_regular(path, "a split of the dataset", hint, follow=False) as file:
        size = os.fstat(file.fileno()).st_size
        most = task.max_length + task.longest_answer
        longest_row = most * (len(str(task.symbols)) + 2) + len('{"src": [], "tgt": []}\n')
        if size > 2 * longest_row * rows:  # somebody else may have written more spaces
            raise InputError(f"{path} is larger than a {split} split of this configuration can be.", hint)
        if size != entry.get("bytes") or sha256_of(path) != entry.get("sha256"):
            raise InputError(f"{path} is damaged: its size or SHA-256 is not the one in manifest.json.", hint)
        own = read_jsonl(file, rows, task.max_length, task.symbols, task.rule)
    try:
        return own or _judged(read_sequences(path, task, most_symbols(config)), task.rule, path)
    except UsageError as error:
        raise InputError(f"{error} That does not fit the configuration of its run.", hint) from None


def _check_same(manifest: Mapping[str, Any], config: Config, folder: Path) -> None:
    """Raise ``InputError`` if the dataset was made for another seed or task, or with other numbers of rows."""
    made = _fields(manifest.get("seed", config.seed), manifest.get("task"), manifest["splits"])
    asked = _fields(config.seed, dict(config.task), {split: {"rows": rows} for split, rows in split_sizes(config).items()})
    if names := [name for name in made.keys() & asked.keys() if made[name] != asked[name]]:
        then, now = (", ".join(f"{name}={shorten(fields[name])}" for name in sorted(names)) for fields in (made, asked))
        file = folder.parent / "config.yaml"
        problem = f"{file} has {now}, but the dataset beside it was made with {then}: one of them was changed."
        raise InputError(problem, command_line("train", "--config", file))


def _fields(seed: object, task: object, splits: object) -> dict[str, object]:
    """What decides about a dataset, with the names that the configuration has for it."""
    fields = {f"task.{name}": value for name, value in task.items()} if isinstance(task, dict) else {}
    for split, entry in splits.items() if isinstance(splits, dict) else ():
        fields |= {f"data.{split}": entry.get("rows")} if isinstance(entry, dict) else {}
    return {"seed": seed, **fields}


def _judged(rows: Sequence[Sequence[int]], rule: RuleName, path: Path) -> Sequence[list[int]]:
    """Rows whose targets are there if they must be, and else are what the rule makes of the sources."""
    if rule == "pairs":
        if not isinstance(rows, Pairs):
            raise UsageError(f'{path}: "tgt" is missing, which the rule pairs needs.')
        return rows
    sources = [list(row) for row in rows]
    if isinstance(rows, Pairs):
        for number, (target, expected) in enumerate(zip(rows.targets, answers_to(sources, rule), strict=True), start=1):
            if target != expected:
                raise UsageError(f'{path}, line {number}: "tgt" is not what the rule {rule} makes of "src".')
    return sources
