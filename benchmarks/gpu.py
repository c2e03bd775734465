"""Training throughput on one GPU: tokens per second against nn.Transformer, and the share of the GPU's peak.

    python benchmarks/gpu.py                       # configs/base.yaml, both compiled, in bfloat16
    python benchmarks/gpu.py --peak 989            # TFLOP/s of the data sheet, for a GPU that is not in the list
    python benchmarks/gpu.py --smoke               # a tiny model on the CPU: shows that the code runs, measures nothing

Both sides take the same batches, in turns, and the medians are compared. A token is a target token, ``<EOS>`` included,
padding not. Operations are counted with the padding, which both compute.
Floating-point operations are those of the matrix products of forward and backward pass, two for each multiplication with
its addition, as PyTorch's own counter finds them; nothing that is computed twice counts twice.
"""

import argparse
import functools
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seqrev.config import Config, load_config
from seqrev.data.batches import Batches
from seqrev.data.sampling import draw_split
from seqrev.model.positions import sinusoidal
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from seqrev.system.files import write_json
from seqrev.task import ENDED, PAD, Array, vocabulary_size
from seqrev.training.schedule import learning_rate
from seqrev.training.state import TrainingState
from seqrev.training.step import token_loss, train_step

PEAK = {"H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "A100": 312.0}
"""Dense bfloat16 TFLOP/s in NVIDIA's data sheets (half of the figure "with sparsity"); the first name that fits counts."""
SMOKE = [
    *("model.d_model=32", "model.heads=2", "model.encoder_layers=1", "model.decoder_layers=1", "model.d_ff=64"),
    *("task.max_length=8", "train.batch_size=4", "train.compile=false"),
]
TakeStep = Callable[[Array], object]


class Plain(nn.Module):
    """The same model as a competent user would build it of PyTorch's own parts: pre-norm, batch first, sinusoids added."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        model = config.model
        vocabulary = vocabulary_size(config.task.symbols)
        self.source = nn.Embedding(vocabulary, model.d_model)
        self.target = nn.Embedding(vocabulary, model.d_model)
        with warnings.catch_warnings():  # that norm_first rules out nested tensors, which are for padded batches
            warnings.simplefilter("ignore")
            self.layers = nn.Transformer(
                model.d_model,
                model.heads,
                model.encoder_layers,
                model.decoder_layers,
                model.d_ff,
                model.dropout,
                batch_first=True,
                norm_first=True,
            )
        self.output = nn.Linear(model.d_model, vocabulary)
        self.register_buffer("positions", sinusoidal(torch.arange(config.task.max_length + 2), model.d_model))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Teacher-forced logits, ``[batch, tgt, vocabulary]``."""
        positions = self.get_buffer("positions")
        length = target.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=target.device).triu(1)
        padding = source == PAD
        states = self.layers(
            self.source(source) + positions[: source.shape[1]],
            self.target(target) + positions[:length],
            tgt_mask=mask,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        logits: Tensor = self.output(states)
        return logits


def plain_step(config: Config, device: torch.device) -> TakeStep:
    """The training step around it: autocast, fused Adam, clipping, and nothing read from the device."""
    torch.manual_seed(config.seed)
    model = Plain(config).to(device).train()
    if config.train.compile:
        model.compile()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr, betas=(0.9, 0.98), fused=True)
    steps = 0

    def take(sources: Array) -> None:
        nonlocal steps
        source, target = to_tensors(sources, "reverse", device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(steps, config.train)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.train.precision == "bfloat16"):
            logits = model(source, target[:, :-1])
        loss = token_loss(logits.float(), target[:, 1:])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), config.train.max_grad_norm or math.inf)
        optimizer.step()
        steps += 1

    return take


def own_step(config: Config, device: torch.device) -> TakeStep:
    """This project's training step."""
    state = TrainingState(config, device)
    return lambda sources: train_step(state, sources)


def operations(model: nn.Module, batches: Sequence[Array]) -> float:
    """Floating-point operations of training on these batches; counted on tensors without content."""
    total, meta = 0.0, torch.device("meta")
    model.to(meta).train()
    for batch in batches:
        source, target = to_tensors(batch[:1], "reverse", torch.device("cpu"))
        with FlopCounterMode(display=False) as counter:
            torch.autograd.backward(model(source.to(meta), target[:, :-1].to(meta)).sum())
        total += counter.get_total_flops() * len(batch)
    return total


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes, the device's part included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def product_rate(device: torch.device, size: int) -> float:
    """Operations per second of one large bfloat16 matrix product: what this very device reaches at best."""
    one = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    times = [seconds(lambda: [one @ one for _ in range(10)], device) / 10 for _ in range(4)]
    return 2 * size**3 / statistics.median(times[1:])  # the first warms up


