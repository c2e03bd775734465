"""Many processes that open a run at once, and two that want to train in the same one."""

import os
import random
import signal
import time
from pathlib import Path

from seqrev.runs import record
from seqrev.runs.folders import Run, open_run
from seqrev.system.files import TEMPORARY
from tests.helpers import tiny_config
from tests.torture.common import Outcome, Size, scratch
from tests.torture.kills import Reference, assert_ends_as, fresh, train_undisturbed
from tests.torture.server import Server, Strike, serving

PROCESSES = 64
ROUNDS = {"fast": 1, "long": 20}
PAIRS = {"fast": 2, "long": 20}


def starts(size: Size, seed: int) -> Outcome:
    """Rounds of processes, then pairs of trainers."""
    rng = random.Random(seed)
    for _ in range(ROUNDS[size]):
        with scratch() as name:
            _open_at_once(Path(name) / "runs")
    with scratch() as name, serving() as server:
        folder = Path(name)
        reference = train_undisturbed(server, folder)
        for number in range(PAIRS[size]):
            _two_trainers(server, folder, ("generation", "training", "saving")[number % 3], rng, reference)
    rounds = f"{ROUNDS[size]} rounds of {PROCESSES} processes"
    return Outcome(ROUNDS[size] * PROCESSES + PAIRS[size], f"{rounds}, {PAIRS[size]} pairs of trainers on one run")


def _open_at_once(runs_dir: Path) -> None:
    """All wait at a gate; when it opens, each opens a run."""
    gate, opener = os.pipe()
    children = []
    for _ in range(PROCESSES):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                record._git = lambda: None  # three processes more, each time
                os.close(opener)
                os.read(gate, 1)
                open_run(runs_dir, tiny_config())
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(gate)
    os.close(opener)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES
    assert sorted(path.name for path in runs_dir.glob("[!.]*")) == [f"{number:03d}" for number in range(1, PROCESSES + 1)]
    opened = [Run(path) for path in runs_dir.glob("[!.]*")]
    assert {run.record.read()["pid"] for run in opened} == set(children), "two processes wrote to one folder"
    assert all(run.record.read()["run"] == run.path.name and run.config() == tiny_config() for run in opened)
    assert [path for path in runs_dir.rglob("*") if TEMPORARY.fullmatch(path.name)] == []


def _two_trainers(server: Server, folder: Path, point: str, rng: random.Random, reference: Reference) -> None:
    """The first is held anywhere, by SIGSTOP; the second is refused and touches nothing; the lock goes with the first."""
    run = fresh(folder)
    strike = Strike(signal.SIGSTOP, point, rng.randint(1, 15) if point == "training" else 1, -1 if point == "saving" else 0)
    first = server.start(folder / "first", "train", "--run", run, strike=strike)
    while not first.reported("struck"):
        time.sleep(0.01)
    before = _content(run)
    second = server.start(folder, "train", "--run", run)
    code, context = second.wait(), f"{strike}: {second.output}"
    assert code == 3, context
    assert "Another process is at work in" in second.output, context
    assert _content(run) == before, f"{strike}: the second changed something"
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert_ends_as(server, folder, run, reference, [str(strike)])


def _content(run: Run) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
