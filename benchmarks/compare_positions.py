"""Compare position schemes: exact match by length, same data, same steps, same seeds; one table and one picture.

    python benchmarks/compare_positions.py                   # configs/ablation.yaml into docs/
    python benchmarks/compare_positions.py --variant ALiBi   # only this one

Each finished (variant, seed) is kept in the JSON file, so that an interrupted comparison goes on where it stopped. Delete
that file after changing the sweep.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
import yaml

from seqrev import plots
from seqrev.config import load_config
from seqrev.data import fresh_sequences
from seqrev.evaluation import evaluate
from seqrev.files import write_json
from seqrev.training import TrainingState, fit


def main() -> None:
    """Run what is missing, then write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", type=Path, default=Path("configs/ablation.yaml"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--variant", action="append", help="only these variants")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sweep = yaml.safe_load(arguments.sweep.read_text())
    path = arguments.out / f"{arguments.sweep.stem}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    for seed in sweep["seeds"]:
        for name, changes in sweep["variants"].items():
            key = f"{name} / {seed}"
            if key in results or (arguments.variant and name not in arguments.variant):
                continue
            results[key] = measure(sweep, changes, seed)
            print(key, results[key], flush=True)
            write_json(path, results)
    report(sweep, results, path)


def measure(sweep: dict[str, Any], changes: list[str], seed: int) -> dict[str, float]:
    """Train one variant and return its exact match at each length."""
    config = load_config(Path(sweep["base"]), [*sweep.get("set", ()), *changes], seed)
    state = TrainingState(config)
    for _ in fit(config, state=state):
        pass
    state.model.eval()
    exact = {}
    for length in sweep["lengths"]:
        sequences = fresh_sequences(length, sweep["sequences"], config)
        exact[str(length)] = evaluate(state.model, sequences).overall.exact_match
    return exact


def report(sweep: dict[str, Any], results: dict[str, Any], path: Path) -> None:
    """Mean over the seeds, with the range over the seeds as the band, as Markdown and as a picture."""
    curves = []
    lines = ["| variant | " + " | ".join(map(str, sweep["lengths"])) + " |", "|---" * (len(sweep["lengths"]) + 1) + "|"]
    for name in sweep["variants"]:
        runs = [results[f"{name} / {seed}"] for seed in sweep["seeds"] if f"{name} / {seed}" in results]
        if not runs:
            continue
        columns = [[run[str(length)] for run in runs] for length in sweep["lengths"]]
        lines.append(f"| {name} | " + " | ".join(f"{statistics.mean(column):.2f}" for column in columns) + " |")
        bands = [(min(column), max(column)) for column in columns]
        curves.append(plots.Curve(name, sweep["lengths"], [statistics.mean(column) for column in columns], bands))
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    task = load_config(Path(sweep["base"])).task
    seeds = sweep["seeds"]
    title = f"exact match by length, {f'mean and range of {len(seeds)} seeds' if len(seeds) > 1 else f'seed {seeds[0]}'}"
    plots.save_figure(plots.accuracy_by_length(curves, (task.min_length, task.max_length), title), path.with_suffix(".png"))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
