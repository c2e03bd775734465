"""The figures behind docs/scaling.md: what a training step of configs/base.yaml computes, keeps and prepares.

    python benchmarks/scaling.py                                   # operations, bytes, and the host's part of a step
    torchrun --nproc-per-node 2 benchmarks/scaling.py              # two processes against one, on this machine

None of it needs a GPU. Times are of this machine, one thread a process; all else would be the same anywhere.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gpu import operations  # the benchmark beside this one

from seqrev.config import Config, load_config
from seqrev.data.batches import Batches
from seqrev.model import attention
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from seqrev.task import ENDED, vocabulary_size
from seqrev.training.distributed import Processes, join
from seqrev.training.state import TrainingState
from seqrev.training.step import token_loss, train_step

BASE = Path("configs/base.yaml")
SMALL = Path("configs/small.yaml")
CPU = torch.device("cpu")


def saved_bytes(model: torch.nn.Module, rows: int, length: int) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights not counted, in bfloat16 with fused attention."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    source, target = to_tensors(np.zeros((rows, length), np.int32), "reverse", CPU)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(source, target[:, :-1], padded=False)
        token_loss(logits.float(), target[:, 1:])
    return sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in own)


def milliseconds(work: Callable[[int], object], count: int) -> float:
    """Mean over ``count`` calls, the first of which is not counted."""
    work(0)
    began = time.perf_counter()
    for index in range(1, count + 1):
        work(index)
    return (time.perf_counter() - began) / count * 1e3


def describe(config: Config) -> None:
    """What a step of the base model consists of."""
    model = Transformer(config.model, vocabulary_size(config.task.symbols))
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"weights: {weights:,}; gradient in float32: {4 * weights / 1e6:.0f} MB")
    attention.FUSED_DEVICES = {"cpu"}
    for length in (32, 256):
        few, many = saved_bytes(model, 2, length), saved_bytes(model, 6, length)
        print(f"kept for the backward pass, length {length}: {(many - few) / 4 / (length + 1) / 1e3:.0f} kB a token pair")
    longest = config.task.max_length
    lengths = np.array([1, longest // 2, longest])
    counts = [operations(model, [np.zeros((1, int(length)), np.int32)]) for length in lengths]
    curve = np.polynomial.Polynomial.fit(lengths, counts, 2)  # exact: products grow with length, attention with its square
    mean = float(curve(np.arange(1, longest + 1)).mean())
    print(f"operations for a sequence: {mean / 1e9:.1f} GFLOP on average, {counts[-1] / 1e9:.1f} at length {longest}")
    for size in (256, 2048, 16384):
        batches = Batches(config.model_copy(update={"train": config.train.model_copy(update={"batch_size": size})}), None)
        share = Processes(0, size // 256).share(size)

        def prepare(step: int, batches: Batches = batches, share: slice = share) -> object:
            return to_tensors(batches.rows(step, share), "reverse", CPU)

        spent = milliseconds(prepare, 30)
        print(f"a global batch of {size:,} sequences, on the host: {spent:.1f} ms")


def compare(processes: Processes) -> None:
    """A step by all processes against the same step by one, in turns; and what it costs to agree."""
    print_first = print if processes.rank == 0 else lambda *arguments: None
    print_first(f"agreeing on a number: {milliseconds(lambda _: processes.largest(0), 300):.2f} ms")
    for changes in ([], ["train.batch_size=1024"], ["train.batch_size=256", "model.d_model=256", "model.d_ff=1024"]):
        config = load_config(SMALL, ["data.stream=true", *changes])
        batches = [Batches(config, None).rows(step) for step in range(5 if changes else 40)]
        share = processes.share(config.train.batch_size)
        together, alone = TrainingState(config, processes=processes), TrainingState(config)
        times: dict[TrainingState, list[float]] = {together: [], alone: []}
        for repetition in range(6):
            for state in (together, alone) if processes.rank == 0 else (together,):
                began = time.perf_counter()
                for batch in batches:
                    tokens = int((batch != ENDED).sum()) + len(batch)
                    train_step(state, batch[share] if state is together else batch, tokens)
                if repetition:
                    times[state].append((time.perf_counter() - began) / len(batches) * 1e3)
            processes.largest(0)  # the others wait here for the first, which is alone at work
        if processes.rank == 0:
            both, one = (statistics.median(times[state]) for state in (together, alone))
            name = " ".join(["small.yaml", *changes])
            print(f"{name}: {one:.1f} ms alone, {both:.1f} ms together: {one / both:.2f} times as fast")


def main() -> None:
    """Describe the step; with several processes, compare."""
    torch.set_num_threads(1)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        describe(load_config(BASE))
        return
    with join("cpu") as processes:
        compare(processes)


if __name__ == "__main__":
    main()
