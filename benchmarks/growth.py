"""What depends on size: rows to disk and back, the start of the command, and how time and memory grow.

Each figure of growth is from a process of its own: ``python benchmarks/growth.py step 100`` prints seconds and peak memory.
"""

import functools
import json
import random
import re
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from common import FAST, SMALL, Plan, Result, interleaved, process, random_rows, row, seconds, training_state

from seqrev.config import load_config
from seqrev.data.dataset import load_split, write_dataset
from seqrev.data.lines import read_sequences
from seqrev.inference.search import decode
from seqrev.model.transformer import Transformer
from seqrev.training.step import train_step


def generation(plan: Plan) -> Iterator[Result]:
    """Rows to disk, into a new folder each time, as in a run, and back; and memory against rows."""
    part = plan.written // 5
    with tempfile.TemporaryDirectory() as folder:

        def new_folder() -> Path:
            return Path(tempfile.mkdtemp(dir=folder))

        def plain() -> None:
            rng = random.Random(0)
            with (new_folder() / "plain.jsonl").open("w") as file:
                for _ in range(part):
                    source = [rng.randrange(10) for _ in range(rng.randint(1, 10))]
                    file.write(json.dumps({"src": source, "tgt": source[::-1]}) + "\n")

        config = load_config(overrides=[f"data.train={plan.written}"])
        own, other = interleaved(2 * plan.repetitions + 1, lambda: write_dataset(config, new_folder()), plain)
        yield row(f"generating {plan.written:,} rows to disk", own, other * 5, 20.0, "with splits, counts and SHA-256")
        config, data = load_config(overrides=[f"data.train={part}"]), new_folder()
        write_dataset(config, data)
        by_line = functools.partial(read_sequences, data / "train.jsonl", config.task)
        own, other = interleaved(plan.repetitions, lambda: load_split(data, "train", config), by_line)
        yield row(f"reading {part:,} rows as arrays against line by line", own, other)
    for factor in (0.01, 0.1, 1, 10):
        count = int(plan.written * factor)
        time_taken, peak = grown("generate", count)
        yield {"what": f"generating {count:,} rows", "seconds": time_taken, "peak_mb": peak}


def start_up(plan: Plan) -> list[Result]:
    """``seqrev decode 4 8 2 9`` against the import of PyTorch."""
    with tempfile.TemporaryDirectory() as folder:
        process("-m", "seqrev", "train", "--config", str(FAST), "--runs-dir", folder, "--set", "train.steps=2")
        command = ("-m", "seqrev", "decode", "--runs-dir", folder, "4", "8", "2", "9")
        own, other = interleaved(2 * plan.repetitions - 1, lambda: process(*command), lambda: process("-c", "import torch"))
    result = row("seqrev decode 4 8 2 9 against import torch", own, other)
    return [result | {"ratio": own / other, "target": "≤ 1.5"}]


def growth(plan: Plan) -> Iterator[Result]:
    """How time and memory grow, each figure in a process of its own."""
    lengths = [length for length in (10, 30, 100, 300, 1_000) if length <= plan.longest]
    for length in lengths:
        time_taken, peak = grown("step", length)
        yield {"what": f"a training step, batch 8, length {length}", "seconds": time_taken, "peak_mb": peak}
    for length, batch in ((10, 1), (10, 64), (10, 512), (100, 64), (300, 64), (1_000, 1), (1_000, 64)):
        if length <= plan.longest and batch <= plan.rows:
            time_taken, peak = grown("decode", length, batch)
            yield {"what": f"decoding {batch} of length {length}", "seconds": time_taken, "peak_mb": peak}


def grown(what: str, *sizes: int) -> tuple[float, float]:
    """Seconds and peak memory (MB) of one thing at one size, measured in another process."""
    time_taken, peak = json.loads(process(__file__, what, *map(str, sizes)))
    return time_taken, peak


def measure(what: str, sizes: list[int]) -> float:
    """Do it; seconds."""
    if what == "generate":
        with tempfile.TemporaryDirectory() as folder:
            config = load_config(overrides=[f"data.train={sizes[0]}"])
            return seconds(lambda: write_dataset(config, Path(folder) / "data"))
    if what == "step":
        state, batches = training_state(random_rows(8, sizes[0]), "train.batch_size=8", f"task.max_length={sizes[0]}")
        (taken,) = interleaved(4, lambda: train_step(state, batches.rows(0)))
        return taken
    model = Transformer(load_config(SMALL).model, 13).eval()
    rows = random_rows(sizes[1], sizes[0])
    return seconds(lambda: decode(model, rows, length_given=True))


def peak_memory() -> float:
    """MB that this process has held at most. (On Linux ``ru_maxrss`` begins with what the parent process had.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([measure(sys.argv[1], [int(size) for size in sys.argv[2:]]), peak_memory()]))
