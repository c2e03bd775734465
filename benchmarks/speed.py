"""How fast: this project beside a plain ``nn.Transformer`` script (plain.py), side by side in one run.

    make bench                                              everything: a quarter of an hour on two cores
    python benchmarks/speed.py --only step --only short     some of it; the JSON file keeps the other sections
    python benchmarks/speed.py --only epoch --compile       the peer compiled as well (90 s more)
    python benchmarks/speed.py --smoke --out smoke.json     tiny sizes: shows that the code runs, measures nothing

Repetitions of the two are interleaved, figures are medians, what counts are the ratios. Threads are pinned and printed.
"""

import argparse
import json
import math
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from answers import decoding_long, decoding_short
from common import ROOT, SMOKE, Plan, Result
from growth import generation, growth, start_up
from perfect import time_to_perfect
from steps import epoch, step_against_jax, step_against_products

SECTIONS: dict[str, Callable[[Plan], Iterable[Result]]] = {
    "perfect": time_to_perfect,
    "epoch": epoch,
    "step": step_against_products,
    "jax": step_against_jax,
    "short": decoding_short,
    "long": decoding_long,
    "generate": generation,
    "start": start_up,
    "growth": growth,
}


def line_of(result: Result) -> str:
    """A line of the table."""
    time_taken, other = (f"{result[name]:10.4f} s" if name in result else "" for name in ("seconds", "against"))
    against = other or f"{result['peak_mb']:9.0f} MB"
    ratio = f"{result['ratio']:7.2f}x (asked: {result['target'] or '-'})" if "ratio" in result else ""
    return f"{result['what']:75} {time_taken} {against} {ratio} {result.get('detail', '')}"


def finite(result: Result) -> Result:
    """As JSON has it: what never happened is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in result.items()
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="A section; may be repeated.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="Time the compiled peer too.")
    parser.add_argument("--smoke", action="store_true", help="Tiny sizes.")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "performance.json")
    options = parser.parse_args()
    plan = replace(SMOKE if options.smoke else Plan(), threads=options.threads, compiled=options.compile)
    torch.set_num_threads(plan.threads)
    document: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {"sections": {}}
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {versions}, {plan.threads} threads"
    print(machine)
    for name in options.only or SECTIONS:
        document["sections"][name], document["machine"] = [], machine
        for result in SECTIONS[name](plan):
            document["sections"][name].append(finite(result))
            options.out.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
            print(line_of(result), flush=True)


if __name__ == "__main__":
    main()