def take_all(take: Callable[[Any], object], batches: list[Any]) -> None:
    """A step on every batch."""
    for batch in batches:
        take(batch)


def measure(config: Config, device: torch.device, steps: int, repetitions: int, peak: float | None) -> dict[str, Any]:
    """Time both sides in turns, over the same batches."""
    rows = (
        None if config.data.stream else [row for chunk in draw_split("train", config.data.train, config) for row in chunk]
    )
    source = Batches(config, rows)
    batches = [source.rows(step) for step in range(steps)]
    tokens = sum(int((batch != ENDED).sum()) + len(batch) for batch in batches)
    sides = {
        "seqrev": (
            own_step(config, device),
            operations(Transformer(config.model, vocabulary_size(config.task.symbols)), batches),
        ),
        "nn.Transformer": (plain_step(config, device), operations(Plain(config), batches)),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, (take, _) in sides.items():
            spent = seconds(functools.partial(take_all, take, batches), device)
            if repetition:  # the first compiles and warms up
                times[name].append(spent)
    rate = product_rate(device, 8192 if device.type == "cuda" else 64)
    result: dict[str, Any] = {"tokens": tokens, "steps": steps, "product_tflops": rate / 1e12, "peak_tflops": peak}
    for name, (_, flops) in sides.items():
        reached = flops / statistics.median(times[name])
        result[name] = {
            "seconds": times[name],
            "tokens_per_second": tokens / statistics.median(times[name]),
            "tflops": reached / 1e12,
            "share_of_product_rate": reached / rate,
            "share_of_peak": reached / 1e12 / peak if peak else None,
        }
    result["ratio"] = result["seqrev"]["tokens_per_second"] / result["nn.Transformer"]["tokens_per_second"]
    return result


def report(result: dict[str, Any]) -> None:
    """The result as a table."""
    print(f"{result['device']}, PyTorch {result['torch']}, {result['config']}, {result['precision']}")
    print(
        f"a large product alone: {result['product_tflops']:.1f} TFLOP/s; data sheet: {result['peak_tflops'] or 'not known'}"
    )
    print("                     tokens/s   TFLOP/s   of the product   of the data sheet")
    for name in ("seqrev", "nn.Transformer"):
        row = result[name]
        share = f"{row['share_of_peak']:.1%}" if row["share_of_peak"] else "-"
        rate, own = f"{row['tokens_per_second']:,.0f}", f"{row['share_of_product_rate']:.1%}"
        print(f"{name:14} {rate:>14} {row['tflops']:9.1f} {own:>16} {share:>19}")
    print(f"ratio: {result['ratio']:.2f}")


def main() -> None:
    """Measure, print, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/base.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one field")
    parser.add_argument("--steps", type=int, default=20, help="steps in a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--peak", type=float, help="bfloat16 TFLOP/s in the GPU's data sheet")
    parser.add_argument("--out", type=Path, default=Path("bench-gpu.json"))
    parser.add_argument("--smoke", action="store_true", help="a tiny model on the CPU")
    arguments = parser.parse_args()
    if not arguments.smoke and not torch.cuda.is_available():
        print("This benchmark needs a GPU that PyTorch can use through CUDA; --smoke only tries the code.", file=sys.stderr)
        sys.exit(2)
    device = torch.device("cpu" if arguments.smoke else "cuda")
    name = "CPU, smoke test" if arguments.smoke else torch.cuda.get_device_name()
    config = load_config(arguments.config, [*arguments.set, *(SMOKE if arguments.smoke else ())])
    peak = arguments.peak or next((value for gpu, value in PEAK.items() if gpu in name), None)
    about = {
        "device": name,
        "torch": torch.__version__,
        "config": str(arguments.config),
        "precision": config.train.precision + (", compiled" if config.train.compile else ""),
    }
    result = {**about, **measure(config, device, arguments.steps, arguments.repetitions, peak)}
    report(result)
    write_json(arguments.out, result)


if __name__ == "__main__":
    main()
