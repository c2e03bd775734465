"""SIGKILL, a failing disk and a full one, at every system call of every kind of write in a run folder."""

import functools
import itertools
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

from seqrev.errors import InputError, StorageError
from seqrev.runs.folders import Run, open_run
from seqrev.system.files import TEMPORARY
from tests.helpers import tiny_config
from tests.torture import strace
from tests.torture.common import Outcome, Size, scratch
from tests.torture.scenes import SCENES, Scene
from tests.torture.shim import FAULTS, Call, Fault, Watch, can_happen, watching

WIDTHS = {"fast": (4,), "long": (4, 100, 600)}  # of the weight in the checkpoint: 300 bytes, 80 kB, 3 MB
INJECTED = {"kill": "signal=SIGKILL", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}


def faults(size: Size, seed: int) -> Outcome:
    """Every call x every fault x every scene x every size of checkpoint."""
    count, kinds = 0, {}
    for width in WIDTHS[size]:
        for scene in SCENES:
            with scratch() as folder:
                kinds[scene.name], cases = _every_call(Path(folder), scene, width, FAULTS[size], seed)
            count += cases
    what = ", ".join(f"{name} {calls}" for name, calls in kinds.items())
    what = f"faults ({', '.join(FAULTS[size])}) at every call of: {what}; {len(WIDTHS[size])} sizes"
    if size == "long":
        reason = strace.unusable()
        injected = 0 if reason else sum(_every_real_call(scene, seed) for scene in SCENES)
        count, what = count + injected, f"{what}; {injected:,} of them by strace {reason}".rstrip()
    return Outcome(count, what)


def _every_real_call(scene: Scene, seed: int) -> int:
    """As ``_every_call``, but the kernel is what fails or kills; returns how many cases there are."""
    with scratch() as name:
        template, cases = _template(Path(name), scene, 4), 0
        scene.act(_copy(template, Path(name) / "dry"), 4)  # whatever is imported on the way is imported now
        run = _copy(template, Path(name) / "dry")
        made = Counter(line.partition("(")[0] for line in strace.traced(lambda: scene.act(run, 4)).lines)
        for (call, times), (kind, fault) in itertools.product(made.items(), INJECTED.items()):
            if kind == "ENOSPC" and call not in ("openat", "mkdir", "rename", "fsync", "write"):
                continue
            for at in range(1, times + 1):
                run = _copy(template, Path(name) / "case")
                context = f"{scene.name}, {kind} at {call} {at} by strace, seed {seed}"
                result = strace.traced(functools.partial(scene.act, run, 4), "-e", f"inject={call}:{fault}:when={at}")
                assert result.code in ((-signal.SIGKILL,) if kind == "kill" else (0, 3)), f"{context}: {result}"
                try:
                    _check(scene, run, 4, result.code == 0)
                except Exception as error:
                    raise AssertionError(f"{context}: {error!r}") from error
                cases += 1
    return cases


def _every_call(folder: Path, scene: Scene, width: int, kinds: tuple[Fault, ...], seed: int) -> tuple[int, int]:
    """Returns how many calls and how many cases there are."""
    template = _template(folder, scene, width)
    calls = _calls_of(scene, _copy(template, folder / "dry"), width)
    assert len(calls) > 5, (scene.name, calls)
    cases = [(fault, at) for fault in kinds for at, call in enumerate(calls) if can_happen(fault, call)]
    for fault, at in cases:
        run = _copy(template, folder / "case")
        try:
            _check(scene, run, width, _inflict(scene, run, width, fault, at))
        except Exception as error:
            raise AssertionError(
                f"{scene.name}, width {width}, {fault} at call {at}, {calls[at]}, seed {seed}: {error!r}"
            ) from error
    return len(calls), len(cases)


def _template(folder: Path, scene: Scene, width: int) -> Path:
    run = open_run(folder / "template", tiny_config("data.train=20", "data.validation=5", "data.test=5"))
    scene.prepare(run, width)
    return folder / "template"


def _copy(template: Path, folder: Path) -> Run:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return Run(folder / "001")


def _calls_of(scene: Scene, run: Run, width: int) -> list[Call]:
    """What the write does when nothing goes wrong."""
    watch = Watch(run.path)
    with watching(watch):
        scene.act(run, width)
    _check(scene, run, width, True)
    return watch.calls


def _inflict(scene: Scene, run: Run, width: int, fault: Fault, at: int) -> bool:
    """Whether the write said that it succeeded."""
    watch = Watch(run.path, fault, at)
    if fault == "kill":
        child = os.fork()
        if child == 0:
            with watching(watch):
                scene.act(run, width)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == signal.SIGKILL, f"the child was not killed: {status}"
        return False
    problem = None
    try:
        with watching(watch):
            scene.act(run, width)
    except (StorageError, InputError) as error:  # the second where run.json or metrics.jsonl cannot be read
        problem = str(error)
    assert problem is None or "cannot be written" in problem or "cannot be read" in problem, problem
    assert problem is None or watch.happened, f"an error without a fault: {problem}"
    assert problem is None or str(run.path) in problem, f"the message does not name the file: {problem}"
    return problem is None


def _check(scene: Scene, run: Run, width: int, succeeded: bool) -> None:
    scene.check(run, width, succeeded)
    with run.locked():
        pass
    left = [str(path) for path in run.path.rglob("*") if TEMPORARY.fullmatch(path.name)]
    assert left == [], f"left over after the next owner has cleaned: {left}"
