"""The peer: what a competent user writes with ``nn.Transformer`` for the same task, in one file.

Same data, size and batch as configs/small.yaml; padded batches, Adam, greedy decoding of the whole prefix at every step.

    python benchmarks/plain.py                             nn.Transformer's defaults: post-norm, dropout 0.1
    python benchmarks/plain.py --norm-first --dropout 0    tuned

Trains until the exact match on held-out sequences is 0.999, and ends. It prints a line for every check: how good it is, and
how crisp its attention. perfect.py times it from outside. With ``--crisp`` it goes on until its attention is, too.
"""

import argparse
import json
import math
import random
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

PAD, BOS, EOS = 0, 1, 2
SCORED = 64  # held-out sequences whose attention is scored


class Plain(nn.Module):
    """Embeddings, sinusoids, ``nn.Transformer``, a linear layer."""

    def __init__(self, norm_first: bool, dropout: float, longest: int = 4096) -> None:
        super().__init__()
        self.embedding = nn.Embedding(13, 64)
        positions, steps = torch.arange(longest)[:, None], torch.exp(torch.arange(0, 64, 2) * (-math.log(10_000.0) / 64))
        sinusoids = torch.stack((torch.sin(positions * steps), torch.cos(positions * steps)), dim=-1).flatten(1)
        self.sinusoids: Tensor
        self.register_buffer("sinusoids", sinusoids)
        with warnings.catch_warnings():  # that norm_first rules out nested tensors
            warnings.simplefilter("ignore")
            self.transformer = nn.Transformer(64, 4, 2, 2, 256, dropout=dropout, batch_first=True, norm_first=norm_first)
        self.output = nn.Linear(64, 13)

    def embed(self, ids: Tensor) -> Tensor:
        """Tokens and their positions."""
        embedded: Tensor = self.embedding(ids) + self.sinusoids[: ids.shape[1]]
        return embedded

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits, teacher-forced."""
        padding = source == PAD
        mask = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
        states = self.transformer(
            self.embed(source),
            self.embed(target),
            tgt_mask=mask,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        logits: Tensor = self.output(states)
        return logits

    def step(self, memory: Tensor, padding: Tensor, target: Tensor) -> Tensor:
        """The most probable next token of each row, from the whole prefix."""
        mask = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
        states = self.transformer.decoder(
            self.embed(target), memory, tgt_mask=mask, tgt_is_causal=True, memory_key_padding_mask=padding
        )
        chosen: Tensor = self.output(states[:, -1]).argmax(-1)
        return chosen

    @torch.inference_mode()
    def greedy(self, source: Tensor, most: int) -> Tensor:
        """Decode a batch until every row has ended, or for ``most`` steps."""
        padding = source == PAD
        memory = self.transformer.encoder(self.embed(source), src_key_padding_mask=padding)
        target = torch.full((len(source), 1), BOS)
        ended = torch.zeros(len(source), dtype=torch.bool)
        for _ in range(most):
            chosen = self.step(memory, padding, target)
            target = torch.cat((target, chosen[:, None]), dim=1)
            ended |= chosen == EOS
            if ended.all():
                break
        return target[:, 1:]


def batch_of(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Sources and targets as padded ids."""
    source = [torch.tensor([BOS, *(symbol + 3 for symbol in row), EOS]) for row in rows]
    target = [torch.tensor([BOS, *(symbol + 3 for symbol in row[::-1]), EOS]) for row in rows]
    return pad_sequence(source, batch_first=True), pad_sequence(target, batch_first=True)


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, rows: list[list[int]], batch_size: int = 64) -> None:
    """Once through the rows, shuffled."""
    model.train()
    order = random.sample(range(len(rows)), len(rows))
    for start in range(0, len(rows), batch_size):
        source, target = batch_of([rows[index] for index in order[start : start + batch_size]])
        logits = model(source, target[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def exact_match(model: Plain, rows: list[list[int]]) -> float:
    """Share of rows that are answered rightly, ``<EOS>`` included."""
    model.eval()
    source, target = batch_of(rows)
    answers = model.greedy(source, target.shape[1] + 2)
    width = min(answers.shape[1], target.shape[1] - 1)
    right = [
        answer[: len(row) + 1] == [*(symbol + 3 for symbol in row[::-1]), EOS]
        for answer, row in zip(answers[:, :width].tolist(), rows, strict=True)
    ]
    return right.count(True) / len(right)


@torch.inference_mode()
def crispness(model: Plain, rows: list[list[int]]) -> tuple[float, float]:
    """Mass and hit of the best map: in whatever layer of the decoder, the mean over the heads or one of them."""
    maps: list[Tensor] = []

    def ask(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

    model.eval()
    source, target = batch_of(rows)
    looking = [layer.multihead_attn for layer in model.transformer.decoder.layers]
    hooks = [module.register_forward_pre_hook(ask, with_kwargs=True) for module in looking]
    hooks += [module.register_forward_hook(lambda _, args, out: maps.append(out[1])) for module in looking]
    model(source, target[:, :-1])
    for hook in hooks:
        hook.remove()
    lengths = (source != PAD).sum(1, keepdim=True) - 2
    steps = torch.arange(source.shape[1] - 2)
    content, wanted = steps < lengths, (lengths - steps).clamp(min=0)  # <BOS> is at 0
    best = (0.0, 0.0)
    for weights in maps:
        every = torch.cat((weights.mean(1, keepdim=True), weights), dim=1)[:, :, : len(steps)]
        index = wanted[:, None].expand(every.shape[:3])
        mass, hit = every.gather(-1, index[..., None])[..., 0], (every.argmax(-1) == index).float()
        for one in range(every.shape[1]):
            best = max(best, (float(mass[:, one][content].mean()), float(hit[:, one][content].mean())))
    return best


def draw(count: int, seed: int) -> list[list[int]]:
    """Sequences of one to ten digits."""
    rng = random.Random(seed)
    return [[rng.randrange(10) for _ in range(rng.randint(1, 10))] for _ in range(count)]


def main() -> None:
    """Train until perfect."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--norm-first", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=30, help="at most")
    parser.add_argument("--checks", type=int, default=1, help="in an epoch")
    parser.add_argument("--crisp", action="store_true", help="until mass is 0.9 and hit 0.98, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    held_out = draw(1_000, 1)
    known = set(map(tuple, held_out))
    rows = [row for row in draw(options.rows * 2, 2) if tuple(row) not in known][: options.rows]
    model = Plain(options.norm_first, options.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    for check in range(options.epochs * options.checks):
        if check % options.checks == 0:
            random.shuffle(rows)
        train_epoch(model, optimizer, rows[check % options.checks :: options.checks], options.batch_size)
        exact, (mass, hit) = exact_match(model, held_out), crispness(model, held_out[:SCORED])
        epochs = (check + 1) / options.checks
        print(json.dumps({"epochs": epochs, "exact": exact, "mass": mass, "hit": hit}), flush=True)
        if exact >= 0.999 and (not options.crisp or (mass >= 0.9 and hit >= 0.98)):
            break


if __name__ == "__main__":
    main()
