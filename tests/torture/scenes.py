"""The kinds of write in a run folder: what is there before each, and what must be true after it was broken off anywhere."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from seqrev.data.dataset import load_split
from seqrev.runs.checkpoints import Checkpoint, Shapes, Tensors, newest_first, save_checkpoint
from seqrev.runs.folders import Run
from seqrev.runs.metrics import MetricsWriter, read_metrics
from seqrev.workflows.generate import generate
from tests.helpers import flip_byte

FILES = {"manifest.json", "model.safetensors", "optimizer.safetensors"}


@dataclass(frozen=True)
class Scene:
    """A write, what is there before it, and what must be true after it was broken off anywhere."""

    name: str
    prepare: Callable[[Run, int], None]
    act: Callable[[Run, int], object]
    check: Callable[[Run, int, bool], None]
    """Its last argument: whether the write said that it succeeded. In any case the next owner must be able to go on."""


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
    assert run.record.read()["status"] in ("done", *(() if succeeded else ("opened",)))
    run.record.update(status="again")
    assert run.record.read()["status"] == "again"


def event(step: int, kind: str = "train") -> dict[str, object]:
    numbers = {"loss": 1.0, "lr": 0.1} if kind == "train" else {"loss": 1.0, "exact_match": 0.5, "token_accuracy": 0.5}
    filler = {f"filler {number}": 0.5 for number in range(500)}  # more than a buffer
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
    assert run.record.read()["seed"] == 0


def _nothing(run: Run, width: int) -> None:
    del run, width


SCENES = (
    Scene("save", _three, lambda run, width: save(run, 80, width, 0.7), _after_save),
    Scene("save with a result", _three_and_no_result, lambda run, width: save(run, 80, width, 0.7), _after_replace),
    Scene("save over damage", _three_and_a_damaged_one, lambda run, width: save(run, 80, width, 0.7), _after_save),
    Scene("first save", _nothing, lambda run, width: save(run, 80, width, 0.7), _after_first),
    Scene("run.json", _nothing, lambda run, _: run.record.update(status="done"), _after_record),
    Scene("metrics", lambda run, _: _write_events(run, 1, 4), lambda run, _: _write_events(run, 4, 7), _after_metrics),
    Scene("dataset", _nothing, lambda run, _: generate(run), _after_dataset),
    Scene("extension", _nothing, lambda run, _: run.extend(500), _after_extension),
)
