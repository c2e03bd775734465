"""Time one answer against its length, in float32 on one thread, with the exponent by which the time grows.

python benchmarks/decoding_time.py --run runs/001 --lengths 10,100,1000,10000
"""

import argparse
import math
import time

import torch

from seqrev.api import load
from seqrev.data import fresh_sequences
from seqrev.evaluation import evaluate, parse_lengths


def main() -> None:
    """Print a row for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="latest")
    parser.add_argument("--lengths", type=parse_lengths, default="10,100,1000,10000")
    arguments = parser.parse_args()
    model = load(arguments.run, "cpu")
    torch.set_num_threads(1)
    print("| length | seconds | milliseconds a token | right | exponent |\n|---|---|---|---|---|")
    before: tuple[int, float] | None = None
    for length in arguments.lengths:
        (sequence,) = fresh_sequences(length, 1, model.config)
        times = []
        for _ in range(5 if length < 1_000 else 1):  # the shortest time is the one that was disturbed least
            start = time.perf_counter()
            result = evaluate(model.model, [sequence])
            times.append(time.perf_counter() - start)
        seconds = min(times)
        grown = "" if before is None else f"{math.log(seconds / before[1]) / math.log(length / before[0]):.2f}"
        right = "yes" if result.overall.exact else "no"
        print(f"| {length:,} | {seconds:.3g} | {1000 * seconds / (length + 1):.2g} | {right} | {grown} |", flush=True)
        before = (length, seconds)


if __name__ == "__main__":
    main()
