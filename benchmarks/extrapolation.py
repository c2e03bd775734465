"""How far configs/extrapolate.yaml reaches: the tables of docs/extrapolation.md, for the rules reverse, copy and rotate.

    python benchmarks/extrapolation.py headline      five seeds of the recipe, to 10,000 symbols; half an hour on one core
    python benchmarks/extrapolation.py longest       the same five seeds, one sequence of 100,000 symbols; an hour
    python benchmarks/extrapolation.py settings      other alphabets, training lengths and numbers of steps; an hour
    python benchmarks/extrapolation.py rotate        the rule that needs both counts, five seeds; half an hour
    python benchmarks/extrapolation.py headline --rule copy --seed 3

Prints a line for each model, and keeps it in a JSON file: what is there is not measured again. Delete the file after
changing the code. Answers are free-running and greedy; the sequences are in no training split.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from seqrev.config import load_config
from seqrev.data.sampling import fresh_sequences
from seqrev.inference.evaluation import evaluate
from seqrev.interpret.alignment import alignment_over
from seqrev.system.files import write_json
from seqrev.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "extrapolation.json"
FEW = ["data.validation=3", "data.test=3"]  # where there are hardly different sequences
HARD, EASY = (1, 2, 3), (1,)
SETTINGS: dict[str, tuple[tuple[int, ...], list[str]]] = {
    "2 symbols, 1 to 10": (HARD, ["task.symbols=2", *FEW]),
    "3 symbols, 1 to 10": (EASY, ["task.symbols=3"]),
    "26 symbols, 1 to 10": (EASY, ["task.symbols=26"]),
    "100 symbols, 1 to 10": (EASY, ["task.symbols=100"]),
    "300 symbols, 1 to 10": (EASY, ["task.symbols=300"]),
    "1,000 symbols, 1 to 10": (HARD, ["task.symbols=1000"]),
    "digits, 1 to 3": (EASY, ["task.max_length=3"]),
    "digits, 1 to 5": (HARD, ["task.max_length=5"]),
    "digits, 5 to 10": (EASY, ["task.min_length=5"]),
    "digits, 1 to 20": (EASY, ["task.max_length=20"]),
    "digits, 10 to 20": (EASY, ["task.min_length=10", "task.max_length=20"]),
    "digits, 1 to 40": (EASY, ["task.max_length=40"]),
    "digits, 32 to 64": (EASY, ["task.min_length=32", "task.max_length=64"]),
    "1,000 symbols, 2,500 steps": (EASY, ["task.symbols=1000", "train.steps=2500"]),
    "1,000 symbols, 5,000 steps": (EASY, ["task.symbols=1000", "train.steps=5000"]),
}
"""Of each setting the seeds, and how it differs from the recipe."""
ROTATE = [
    "model.encoder_layers=0",
    "model.query_dropout=0.2",
    "train.target_noise=0",
    "train.lr=0.003",
    "train.noise_warmup_steps=300",
    "train.steps=3000",
]
"""How that for the rule rotate differs from the recipe."""


def cases(table: str) -> Iterator[tuple[str, int, list[str]]]:
    """Name, seed and changes of every model of a table."""
    recipe = {"the recipe": (tuple(range(5)), ROTATE if table == "rotate" else [])}
    for name, (seeds, changes) in (SETTINGS if table == "settings" else recipe).items():
        for seed in seeds:
            yield name, seed, changes


def measure(table: str, rule: str, seed: int, changes: list[str]) -> dict[str, Any]:
    """Train one model, and count what it gets right: of each length how many of how many, and where it looks."""
    config = load_config(ROOT / "configs" / "extrapolate.yaml", [*changes, f"task.rule={rule}"], seed)
    trainer = Trainer(config, device="cpu")
    for _ in trainer:
        pass
    model, longest = trainer.model.eval(), config.task.max_length
    lengths = {
        "headline": {20: 64, 100: 64, 1_000: 64, 10_000: 16},
        "rotate": {20: 64, 100: 64, 1_000: 64},
        "longest": {100_000: 1},
        "settings": {8 * longest: 16, 16 * longest: 16, 1_000: 16},
    }[table]
    found: dict[str, Any] = {"training_seconds": round(trainer.seconds, 1)}
    for length, count in lengths.items():
        began = time.perf_counter()
        sequences = fresh_sequences(length, count, config)
        found[str(length)] = [evaluate(model, sequences).overall.exact, len(sequences)]
        found.setdefault("seconds", {})[str(length)] = round(time.perf_counter() - began, 1)
    for length in (10, 500, 1_000) if table in ("headline", "rotate") else ():
        score = alignment_over(model, fresh_sequences(length, 16, config))[0]
        found.setdefault("alignment", {})[str(length)] = [score.mass, score.hit]
    return found


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("headline", "longest", "settings", "rotate"))
    parser.add_argument("--rule", action="append", choices=("reverse", "copy"), help="only this one")
    parser.add_argument("--seed", action="append", type=int, help="only these")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="only these")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.setting and options.table != "settings":
        parser.error("--setting goes with the table settings")
    torch.set_num_threads(1)
    for rule in ("rotate",) if options.table == "rotate" else options.rule or ("reverse", "copy"):
        for name, seed, changes in cases(options.table):
            if (options.seed and seed not in options.seed) or (options.setting and name not in options.setting):
                continue
            key = f"{options.table} / {rule} / {name} / {seed}"
            known = json.loads(options.results.read_text()) if options.results.exists() else {}
            if key not in known:
                found = measure(options.table, rule, seed, changes)
                known = json.loads(options.results.read_text()) if options.results.exists() else {}  # others may write, too
                write_json(options.results, {**known, key: found})
                print(key, found, flush=True)


if __name__ == "__main__":
    main()
