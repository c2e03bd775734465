"""``python -m tests.torture [SUBJECT ...] [--size long|fast] [--seed N]``: run them, and print one table at the end."""

import argparse
import secrets
import sys
import time
import traceback

from tests.torture import SUBJECTS
from tests.torture.common import Outcome, Size, Subject


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"all if left out: {', '.join(SUBJECTS)}")
    parser.add_argument("--size", choices=("fast", "long"), default="long")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeats a run; random if left out")
    options = parser.parse_args()
    if unknown := [name for name in options.subjects if name not in SUBJECTS]:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(SUBJECTS)}")
    names = options.subjects or list(SUBJECTS)
    rows = [_run(name, SUBJECTS[name], options.size, options.seed) for name in names]
    print(f"\n{'what':<10} {'how many':>9} {'failures':>9} {'seconds':>9} {'seed':>7}  of what")
    for name, (outcome, failures, seconds) in zip(names, rows, strict=True):
        print(f"{name:<10} {outcome.count:>9,} {failures:>9} {seconds:>9.1f} {options.seed:>7}  {outcome.what}")
    return int(any(failures for _, failures, _ in rows))


def _run(name: str, subject: Subject, size: Size, seed: int) -> tuple[Outcome, int, float]:
    print(f"{name}, {size}, seed {seed}", flush=True)
    began, failures = time.monotonic(), 0
    try:
        outcome = subject(size, seed)
    except Exception as error:  # the others are run all the same
        traceback.print_exc()
        outcome, failures = Outcome(0, f"FAILED: {error!r}"[:500]), 1
        print(f"Repeat with: python -m tests.torture {name} --size {size} --seed {seed}", flush=True)
    return outcome, failures, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
