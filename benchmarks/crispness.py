"""What makes the attention crisp, and the answers right where random data hardly goes: small.yaml, changed.

    python benchmarks/crispness.py             eight variants, three seeds each: seven minutes on one core
    python benchmarks/crispness.py --seeds 5

The table of docs/guide/4-looking-inside.md. Mass and hit are those of the head mean in the last layer, over 1,000 test
sequences; wrong answers are counted in the families of ``seqrev evaluate --families``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from seqrev.api.reverser import Reverser
from seqrev.config import load_config
from seqrev.data.families import families
from seqrev.data.sampling import draw_split
from seqrev.interpret.alignment import alignment_over
from seqrev.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
NO_NOISE = ["model.attention_noise=0", "train.target_noise=0"]
VARIANTS = {
    "nothing": NO_NOISE,
    "one head": [*NO_NOISE, "model.heads=1"],
    "dropout 0.3 on the cross-attention weights": [*NO_NOISE, "model.attention_dropout=0.3"],
    "noise of deviation 2 on the scores from the beginning": ["train.noise_warmup_steps=0", "train.target_noise=0"],
    "the same, growing over 300 steps": ["train.target_noise=0"],
    "a quarter of the target disturbed, no other noise": ["model.attention_noise=0"],
    "both noises, but the last weights instead of their average": ["train.ema_decay=0"],
    "both noises and the average: `small.yaml`": [],
}


FORMATS = {"exact": ".3f", "mass": ".2f", "hit": ".3f", "wrong": ",.0f"}


def measure(changes: list[str], seed: int) -> dict[str, float]:
    """Train one, and count."""
    trainer = Trainer(load_config(ROOT / "configs" / "small.yaml", changes, seed), device="cpu")
    for _ in trainer:
        pass
    model, config = Reverser.from_trainer(trainer), trainer.config
    test = [row for chunk in draw_split("test", config.data.test, config) for row in chunk]
    mean, *_ = alignment_over(model.model, test)
    wrong = sum(sum(model.evaluate(rows).overall.errors.values()) for _, rows in families(config.task))
    return {"exact": model.evaluate(test).overall.exact_match, "mass": mean.mass, "hit": mean.hit, "wrong": wrong}


def main() -> None:
    """Print the table, and write what it is made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "crispness.json")
    options = parser.parse_args()
    total = sum(len(rows) for _, rows in families(load_config(ROOT / "configs" / "small.yaml").task))
    print(f"| | exact match | mass | hit | wrong of {total:,} with a pattern |\n|---|---|---|---|---|")
    document: dict[str, Any] = {}
    for name, changes in VARIANTS.items():
        results = [measure(changes, seed) for seed in range(options.seeds)]
        document[name] = {"set": changes, "seeds": results}
        cells = [between([result[key] for result in results], form) for key, form in FORMATS.items()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")


def between(values: list[float], form: str) -> str:
    """The smallest and the largest."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low}–{high}"


if __name__ == "__main__":
    main()
