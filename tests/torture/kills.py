"""SIGKILL in a real training, again and again: nothing that was committed is lost, and it ends as if never killed."""

import json
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqrev.runs.checkpoints import KEEP, Checkpoint, best_first, newest_first
from seqrev.runs.folders import Run, open_run
from seqrev.runs.metrics import read_metrics
from seqrev.system.files import TEMPORARY
from tests.helpers import tiny_config
from tests.torture.common import Outcome, Size, scratch
from tests.torture.server import Server, Strike, serving

TRAINING = (
    "train.steps=60",
    "train.validate_every=20",
    "train.log_every=7",
    "data.train=200",
    "data.validation=10",
    "data.test=10",
    "model.dropout=0.1",
    "model.attention_dropout=0.1",
)
KILLS = {"fast": 10, "long": 500}
AT_MOST = 8  # kills of one run; then it may end
CALLS_OF_A_SAVE = 20  # that change something on disk; five more where an old checkpoint is removed
CALLS_OF_A_GENERATION = 22


def kills(size: Size, seed: int) -> Outcome:
    """Kill until there were enough; every run is brought to its end and compared with one that was never killed."""
    rng, kinds, runs = random.Random(seed), Counter[str](), 0
    with scratch() as name, serving() as server:
        folder = Path(name)
        reference = train_undisturbed(server, folder)
        while kinds.total() < KILLS[size]:
            _one_run(server, folder, rng, reference, kinds)
            runs += 1
    what = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return Outcome(kinds.total(), f"kills of {runs} trainings: {what}")


@dataclass(frozen=True)
class Reference:
    """How an uninterrupted training ends."""

    files: dict[str, dict[str, Any]]
    """Size and SHA-256 of the final weights and of the optimizer's state."""
    events: list[dict[str, Any]]
    snapshots: dict[str, bytes]
    """Files of the attention over time."""
    cpu: float
    """Seconds of processor time that it took, from start to end."""


def fresh(folder: Path) -> Run:
    return open_run(folder / "runs", tiny_config(*TRAINING))


def train_undisturbed(server: Server, folder: Path) -> Reference:
    run = fresh(folder)
    child = server.start(folder, "train", "--run", run)
    assert child.wait() == 0, child.output
    return Reference(newest_first(run.checkpoints)[0].files, events(run), snapshots(run), child.cpu)


def events(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(run.metrics)]


def snapshots(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.snapshots.iterdir()}


def _one_run(server: Server, folder: Path, rng: random.Random, reference: Reference, kinds: Counter[str]) -> None:
    run, before, history = fresh(folder), dict[int, Checkpoint](), list[str]()
    for _ in range(AT_MOST):
        strike = _draw(rng, first=not history)
        child = server.start(folder, "train", "--run", run, strike=strike)
        if strike is None:
            used = rng.uniform(0, reference.cpu * (1 - 0.8 * max(before, default=0) / 60))  # of what is still to be done
            child.wait_for_cpu(used)
            time.sleep(rng.uniform(0, 0.01))
            os.kill(child.pid, signal.SIGKILL)
        history.append(str(strike or f"signal 9 after {used:.3f} s of processor time"))
        code = child.wait()
        assert code in (0, -signal.SIGKILL), f"{history}: exit code {code}\n{child.output}"
        assert_undamaged(child.output, history)
        before = _nothing_lost(run, before, child.reported("saved"), history)
        if code == 0:
            break
        kinds[_kind(strike)] += 1
    assert_ends_as(server, folder, run, reference, history)


def _draw(rng: random.Random, first: bool) -> Strike | None:
    """Three in ten into a save, some at a boundary or in the generation, the others at any instant, from outside (None)."""
    kind = rng.random()
    if kind < 0.3:
        return Strike(signal.SIGKILL, "saving", 1, rng.randint(1, CALLS_OF_A_SAVE))
    if kind < 0.45:
        point = rng.choice(("validation", "saving", "epoch"))
        return Strike(signal.SIGKILL, point, rng.randint(1, 3) if point == "epoch" else 1, rng.choice((0, -1)))
    if first and kind < 0.75:
        return Strike(signal.SIGKILL, "generation", 1, rng.randint(-1, CALLS_OF_A_GENERATION))
    return None


def _kind(strike: Strike | None) -> str:
    if strike is None:
        return "at random"
    if strike.point == "generation":
        return "in the generation"
    return "in a save" if strike.inside > 0 else "at the edge of a validation, save or epoch"


def _nothing_lost(run: Run, before: dict[int, Checkpoint], saved: list[float], history: list[str]) -> dict[int, Checkpoint]:
    """Every checkpoint is intact, none that was there is gone unless newer ones and the best allow it."""
    found = {checkpoint.step: checkpoint for checkpoint in newest_first(run.checkpoints)}
    damaged = [step for step, checkpoint in found.items() if not checkpoint.is_intact()]
    assert damaged == [], f"{history}: damaged: {damaged}"
    newest = max(found, default=0)
    assert newest >= max((*before, *saved), default=0), f"{history}: back at {newest} after {[*before, *saved]}"
    for step in before.keys() - found.keys():
        newer = [other for other in found if other > step]
        best = best_first(run.checkpoints)[0].validation
        allowed = len(newer) >= KEEP and best is not None and before[step].validation != best
        assert allowed, f"{history}: lost step {step}; there are {sorted(found)}"
    return found


def assert_undamaged(output: str, history: list[str]) -> None:
    for word in ("Traceback", "Warning", "damaged", "should not have happened", "refused"):
        assert word not in output, f"{history}: {output}"


def assert_ends_as(server: Server, folder: Path, run: Run, reference: Reference, history: list[str]) -> None:
    """Let the run end; it must then be as if nothing had ever happened to it."""
    child = server.start(folder, "train", "--run", run)
    assert child.wait() == 0, f"{history}: {child.output}"
    assert_undamaged(child.output, history)
    last = newest_first(run.checkpoints)[0]
    assert last.is_intact(), history
    assert last.files == reference.files, f"{history}: other weights"
    assert events(run) == reference.events, f"{history}: other metrics"
    assert snapshots(run) == reference.snapshots, f"{history}: other snapshots"
    left = [str(path) for path in run.path.rglob("*") if TEMPORARY.fullmatch(path.name)]
    assert left == [], f"{history}: left over: {left}"
    record = run.record.read()
    assert record["status"] == "done", record
    manifest = json.loads((run.data / "manifest.json").read_text())
    assert record["dataset_sha256"] == manifest["sha256"], record
