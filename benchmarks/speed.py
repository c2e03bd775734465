"""How fast: this project beside a plain ``nn.Transformer`` script (plain.py), side by side in one run.

    make bench                                              everything: about ten minutes on two cores
    python benchmarks/speed.py --only step --only generate  some of it; the JSON file keeps the other sections
    python benchmarks/speed.py --only epoch --compile       the peer compiled as well (90 s more)

Repetitions of the two are interleaved, figures are medians, what counts are the ratios. Threads are pinned and printed.
"""

import argparse
import functools
import json
import math
import os
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from plain import Plain, batch_of, draw, train_epoch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqrev.config import load_config
from seqrev.data.batches import Batches
from seqrev.data.dataset import load_split, write_dataset
from seqrev.data.sequences import read_sequences
from seqrev.inference.evaluation import evaluate
from seqrev.inference.search import decode
from seqrev.model.transformer import Transformer
from seqrev.training.state import TrainingState
from seqrev.training.step import train_step
from seqrev.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
SMALL, FAST = ROOT / "configs" / "small.yaml", ROOT / "configs" / "fast.yaml"
Result = dict[str, Any]


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(repetitions: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each; in turn, so that a slow minute of the machine falls on all of them."""
    times = [[seconds(work) for work in works] for _ in range(repetitions)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def environment() -> dict[str, str]:
    """Of a child: this project is importable."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def process(*arguments: str) -> str:
    """Run Python in a process of its own; returns what it prints."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout


def time_to_perfect(threads: int) -> Iterator[Result]:
    """From the start of the process to the first validation with exact match 0.999; ours generates its dataset too."""
    with tempfile.TemporaryDirectory() as folder:

        def ours() -> tuple[float, float]:
            """When the first perfect validation was printed, and when the command was done."""
            options = ("--runs-dir", folder, "--config", str(FAST), "--set", f"train.threads={threads}")
            began, found = time.perf_counter(), math.inf
            command = [sys.executable, "-m", "seqrev", "train", *options]
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
            ) as child:
                assert child.stderr is not None
                for line in child.stderr:
                    match = re.search(r"validation loss .*exact match ([0-9.]+)", line)
                    if match and float(match[1]) >= 0.999:
                        found = min(found, time.perf_counter() - began)
            return found, time.perf_counter() - began

        times = [ours() for _ in range(3)]
    fast, whole = (statistics.median(column) for column in zip(*times, strict=True))
    for name, arguments, target in (("tuned", ("--norm-first", "--dropout", "0"), 4.0), ("defaults", (), 10.0)):
        began = time.perf_counter()
        command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks/plain.py"), "--threads", str(threads), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as child:
            assert child.stdout is not None
            peer = json.loads(child.stdout.readline())
            taken = time.perf_counter() - began
        what = f"time to exact match 0.999, fast.yaml against nn.Transformer {name}"
        detail = f"peer: {peer['epochs']} epochs; our command was done after {whole:.1f} s"
        yield row(what, fast, taken, target, detail)


def epoch(compiled: bool) -> list[Result]:
    """Once through the same 10,000 sequences, dropout 0.1."""
    rows = draw(10_000, 2)
    ours, batches = training_state(rows, "model.dropout=0.1", "model.attention_dropout=0.1")
    steps = math.ceil(len(rows) / 64)  # as many as the peer takes
    models = {"eager": Plain(norm_first=True, dropout=0.1)}
    if compiled:
        models["compiled"] = Plain(norm_first=True, dropout=0.1)
        models["compiled"].compile(dynamic=True)
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-3, fused=True) for name, model in models.items()}
    for name, model in models.items():
        train_epoch(model, optimizers[name], rows[:1_280])

    def own() -> None:
        for step in range(steps):
            train_step(ours, batches[step])

    peers = [functools.partial(train_epoch, models[name], optimizers[name], rows) for name in models]
    own_time, *peer_times = interleaved(3, own, *peers)
    detail = ", ".join(f"{name} {peer:.2f} s" for name, peer in zip(models, peer_times, strict=True))
    return [row("one epoch of 10,000 sequences, dropout 0.1", own_time, min(peer_times), 2.5, f"peer: {detail}")]


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every matrix product: what it is called with, shapes and strides."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass it on."""
        del types
        if func.__name__.split(".")[0] in ("mm", "addmm", "bmm", "baddbmm"):
            self.calls.append((func, [(one.shape, one.stride()) if isinstance(one, Tensor) else one for one in args]))
        return func(*args, **(kwargs or {}))

    def replay(self) -> tuple[Callable[[], None], int]:
        """The products alone, each with tensors of its own of the same shapes and strides; and their operations."""

        def like(shape: Any, stride: Any) -> Tensor:
            size = 1 + sum((extent - 1) * step for extent, step in zip(shape, stride, strict=True))
            return torch.randn(size).as_strided(shape, stride)

        made = [(func, [like(*one) if isinstance(one, tuple) else one for one in args]) for func, args in self.calls]
        operations = sum(2 * math.prod(args[-2][0]) * args[-1][0][-1] for _, args in self.calls)

        def run() -> None:
            for func, args in made:
                func(*args)

        return run, operations


def step_against_products() -> list[Result]:
    """A training step against the matrix products in it."""
    results = []
    for batch_size in (64, 256):
        state, batches = training_state(draw(10_000, 2), "model.attention_noise=1.5", f"train.batch_size={batch_size}")
        for step in range(20):
            train_step(state, batches[step])
        times = []
        for step in range(20, 60):
            batch = batches[step]
            with Products() as products:
                train_step(state, batch)
            alone, operations = products.replay()
            alone()
            whole, part = interleaved(3, functools.partial(train_step, state, batch), alone)
            times.append((whole, part, operations / part / 1e9))
        whole, part, rate = (statistics.median(column) for column in zip(*times, strict=True))
        what = f"a training step, batch {batch_size}, against its matrix products"
        result = row(what, whole, part, None, f"{rate:.0f} GFLOP/s in the products")
        results.append(result | {"ratio": whole / part, "target": "≤ 2"})
    return results


def decoding_short() -> list[Result]:
    """10,000 held-out sequences of at most ten symbols: answered token by token, and evaluated in one pass."""
    trainer = Trainer(load_config(FAST), device="cpu")
    for _ in trainer:
        pass
    trained = trainer.model.eval()
    model, peer, rows = Transformer(load_config(SMALL).model, 13).eval(), Plain(True, 0.0).eval(), draw(10_000, 1)

    def theirs() -> None:
        for start in range(0, len(rows), 512):  # our batch
            source, target = batch_of(rows[start : start + 512])
            greedy_for(peer, source, range(1, target.shape[1] - 1))

    works = (lambda: decode(model, rows, length_given=True), lambda: evaluate(trained, rows), theirs)
    own, evaluated, other = interleaved(3, *works)
    exact = evaluate(trained, rows).overall.exact_match
    detail = f"a trained model (exact match {exact:.4f}), which must emit <EOS> too; checked in one pass where it is right"
    return [
        row("decoding 10,000 sequences of length <= 10", own, other, 10.0, "both emit the answer's symbols and no <EOS>"),
        row("evaluating 10,000 sequences of length <= 10", evaluated, other, None, detail),
    ]


def decoding_long() -> list[Result]:
    """64 sequences of length 1,000; the peer's steps are sampled."""
    model, peer = Transformer(load_config(SMALL).model, 13).eval(), Plain(True, 0.0).eval()
    rows = [[random.randrange(10) for _ in range(1_000)] for _ in range(64)]
    own = seconds(lambda: decode(model, rows, length_given=True))
    lengths, (source, _) = [1, 100, 250, 500, 750, 1_000], batch_of(rows)
    taken = [greedy_for(peer, source, range(length, length + 1)) for length in lengths]
    other = sum((taken[i] + taken[i + 1]) / 2 * (lengths[i + 1] - lengths[i]) for i in range(len(lengths) - 1))
    detail = f"peer: the steps at lengths {lengths} were timed ({taken[-1]:.2f} s the last), the others interpolated"
    return [row("decoding 64 sequences of length 1,000", own, other, 30.0, detail)]


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


def generation() -> list[Result]:
    """Rows to disk, into a new folder each time, as in a run, and back; and memory against rows."""
    results = []
    with tempfile.TemporaryDirectory() as folder:

        def new_folder() -> Path:
            return Path(tempfile.mkdtemp(dir=folder))

        def plain() -> None:
            rng = random.Random(0)
            with (new_folder() / "plain.jsonl").open("w") as file:
                for _ in range(200_000):
                    source = [rng.randrange(10) for _ in range(rng.randint(1, 10))]
                    file.write(json.dumps({"src": source, "tgt": source[::-1]}) + "\n")

        config = load_config(overrides=["data.train=1000000"])
        own, other = interleaved(7, lambda: write_dataset(config, new_folder()), plain)
        results.append(row("generating 1,000,000 rows to disk", own, other * 5, 20.0, "with splits, counts and SHA-256"))
        config, data = load_config(overrides=["data.train=200000"]), new_folder()
        write_dataset(config, data)
        by_line = functools.partial(read_sequences, data / "train.jsonl", 10)
        own, other = interleaved(3, lambda: load_split(data, "train", config), by_line)
        results.append(row("reading 200,000 rows as arrays against line by line", own, other, None))
    for exponent in (4, 5, 6, 7):
        time_taken, peak = grown("generate", 10**exponent)
        results.append({"what": f"generating 10^{exponent} rows", "seconds": time_taken, "peak_mb": peak})
    return results


def start_up() -> list[Result]:
    """``seqrev decode 4 8 2 9`` against the import of PyTorch."""
    with tempfile.TemporaryDirectory() as folder:
        process("-m", "seqrev", "train", "--config", str(FAST), "--runs-dir", folder, "--set", "train.steps=2")
        command = ("-m", "seqrev", "decode", "--runs-dir", folder, "4", "8", "2", "9")
        own, other = interleaved(5, lambda: process(*command), lambda: process("-c", "import torch"))
    result = row("seqrev decode 4 8 2 9 against import torch", own, other, None)
    return [result | {"ratio": own / other, "target": "≤ 1.5"}]


def growth() -> list[Result]:
    """How time and memory grow, each figure in a process of its own."""
    results = []
    for length in (10, 30, 100, 300, 1_000):
        time_taken, peak = grown("step", length)
        results.append({"what": f"a training step, batch 8, length {length}", "seconds": time_taken, "peak_mb": peak})
    for length, batch in ((10, 1), (10, 64), (10, 512), (100, 64), (300, 64), (1_000, 1), (1_000, 64)):
        time_taken, peak = grown("decode", length, batch)
        results.append({"what": f"decoding {batch} of length {length}", "seconds": time_taken, "peak_mb": peak})
    return results


def grown(what: str, *sizes: int) -> tuple[float, float]:
    """Seconds and peak memory (MB) of one thing at one size, measured in another process."""
    time_taken, peak = json.loads(process(__file__, "--measure", what, *map(str, sizes)))
    return time_taken, peak


def measure(what: str, sizes: list[int]) -> None:
    """The other process: do it, and print seconds and peak memory."""
    torch.set_num_threads(1)
    if what == "generate":
        with tempfile.TemporaryDirectory() as folder:
            config = load_config(overrides=[f"data.train={sizes[0]}"])
            taken = seconds(lambda: write_dataset(config, Path(folder) / "data"))
    elif what == "step":
        rows = [[random.randrange(10) for _ in range(sizes[0])] for _ in range(8)]
        state, batches = training_state(rows, "train.batch_size=8", f"task.max_length={sizes[0]}")
        (taken,) = interleaved(4, lambda: train_step(state, batches[0]))
    else:
        model = Transformer(load_config(SMALL).model, 13).eval()
        rows = [[random.randrange(10) for _ in range(sizes[0])] for _ in range(sizes[1])]
        taken = seconds(lambda: decode(model, rows, length_given=True))
    print(json.dumps([taken, peak_memory()]))


def peak_memory() -> float:
    """MB that this process has held at most. (On Linux ``ru_maxrss`` begins with what the parent process had.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def training_state(rows: list[list[int]], *overrides: str) -> tuple[TrainingState, Batches]:
    """A model of small.yaml, without noise unless asked for, and its batches."""
    config = load_config(SMALL, ["model.attention_noise=0", *overrides])
    return TrainingState(config), Batches(config, rows)


def row(what: str, own: float, other: float, target: float | None, detail: str = "") -> Result:
    """One line of the table."""
    return {"what": what, "seconds": own, "against": other, "ratio": other / own, "target": target, "detail": detail}


SECTIONS = ("perfect", "epoch", "step", "short", "long", "generate", "start", "growth")


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="A section; may be repeated.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="Time the compiled peer too.")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "performance.json")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], [int(size) for size in options.measure[1:]])
        return
    torch.set_num_threads(options.threads)
    document = json.loads(options.out.read_text()) if options.out.exists() else {"sections": {}}
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {versions}, {options.threads} threads"
    print(machine)
    sections: dict[str, Callable[[], Iterable[Result]]] = {
        "perfect": lambda: time_to_perfect(options.threads),
        "epoch": lambda: epoch(options.compile),
        "step": step_against_products,
        "short": decoding_short,
        "long": decoding_long,
        "generate": generation,
        "start": start_up,
        "growth": growth,
    }
    for name in options.only or sections:
        document["sections"][name], document["machine"] = [], machine
        for result in sections[name]():
            document["sections"][name].append(result)
            options.out.write_text(json.dumps(document, indent=1) + "\n")
            against = f"{result['against']:10.3f} s" if "against" in result else f"{result['peak_mb']:9.0f} MB"
            ratio = f"{result['ratio']:7.2f}x (asked: {result['target'] or '-'})" if "ratio" in result else ""
            line = f"{result['what']:75} {result['seconds']:10.4f} s {against} {ratio} {result.get('detail', '')}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
