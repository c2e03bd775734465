"""How long it takes to have a perfect model, and a crisp picture: this project's command beside plain.py.

All times are from the start of the process, dataset included. Both are validated again and again, and the first validation
counts that is good enough: about every 50 steps, this project as its configuration says, the peer several times an epoch. A
picture is crisp where the cross-attention has mass 0.9 and hit 0.98 (docs/guide). Of this project that is asked of the mean
over the heads in the last layer, which is what is drawn; of the peer, of whatever map is its best. The peer ends when it is
perfect; only with the first seed it goes on until its picture is crisp too, for 30 epochs at most.
"""

import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from common import FAST, ROOT, SMALL, Plan, Result, environment, row

from seqrev.runs.metrics import read_metrics

TUNED = ("--norm-first", "--dropout", "0", "--checks", "3")


class Check(NamedTuple):
    """A validation, and when its result was there."""

    seconds: float
    done: str
    """So far, in steps or epochs."""
    exact: float
    mass: float
    hit: float


class Race(NamedTuple):
    """All checks of one training, and when the process had ended."""

    checks: list[Check]
    whole: float

    def first(self, good_enough: Callable[[Check], bool]) -> float:
        """When a check was first good enough; infinite: never."""
        return next((check.seconds for check in self.checks if good_enough(check)), math.inf)


def lines_of(arguments: list[str], stream: str) -> Iterator[tuple[float, str]]:
    """Run Python; the lines of its ``stdout`` or ``stderr``, with the seconds since its start; last an empty one."""
    began = perf_counter()
    out, err = (subprocess.PIPE if name == stream else subprocess.DEVNULL for name in ("stdout", "stderr"))
    with subprocess.Popen([sys.executable, *arguments], text=True, env=environment(), stdout=out, stderr=err) as child:
        for line in getattr(child, stream):
            yield perf_counter() - began, line
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, arguments)
    yield perf_counter() - began, ""


def ours(plan: Plan, config: Path, seed: int) -> Race:
    """``seqrev train``; a validation counts when it is printed."""
    with tempfile.TemporaryDirectory() as folder:
        changes = [f"--set={change}" for change in (f"train.threads={plan.threads}", *plan.changes)]
        command = ["-m", "seqrev", "train", "--runs-dir", folder, "--config", str(config), "--seed", str(seed), *changes]
        printed, whole = {}, 0.0
        for whole, line in lines_of(command, "stderr"):
            if match := re.search(r"step ([0-9,]+): validation", line):
                printed[int(match[1].replace(",", ""))] = whole
        events = [event for event in read_metrics(Path(folder, "001", "metrics.jsonl")) if event["event"] == "validation"]
    checks = [
        Check(printed[event["step"]], f"{event['step']} steps", event["exact_match"], event["mass"], event["hit"])
        for event in events
    ]
    return Race(checks, whole)


def theirs(plan: Plan, options: tuple[str, ...], seed: int) -> Race:
    """``plain.py``, which ends when it is perfect; with seed 0, when it is crisp too."""
    script = ["-W", "ignore", str(ROOT / "benchmarks" / "plain.py")]
    command = [*script, "--threads", str(plan.threads), "--seed", str(seed), *options, *plan.peer]
    command += ["--crisp"] * (seed == 0)
    checks, whole = [], 0.0
    for whole, line in lines_of(command, "stdout"):
        if line:
            found = json.loads(line)
            checks.append(Check(whole, f"{found['epochs']:.1f} epochs", found["exact"], found["mass"], found["hit"]))
    return Race(checks, whole)


def time_to_perfect(plan: Plan) -> Iterator[Result]:
    """Medians over the seeds, in turns: the textbook model against one of PyTorch's parts, and ``fast.yaml`` beside it."""
    racers: dict[str, Callable[[int], Race]] = {
        "small.yaml": partial(ours, plan, SMALL),
        "tuned": partial(theirs, plan, TUNED),
        "fast.yaml": partial(ours, plan, FAST),
        "defaults": partial(theirs, plan, ()),
    }
    races: dict[str, list[Race]] = {name: [] for name in racers}
    for seed in range(plan.seeds):
        for name, start in racers.items():
            races[name].append(start(seed))

    def perfect(check: Check) -> bool:
        return check.exact >= plan.exact

    def crisp(check: Check) -> bool:
        return check.mass >= plan.mass and check.hit >= plan.hit

    kinds = {"small.yaml": "the textbook model", "fast.yaml": "another model, rotary positions from the end"}
    targets = {("small.yaml", "tuned"): 1.5, ("fast.yaml", "tuned"): 4.0, ("fast.yaml", "defaults"): 10.0}
    for what, reached, count in ((f"exact match {plan.exact}", perfect, plan.seeds), ("a crisp picture", crisp, 1)):
        for own, kind in kinds.items():
            for peer in ("tuned", "defaults"):
                both = [races[name][:count] for name in (own, peer)]
                times = [statistics.median(race.first(reached) for race in some) for some in both]
                target = targets.get((own, peer)) if reached is perfect else None
                detail = f"{kind}; seeds: {ends(both[0], reached)} against {ends(both[1], reached)}"
                yield row(f"time to {what}, {own} against nn.Transformer {peer}", times[0], times[1], target, detail)


def ends(races: list[Race], reached: Callable[[Check], bool]) -> str:
    """Of each training, when it got there, or how near it was when it was over."""
    words = []
    for race in races:
        check = next(filter(reached, race.checks), None)
        if check is not None:
            words.append(f"{check.done}, {check.seconds:.1f} s")
        else:
            last = race.checks[-1]
            words.append(f"not within {last.done} (exact {last.exact:.3f}, mass {last.mass:.2f}, hit {last.hit:.2f})")
    return "; ".join(words)
