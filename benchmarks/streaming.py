"""Whether ``seqrev decode -`` streams: time and peak memory against the number of lines, every answer compared.

    python benchmarks/streaming.py                  10^4, 10^5 and 10^6 lines
    python benchmarks/streaming.py --lines 1000     other numbers; the option may be repeated

A model is trained first (configs/fast.yaml, some seconds). The lines, of one to ten symbols, are made while they are
written, and the answers compared while they come: an answer counts as right if it is the reverse of its line.
This script imports no PyTorch, so what is measured is the command alone.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "seqrev"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def sequences(count: int) -> Iterator[list[str]]:
    """The same ones every time."""
    rng = random.Random(0)
    for _ in range(count):
        yield rng.choices("0123456789", k=rng.randint(1, 10))


def feed(stdin: IO[str], count: int) -> None:
    """Write the lines, then close."""
    with stdin:
        stdin.writelines(" ".join(sequence) + "\n" for sequence in sequences(count))


def stream(folder: str, count: int) -> tuple[float, float, int, int]:
    """Seconds, peak MB, how many lines were answered, and how many of them rightly."""
    began, answered, right = time.perf_counter(), 0, 0
    command = [*COMMAND, "decode", "-", "--run", f"{folder}/001"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert child.stdin is not None
    assert child.stdout is not None
    threading.Thread(target=feed, args=(child.stdin, count)).start()
    with child.stdout:
        for sequence, line in zip(sequences(count), child.stdout, strict=False):
            answered += 1
            right += line.split() == sequence[::-1]
        answered += sum(1 for _ in child.stdout)  # there should be none
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"seqrev decode ended with exit code {child.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024, answered, right


def main() -> None:
    """Train, decode, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", action="append", type=int, help="How many; default: 10^4, 10^5 and 10^6.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train = [*COMMAND, "train", "--config", str(ROOT / "configs" / "fast.yaml"), "--runs-dir", folder]
        subprocess.run(train, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for count in options.lines or (10**4, 10**5, 10**6):
            seconds, peak, answered, right = stream(folder, count)
            print(f"{count:9,} lines: {answered:,} answers, {right:,} right, {seconds:.1f} s, {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
