"""The peer: what a competent user writes with ``nn.Transformer`` for the same task, in one file.

Same data, size and batch as configs/small.yaml; padded batches, Adam, greedy decoding of the whole prefix at every step.

    python benchmarks/plain.py                             nn.Transformer's defaults: post-norm, dropout 0.1
    python benchmarks/plain.py --norm-first --dropout 0    tuned

Trains until the exact match on held-out sequences is 0.999, prints after how many epochs, and ends. speed.py times it from
outside.
"""

import argparse
import json
import math
import random

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

PAD, BOS, EOS = 0, 1, 2
MOST_EPOCHS = 30


class Plain(nn.Module):
    """Embeddings, sinusoids, ``nn.Transformer``, a linear layer."""

    def __init__(self, norm_first: bool, dropout: float, longest: int = 4096) -> None:
        super().__init__()
        self.embedding = nn.Embedding(13, 64)
        positions, steps = torch.arange(longest)[:, None], torch.exp(torch.arange(0, 64, 2) * (-math.log(10_000.0) / 64))
        sinusoids = torch.stack((torch.sin(positions * steps), torch.cos(positions * steps)), dim=-1).flatten(1)
        self.register_buffer("sinusoids", sinusoids)
        self.transformer = nn.Transformer(64, 4, 2, 2, 256, dropout=dropout, batch_first=True, norm_first=norm_first)
        self.output = nn.Linear(64, 13)

    def embed(self, ids: Tensor) -> Tensor:
        """Tokens and their positions."""
        sinusoids: Tensor = self.sinusoids  # type: ignore[assignment]
        embedded: Tensor = self.embedding(ids) + sinusoids[: ids.shape[1]]
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
        loss.backward()  # type: ignore[no-untyped-call]
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


def draw(count: int, seed: int) -> list[list[int]]:
    """Sequences of one to ten digits."""
    rng = random.Random(seed)
    return [[rng.randrange(10) for _ in range(rng.randint(1, 10))] for _ in range(count)]


def main() -> None:
    """Train until perfect."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--norm-first", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    held_out = draw(1_000, 1)
    known = set(map(tuple, held_out))
    rows = [row for row in draw(14_000, 2) if tuple(row) not in known][:10_000]
    model = Plain(options.norm_first, options.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    epochs, exact = 0, 0.0
    while exact < 0.999 and epochs < MOST_EPOCHS:
        train_epoch(model, optimizer, rows)
        exact = exact_match(model, held_out)
        epochs += 1
    print(json.dumps({"epochs": epochs, "exact_match": exact}), flush=True)


if __name__ == "__main__":
    main()
