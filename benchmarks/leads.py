"""What the ingredients of configs/extrapolate.yaml are for: how sure the model is, with each of them and without.

    python benchmarks/leads.py                # five seeds of the recipe, one of each variant: eight minutes on one core
    python benchmarks/leads.py --seeds 0

Prints a table. The *lead* is the score of the right source position in the last cross-attention less that of the next best,
in the head where it is largest; the smallest of all rows of one sequence. The *waves* are how many rotations take part in
a score: (Σa)² / Σa² over their amplitudes a, the sizes of a query's part times those of a key's; of the address that takes
most. The *margin* is the logit of the right token less that of the next best; the smallest of all tokens, teacher-forced.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqrev.config import Config, load_config
from seqrev.data.sampling import fresh_sequences
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from seqrev.task import alignment
from seqrev.training.trainer import Trainer

BASE = Path("configs/extrapolate.yaml")
VARIANTS = {
    "without dropout on queries": ["model.query_dropout=0"],
    "without that of self-attention": ["model.self_query_dropout=0"],
    "without noise": ["model.attention_noise=0"],
    "without target noise": ["train.target_noise=0"],
    "without all of these": [
        "model.query_dropout=0",
        "model.self_query_dropout=0",
        "model.attention_noise=0",
        "train.target_noise=0",
    ],
    "without scaling": ["model.length_scaling=false"],
    "base 10,000": ["model.position_base=10000"],
}
LENGTHS = (10, 200, 1_000, 3_000)  # of which the lead is measured
COUNTS = {10: 64, 100: 16, 1_000: 4, 3_000: 1}  # sequences of which the margin is
CPU = torch.device("cpu")


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the recipe as it is")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    header = ["variant", "seed", *(f"lead at {length:,}" for length in LENGTHS), "waves"]
    header += [f"margin at {length:,}" for length in COUNTS]
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    cases = [("the recipe", seed, list[str]()) for seed in arguments.seeds]
    cases += [(name, 0, changes) for name, changes in VARIANTS.items()]
    for name, seed, changes in cases:
        config = load_config(BASE, changes, seed)
        trainer = Trainer(config, device="cpu")
        for _ in trainer:
            pass
        cells = [name, str(seed), *measure(trainer.model.eval(), config)]
        print(f"| {' | '.join(cells)} |", flush=True)


@torch.inference_mode()
def measure(model: Transformer, config: Config) -> list[str]:
    """The cells of one row."""
    leads = [f"{lead(model, config, length):.0f}" for length in LENGTHS]
    margins = [f"{margin(model, config, length, count):.1f}" for length, count in COUNTS.items()]
    return [*leads, f"{waves(model, config):.0f}", *margins]


def lead(model: Transformer, config: Config, length: int) -> float:
    """By how much the right position wins, where it wins least."""
    sequences = np.array(fresh_sequences(length, 1, config))
    source, target = to_tensors(sequences, "reverse", CPU)
    seen: list[Tensor] = []
    softmax = model.decoder.layers[-1].cross_attention.softmax
    with softmax.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        model(source, target[:, :length])
    scores = seen[0][0]
    right = torch.from_numpy(alignment(sequences, "reverse") + 1).expand(len(scores), -1)[..., None]
    own = scores.gather(-1, right)
    best = scores.scatter(-1, right, -torch.inf).max(-1, keepdim=True).values
    return float((own - best)[..., 0].max(0).values.min())


def waves(model: Transformer, config: Config) -> float:
    """How many rotations take part, in the head and address with the most. (A rotation does not change an amplitude.)"""
    source, target = to_tensors(np.array(fresh_sequences(200, 1, config)), "reverse", CPU)
    attention, seen = model.decoder.layers[-1].cross_attention, list[Tensor]()
    with ExitStack() as hooks:
        for part in (attention.q_proj, attention.k_proj):
            hooks.enter_context(part.register_forward_hook(lambda _, inputs, output: seen.append(output[0])))
        model(source, target[:, :-1])
    parts = attention.heads * attention.addresses  # in each of them a pair is dimensions i and i + half of the width
    query, key = (torch.hypot(*each.view(len(each), parts, 2, -1).unbind(2)).mean(0) for each in seen)
    amplitudes = query * key
    return float((amplitudes.sum(-1) ** 2 / (amplitudes**2).sum(-1)).max())


def margin(model: Transformer, config: Config, length: int, count: int) -> float:
    """By how much the right token wins, where it wins least."""
    source, target = to_tensors(np.array(fresh_sequences(length, count, config)), "reverse", CPU)
    logits, right = model(source, target[:, :-1]), target[:, 1:, None]
    return float((logits.gather(-1, right) - logits.scatter(-1, right, -torch.inf).max(-1, keepdim=True).values).min())


if __name__ == "__main__":
    main()
