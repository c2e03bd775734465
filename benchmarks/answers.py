"""Decoding and evaluation, beside plain.py."""

import time

import torch
from common import FAST, SMALL, Plan, Result, interleaved, random_rows, row, seconds
from plain import Plain, batch_of, draw
from torch import Tensor

from seqrev.config import load_config
from seqrev.inference.evaluation import evaluate
from seqrev.inference.search import decode
from seqrev.model.transformer import Transformer
from seqrev.training.trainer import Trainer


def decoding_short(plan: Plan) -> list[Result]:
    """10,000 held-out sequences of at most ten symbols: answered token by token, and evaluated in one pass."""
    trainer = Trainer(load_config(FAST, plan.changes), device="cpu")
    for _ in trainer:
        pass
    trained = trainer.model.eval()
    model, peer, rows = Transformer(load_config(SMALL).model, 13).eval(), Plain(True, 0.0).eval(), draw(plan.rows, 1)

    def theirs() -> None:
        for start in range(0, len(rows), 512):  # our batch
            source, target = batch_of(rows[start : start + 512])
            greedy_for(peer, source, range(1, target.shape[1] - 1))

    works = (lambda: decode(model, rows, length_given=True), lambda: evaluate(trained, rows), theirs)
    own, evaluated, other = interleaved(plan.repetitions, *works)
    exact = evaluate(trained, rows).overall.exact_match
    detail = f"a trained model (exact match {exact:.4f}), which must emit <EOS> too; checked in one pass where it is right"
    return [
        row(
            f"decoding {len(rows):,} sequences of length <= 10",
            own,
            other,
            10.0,
            "both emit the answer's symbols and no <EOS>",
        ),
        row(f"evaluating {len(rows):,} sequences of length <= 10", evaluated, other, None, detail),
    ]


def decoding_long(plan: Plan) -> list[Result]:
    """64 sequences of length 1,000; the peer's steps are sampled."""
    model, peer = Transformer(load_config(SMALL).model, 13).eval(), Plain(True, 0.0).eval()
    rows = random_rows(64, plan.longest)
    own = seconds(lambda: decode(model, rows, length_given=True))
    lengths = [max(1, plan.longest * share // 100) for share in (0, 10, 25, 50, 75, 100)]
    source, _ = batch_of(rows)
    taken = [greedy_for(peer, source, range(length, length + 1)) for length in lengths]
    other = sum((taken[i] + taken[i + 1]) / 2 * (lengths[i + 1] - lengths[i]) for i in range(len(lengths) - 1))
    detail = f"peer: the steps at lengths {lengths} were timed ({taken[-1]:.2f} s the last), the others interpolated"
    return [row(f"decoding 64 sequences of length {plan.longest:,}", own, other, 30.0, detail)]


@torch.inference_mode()
def greedy_for(peer: Plain, source: Tensor, lengths: range) -> float:
    """The decoder's steps with prefixes of these lengths, the source having been read once; seconds of the steps."""
    padding = source == 0
    memory = peer.transformer.encoder(peer.embed(source), src_key_padding_mask=padding)
    target = torch.randint(3, 13, (len(source), lengths[0]))
    began = time.perf_counter()
    for _ in lengths:
        target = torch.cat((target, peer.step(memory, padding, target)[:, None]), dim=1)
    return time.perf_counter() - began
