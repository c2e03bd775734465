"""Compare position schemes: exact match by length, same data, same steps, same seeds; one table and one picture.

    python benchmarks/compare_positions.py                   # configs/ablation.yaml; the table goes into docs/
    python benchmarks/compare_positions.py --variant ALiBi   # only this one

Once a trained model gets nothing right at some length, it is not asked for longer ones: they count as zero. Each finished
(variant, seed) is kept in the JSON file with a digest of its configuration: an interrupted comparison goes on where it
stopped, and what was changed is measured anew. Delete that file after changing the code.
"""

import argparse
import hashlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from matplotlib.figure import Figure

from seqrev.config import Config, load_config
from seqrev.data.sampling import fresh_sequences
from seqrev.inference.evaluation import evaluate
from seqrev.plotting.export import save_figure
from seqrev.system.files import write_json
from seqrev.training.trainer import Trainer


def main() -> None:
    """Run what is missing, then write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", type=Path, default=Path("configs/ablation.yaml"))
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the table and the picture")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of the JSON file")
    parser.add_argument("--variant", action="append", help="only these variants")
    arguments = parser.parse_args()
    for folder in (arguments.out, arguments.results):
        folder.mkdir(parents=True, exist_ok=True)
    sweep = yaml.safe_load(arguments.sweep.read_text())
    path = arguments.results / f"{arguments.sweep.stem}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    current: dict[str, Any] = {}  # what was measured with this very configuration
    for seed in sweep["seeds"]:
        for name, changes in sweep["variants"].items():
            key = f"{name} / {seed}"
            config = load_config(Path(sweep["base"]), [*sweep.get("set", ()), *unfold(changes)], seed)
            asked = [config.model_dump(), sweep["lengths"], sweep["sequences"]]
            digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
            if results.get(key, {}).get("digest") != digest:
                if arguments.variant and name not in arguments.variant:
                    continue
                results[key] = {"digest": digest, "exact": measure(config, sweep["lengths"], sweep["sequences"])}
                print(key, results[key]["exact"], flush=True)
                write_json(path, results)
            current[key] = results[key]
    report(sweep, current, arguments.out / f"{arguments.sweep.stem}.md")


def measure(config: Config, lengths: Sequence[int], count: int) -> dict[str, float]:
    """Train one variant; its exact match on ``count`` sequences of each length, up to the first where it is zero."""
    trainer = Trainer(config, device="cpu")
    for _ in trainer:
        pass
    model = trainer.model.eval()
    exact: dict[str, float] = {}
    for length in sorted(lengths):
        if 0 in exact.values():
            break
        sequences = fresh_sequences(length, count, config)
        exact[str(length)] = evaluate(model, sequences).overall.exact_match
    return exact


def unfold(changes: list[Any]) -> list[str]:
    """Assignments, and shared lists of them, as one list."""
    return [one for change in changes for one in (unfold(change) if isinstance(change, list) else [change])]


def report(sweep: dict[str, Any], results: dict[str, Any], table: Path) -> None:
    """Mean over the seeds, and where they differ the smallest and the largest, as Markdown and as a picture."""
    lengths = sorted(sweep["lengths"])
    rows: dict[str, list[list[float]]] = {}  # by variant: at each length, each seed
    for name in sweep["variants"]:
        runs = [results[f"{name} / {seed}"]["exact"] for seed in sweep["seeds"] if f"{name} / {seed}" in results]
        if runs:
            rows[name] = [[run.get(str(length), 0.0) for run in runs] for length in lengths]
    lines = ["| variant | " + " | ".join(f"{length:,}" for length in lengths) + " |", "|---" * (len(lengths) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(map(show, cells)) + " |" for name, cells in rows.items()]
    task = load_config(Path(sweep["base"]), sweep.get("set", ())).task
    seeds = ", ".join(map(str, sweep["seeds"]))
    title = f"exact match by length; trained on lengths {task.min_length} to {task.max_length}, seeds: {seeds}"
    caption = f"E{title[1:]}; {sweep['sequences']} sequences of each length, the mean of the seeds (and the range)."
    table.write_text("\n".join([caption, "", *lines]) + "\n")
    save_figure(shaded_table(rows, lengths, title), table.with_suffix(".png"))
    print("\n".join(lines))


def show(values: Sequence[float], between: str = " ") -> str:
    """``0.35 (0.06–0.94)``: the mean, and the range where there is one."""
    low, high = min(values), max(values)
    return f"{statistics.mean(values):.2f}" + (f"{between}({low:.2f}–{high:.2f})" if low < high else "")


def shaded_table(rows: dict[str, list[list[float]]], lengths: Sequence[int], title: str) -> Figure:
    """The table as a picture: the darker, the better. (Curves would lie on each other at 0 and at 1.)"""
    figure = Figure(figsize=(2.6 + 0.85 * len(lengths), 1.1 + 0.34 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    means = [[statistics.mean(cell) for cell in cells] for cells in rows.values()]
    axes.imshow(means, cmap="Blues", vmin=0.0, vmax=1.25, aspect="auto")
    for row, cells in enumerate(rows.values()):
        for column, cell in enumerate(cells):
            colour = "white" if means[row][column] > 0.7 else "black"
            axes.text(column, row, show(cell, "\n"), ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(length=0)
    axes.set_xticks([column - 0.5 for column in range(1, len(lengths))], minor=True)
    axes.set_yticks([row - 0.5 for row in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("length of the sequence")
    figure.suptitle(title, fontsize=10)
    return figure


if __name__ == "__main__":
    main()
