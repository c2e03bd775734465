"""SIGKILL, a failing disk and a full one, at every system call of every kind of write in a run folder."""

import functools
import itertools
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqrev.checkpoints import Checkpoint, Shapes, Tensors, newest_first, save_checkpoint
from seqrev.data import load_split
from seqrev.errors import InputError, StorageError
from seqrev.files import TEMPORARY
from seqrev.generation import generate
from seqrev.metrics import MetricsWriter, read_metrics
from seqrev.runs import Run, open_run
from tests.conftest import flip_byte, tiny_config
from tests.torture import strace
from tests.torture.common import Outcome, Size, scratch
from tests.torture.shim import FAULTS, Call, Fault, Watch, can_happen, watching

WIDTHS = {"fast": (4,), "long": (4, 100, 600)}  # of the weight in the checkpoint: 300 bytes, 80 kB, 3 MB
INJECTED = {"kill": "signal=SIGKILL", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}
FILES = {"manifest.json", "model.safetensors", "optimizer.safetensors"}


@dataclass(frozen=True)
class Scene:
    """A write, what stands there before it, and what must be true after it was broken off anywhere."""

    name: str
    prepare: Callable[[Run, int], None]
    act: Callable[[Run, int], object]
    check: Callable[[Run, int, bool], None]
    """Is told whether the write said that it succeeded. Whatever it finds, the next owner must be able to go on."""


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


# --- checkpoints ----------------------------------------------------------------------------------------------------


def tensors(step: int, width: int) -> dict[str, Tensors]:
    """Of a checkpoint: those of a step are always the same."""
    rng = np.random.default_rng(step)
    return {
        name: {"weight": rng.random((width, width), dtype=np.float32), "b": np.full(3, step, np.float32)}
        for name in ("model", "optimizer")
    }


def shapes(width: int) -> Shapes:
    return {"weight": (width, width), "b": (3,)}


def result(exact: float) -> Mapping[str, float]:
    return {"exact_match": exact, "token_accuracy": exact, "loss": 1.0}


def save(run: Run, step: int, width: int, exact: float | None = None) -> Checkpoint:
    return save_checkpoint(run.checkpoints, step, tensors(step, width), None if exact is None else result(exact))


def loading(run: Run, width: int) -> Iterator[Checkpoint]:
    """The checkpoints that can be loaded, newest first; what they hold must be what was saved at their step."""
    for checkpoint in newest_first(run.checkpoints):
        if checkpoint.is_intact():
            for name, arrays in tensors(checkpoint.step, width).items():
                loaded = checkpoint.load(name, shapes(width))
                assert all(np.array_equal(loaded[key], value) for key, value in arrays.items())
            yield checkpoint


def _three(run: Run, width: int) -> None:
    for step, exact in ((20, 0.1), (40, 0.9), (60, 0.5)):
        save(run, step, width, exact)
    assert [found.step for found in loading(run, width)] == [60, 40]
    save(run, 50, width, 0.2)  # as after going back; the next save will take it away


def _three_and_no_result(run: Run, width: int) -> None:
    _three(run, width)
    save(run, 80, width)


def _three_and_a_damaged_one(run: Run, width: int) -> None:
    _three_and_no_result(run, width)
    flip_byte(run.checkpoints / "step-000080" / "model.safetensors")


def _after_save(run: Run, width: int, succeeded: bool) -> None:
    found = {checkpoint.step: checkpoint for checkpoint in loading(run, width)}
    assert {40, 60} <= found.keys() <= {40, 50, 60, 80}, f"lost: there are {sorted(found)}"
    assert found[40].validation == result(0.9)
    assert not succeeded or (80 in found and found[80].validation == result(0.7))
    with run.locked():
        save(run, 80, width, 0.7)
        save(run, 100, width, 0.8)
    assert [checkpoint.step for checkpoint in loading(run, width)] == [100, 80, 40]
    _no_more_than(run, 40, 80, 100)


def _after_replace(run: Run, width: int, succeeded: bool) -> None:
    assert 80 in [checkpoint.step for checkpoint in loading(run, width)], "lost: step 80, which was committed"
    _after_save(run, width, succeeded)


def _after_first(run: Run, width: int, succeeded: bool) -> None:
    found = [checkpoint.step for checkpoint in loading(run, width)]
    assert found in ([80], [] if not succeeded else [80]), found
    save(run, 80, width, 0.7)
    assert [checkpoint.step for checkpoint in loading(run, width)] == [80]
    with run.locked():
        _no_more_than(run, 80)


def _no_more_than(run: Run, *steps: int) -> None:
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [f"step-{step:06d}" for step in steps]
    for path in run.checkpoints.iterdir():
        assert {file.name for file in path.iterdir()} == FILES


# --- other files ----------------------------------------------------------------------------------------------------


def _after_record(run: Run, width: int, succeeded: bool) -> None:
    del width
    assert run.record()["status"] in ("done", *(() if succeeded else ("opened",)))
    run.update(status="again")
    assert run.record()["status"] == "again"


def event(step: int, kind: str = "train") -> dict[str, object]:
    numbers = {"loss": 1.0, "lr": 0.1} if kind == "train" else {"loss": 1.0, "exact_match": 0.5, "token_accuracy": 0.5}
    filler = {f"filler {place}": 0.5 for place in range(500)}  # more than a buffer
    return {"event": kind, "step": step, **numbers, "seconds": float(step), **filler}


def _write_events(run: Run, first: int, last: int) -> None:
    writer = MetricsWriter(run.metrics, first - 1)
    try:
        for step in range(first, last):
            writer.append(**event(step))
        writer.sync()
    finally:
        writer.close()


def _after_metrics(run: Run, width: int, succeeded: bool) -> None:
    del width
    steps = [row["step"] for row in read_metrics(run.metrics)]
    assert steps == [*range(1, len(steps) + 1)], f"a gap or a repeat: {steps}"
    assert len(steps) >= 3, f"lost: {steps}"
    assert not succeeded or len(steps) == 6
    _write_events(run, 4, 10)
    assert [row["step"] for row in read_metrics(run.metrics)] == [*range(1, 10)]


def _after_dataset(run: Run, width: int, succeeded: bool) -> None:
    del width
    assert run.has_dataset() or not succeeded
    if not run.has_dataset():
        generate(run)
    assert [len(load_split(run.data, split, run.config())) for split in ("train", "validation", "test")] == [20, 5, 5]


def _after_extension(run: Run, width: int, succeeded: bool) -> None:
    del width
    assert run.config().train.steps in (500, *(() if succeeded else (250,)))
    if run.config().train.steps == 250:
        run.extend(500)
    assert run.config().train.steps == 500
    assert run.record()["seed"] == 0


def _nothing(run: Run, width: int) -> None:
    del run, width


SCENES = (
    Scene("save", _three, lambda run, width: save(run, 80, width, 0.7), _after_save),
    Scene("save with a result", _three_and_no_result, lambda run, width: save(run, 80, width, 0.7), _after_replace),
    Scene("save over damage", _three_and_a_damaged_one, lambda run, width: save(run, 80, width, 0.7), _after_save),
    Scene("first save", _nothing, lambda run, width: save(run, 80, width, 0.7), _after_first),
    Scene("run.json", _nothing, lambda run, _: run.update(status="done"), _after_record),
    Scene("metrics", lambda run, _: _write_events(run, 1, 4), lambda run, _: _write_events(run, 4, 7), _after_metrics),
    Scene("dataset", _nothing, lambda run, _: generate(run), _after_dataset),
    Scene("extension", _nothing, lambda run, _: run.extend(500), _after_extension),
)
