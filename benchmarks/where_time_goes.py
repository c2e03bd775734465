"""Where the time goes: an epoch's steps and short decoding, ours and the peer's (plain.py), by kinds of operation.

    python benchmarks/where_time_goes.py --threads 1

The times of large operations are PyTorch's profile of them. The rest is what is missing to the time that is taken without
the profiler, which would make small operations look slow: mostly what it costs to call them. That cost does not
depend on the batch, so steps of 16, 32 and 64 sequences, through which a line is laid, show it once more.
"""

import argparse
import functools
import statistics
from collections.abc import Callable

import numpy as np
import torch
from answers import greedy_for
from common import SMALL, seconds, training_state
from plain import Plain, batch_of, draw, train_epoch
from torch.profiler import ProfilerActivity, profile

from seqrev.config import load_config
from seqrev.inference.search import decode
from seqrev.model.transformer import Transformer
from seqrev.training.step import train_step

KINDS = {
    "products of linear layers": ("mm", "addmm"),
    "products of attention": ("bmm", "baddbmm"),
    "random numbers": ("bernoulli_", "normal_", "native_dropout"),
    "copies": ("copy_", "cat"),
    "softmax, norms, ReLU": (
        *("_softmax", "_softmax_backward_data", "native_layer_norm", "native_layer_norm_backward"),
        *("clamp_min", "threshold_backward", "relu", "relu_"),
    ),
    "optimizer": ("_fused_adam_", "linalg_vector_norm"),
}
DROPOUT = ("model.dropout=0.1", "model.attention_dropout=0.1")


def main() -> None:
    """Print a column for each of the four, and the line through the batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    rows, short = draw(10_000, 2), draw(10_000, 1)
    state, batches = training_state(rows, *DROPOUT)
    trained, peer = Plain(norm_first=True, dropout=0.1), Plain(norm_first=True, dropout=0.0).eval()
    adam = torch.optim.Adam(trained.parameters(), lr=1e-3, fused=True)
    model = Transformer(load_config(SMALL).model, 13).eval()

    def steps() -> None:
        for step in range(50):
            train_step(state, batches.rows(step))

    def peer_decodes() -> None:
        for start in range(0, len(short), 512):
            source, target = batch_of(short[start : start + 512])
            greedy_for(peer, source, range(1, target.shape[1] - 1))

    works: dict[str, tuple[Callable[[], object], int]] = {  # with how many of what is asked for they do
        "a step, ms": (steps, 50),
        "the peer's step, ms": (lambda: train_epoch(trained, adam, rows[: 50 * 64]), 50),
        "decoding 10,000, ms": (lambda: decode(model, short, length_given=True), 1),
        "the peer's, ms": (peer_decodes, 1),
    }
    columns = {name: spent(work, count) for name, (work, count) in works.items()}
    print(f"| | {' | '.join(columns)} |\n{'|---' * (len(columns) + 1)}|")
    for kind in next(iter(columns.values())):
        print(f"| {kind} | {' | '.join(column[kind] for column in columns.values())} |")
    fixed, each = line_through((16, 32, 64))
    print(f"\nA step takes {fixed:.1f} ms whatever its batch, and {each:.2f} ms for each sequence.")


def spent(work: Callable[[], object], count: int) -> dict[str, str]:
    """Milliseconds by kind of operation, the rest, and how many operations were called."""
    work()
    whole = statistics.median(seconds(work) for _ in range(5)) * 1e3 / count
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    events = {event.key: event for event in profiler.key_averages()}
    known = {
        kind: sum(events[f"aten::{name}"].self_cpu_time_total for name in names if f"aten::{name}" in events) / 1e3 / count
        for kind, names in KINDS.items()
    }
    calls = sum(event.count for name, event in events.items() if name.startswith("aten::")) / count
    rest = whole - sum(known.values())
    return {
        **{kind: f"{taken:,.1f}" for kind, taken in known.items()},
        "all else": f"{rest:,.1f}",
        "together": f"{whole:,.1f}",
        "operations called": f"{calls:,.0f}",
    }


def line_through(sizes: tuple[int, ...]) -> tuple[float, float]:
    """Milliseconds of a step: those that do not depend on the batch, and those for each sequence in it."""
    times = []
    for size in sizes:
        state, batches = training_state(draw(10_000, 2), *DROPOUT, f"train.batch_size={size}")
        taken = [seconds(functools.partial(train_step, state, batches.rows(step))) for step in range(150)]
        times.append(statistics.median(taken[30:]) * 1e3)
    each, fixed = np.polyfit(sizes, times, 1)
    return float(fixed), float(each)


if __name__ == "__main__":
    main()
