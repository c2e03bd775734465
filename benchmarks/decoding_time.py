"""Time one answer against its length, in float32 on one thread, with the exponent by which the time grows.

    python benchmarks/decoding_time.py --run runs/001 --lengths 10,100,1000,10000 --evaluate-to 100000

Answered token by token, as ``seqrev decode`` does, and checked in one parallel pass, as ``seqrev evaluate`` does where
the answer is right. From ``--lengths`` on to ``--evaluate-to``, in powers of ten, only the latter.
"""

import argparse
import math
import time

import torch

from seqrev.api.reverser import load
from seqrev.data.sampling import fresh_sequences
from seqrev.inference.evaluation import evaluate
from seqrev.workflows.evaluate import parse_lengths


def main() -> None:
    """Print a row for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="latest")
    parser.add_argument("--lengths", type=parse_lengths, default="10,100,1000,10000")
    parser.add_argument("--evaluate-to", type=int, default=0)
    arguments = parser.parse_args()
    model = load(arguments.run, "cpu")
    torch.set_num_threads(1)
    print("| length | decode | a token | exponent | evaluate | exponent | right |\n|---|---|---|---|---|---|---|")
    lengths = list(arguments.lengths)
    while lengths[-1] * 10 <= arguments.evaluate_to:
        lengths.append(lengths[-1] * 10)
    before: dict[str, tuple[int, float]] = {}
    for length in lengths:
        (sequence,) = fresh_sequences(length, 1, model.config)
        row, right = [], True
        for name in ("decode", "evaluate"):
            if name == "decode" and length > arguments.lengths[-1]:
                row += ["", "", ""]
                continue
            times = []
            for _ in range(5 if length <= 1_000 else 1):  # the shortest time is the one that was disturbed least
                start = time.perf_counter()
                if name == "decode":
                    output = model.decode([sequence])[0].output
                    right &= output == sequence[::-1]
                else:
                    right &= evaluate(model.model, [sequence]).overall.exact == 1
                times.append(time.perf_counter() - start)
            taken = min(times)
            row.append(f"{taken:.3g} s")
            if name == "decode":
                row.append(f"{1000 * taken / (length + 1):.2g} ms")
            past = before.get(name)
            row.append(f"{math.log(taken / past[1]) / math.log(length / past[0]):.2f}" if past else "")
            before[name] = (length, taken)
        print(f"| {length:,} | {' | '.join(row)} | {'yes' if right else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
