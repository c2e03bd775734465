"""SIGINT, SIGTERM, SIGHUP and SIGUSR1 in every phase of a training: it ends soon, says how to go on, and goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from seqrev.runs.folders import Run
from seqrev.system.signals import STOP_SIGNALS
from tests.helpers import child_environment
from tests.torture.common import Outcome, Size, scratch
from tests.torture.kills import (
    CALLS_OF_A_GENERATION,
    CALLS_OF_A_SAVE,
    Reference,
    assert_ends_as,
    assert_undamaged,
    fresh,
    train_undisturbed,
)
from tests.torture.server import POINTS, Server, Strike, hear_signals, serving

SIGNALS = {"fast": 12, "long": 200}
STARTS = {"fast": 1, "long": 12}  # of real processes, signalled while they import
AT_MOST = 6  # signals of one run
TWICE = 0.2  # of the signals are followed by a second one


def signals(size: Size, seed: int) -> Outcome:
    """Signal until there were enough; every run is brought to its end and compared with one that was never stopped."""
    rng, kinds, seconds = random.Random(seed), Counter[str](), list[float]()
    with scratch() as name, serving() as server:
        folder = Path(name)
        reference = train_undisturbed(server, folder)
        while kinds.total() < SIGNALS[size] - STARTS[size]:
            _one_run(server, folder, rng, reference, kinds, seconds)
        for _ in range(STARTS[size]):
            _at_the_start(server, folder, rng, reference, kinds)
    what = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return Outcome(kinds.total(), f"signals: {what}; slowest end {max(seconds):.2f} s")


def _one_run(
    server: Server, folder: Path, rng: random.Random, reference: Reference, kinds: Counter[str], seconds: list[float]
) -> None:
    run, history = fresh(folder), list[str]()
    points = rng.sample(sorted(POINTS), len(POINTS))
    for point in [*points, "any"][:AT_MOST]:
        strike, second = _draw(rng, point, first=not history), 0
        child = server.start(folder, "train", "--run", run, strike=strike, draw=point == "drawing")
        if strike is None:
            used = rng.uniform(0, reference.cpu)
            child.wait_for_cpu(used)
            signum, struck = rng.choice(STOP_SIGNALS), time.monotonic()
            os.kill(child.pid, signum)
            history.append(f"signal {signum} after {used:.3f} s of processor time")
        else:
            signum, second = signal.Signals(strike.signum), strike.second
            history.append(str(strike))
        code = child.wait()
        ended = time.monotonic()
        if strike is not None and not child.reported("struck"):  # the point was not reached any more
            assert code == 0, f"{history}: exit code {code}\n{child.output}"
            history.pop()
        else:
            struck = struck if strike is None else child.reported("struck")[0]
            seconds.append(ended - struck)
            done = strike is None or point == "drawing" or 60 in child.reported("saved")
            _assert_reported(run, child.output, code, signum, second, done, history)
            kinds[point if code else "too late to stop"] += 1
    assert_ends_as(server, folder, run, reference, history)


def _draw(rng: random.Random, point: str, first: bool) -> Strike | None:
    """None: at any instant, from outside; in a first attempt that is often before the first step."""
    if point == "any" or (point == "generation" and not first):
        return None
    inside = {"saving": CALLS_OF_A_SAVE, "generation": CALLS_OF_A_GENERATION}.get(point, 0)
    twice = rng.random() < TWICE
    return Strike(
        rng.choice(STOP_SIGNALS),
        point,
        rng.randint(1, 15) if point == "training" else 1,
        rng.randint(-1, inside),
        rng.choice(STOP_SIGNALS) if twice else 0,
        rng.uniform(0, 0.02) if twice else 0.0,
    )


def _assert_reported(run: Run, output: str, code: int, signum: int, second: int, done: bool, history: list[str]) -> None:
    """The exit code says which signal it was, and the output how to go on; ``done``: the training may have been over."""
    context = f"{history}: exit code {code}\n{output}"
    assert_undamaged(output, history)
    allowed = {128 + signum}
    if second:  # it may come when all was said
        allowed |= {128 + second, -second}
    if done and f"{run}: 60 steps" in output:
        allowed |= {0, -signum}
    assert code in allowed, context
    if code > 0 and not second:
        assert _says_how_to_go_on(run, output), context


def _says_how_to_go_on(run: Run, output: str) -> bool:
    """Once it has named the run, by naming it again; before that, the same command will do."""
    hints = [f"seqrev train --run {run}", *(() if "Run: " in output else ("the same command again",))]
    return any(hint in output for hint in hints) and output.count("Continue: ") == 1


def _at_the_start(server: Server, folder: Path, rng: random.Random, reference: Reference, kinds: Counter[str]) -> None:
    """A real process, from its first instruction on; before it has asked for its signals, they end it as any other."""
    run, signum = fresh(folder), rng.choice(STOP_SIGNALS)
    log, pause, began = folder / "output", rng.uniform(0, 2), time.monotonic()
    with log.open("wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "seqrev", "train", "--run", str(run)],
            stdout=stdout,
            stderr=subprocess.STDOUT,
            env=child_environment(),
            preexec_fn=hear_signals,
        )
    while time.monotonic() - began < pause and "Run: " not in log.read_text():  # with which the start is over
        time.sleep(0.002)
    process.send_signal(signum)
    code, output = process.wait(), log.read_text()
    history = [f"signal {signum} at most {pause:.3f} s after the start"]
    context = f"{history}: exit code {code}\n{output}"
    done = f"{run}: 60 steps" in output  # where the machine was too busy to signal in time
    assert code in (128 + signum, -signum, *((0,) if done else ())), context
    if code > 0:
        assert_undamaged(output, history)
        assert _says_how_to_go_on(run, output), context
    kinds["too late to stop" if code == 0 else "start-up" if code > 0 else "before start-up"] += 1
    assert_ends_as(server, folder, run, reference, history)
