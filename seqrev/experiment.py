"""Training in a run folder: it begins with the dataset there, and leaves metrics, checkpoints and pictures.

``fit`` knows nothing of files and ``runs`` nothing of training; here they meet.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from seqrev import learning
from seqrev.checkpoints import KEEP, Checkpoint, Shapes, largest_file, list_checkpoints, newest_first, save_checkpoint
from seqrev.config import Config
from seqrev.data import load_split
from seqrev.devices import choose_device
from seqrev.distributed import ALONE, World
from seqrev.errors import InputError, SeqrevError, StorageError
from seqrev.files import read_json
from seqrev.interpret import AntiDiagonal, anti_diagonal, attend
from seqrev.metrics import MetricsWriter, read_metrics
from seqrev.resources import check_disk, check_memory
from seqrev.runs import Run, now
from seqrev.sequences import example
from seqrev.signals import Interrupted, StopRequest
from seqrev.training import (
    Event,
    Rows,
    TrainingState,
    Validation,
    checkpoint_shapes,
    fit,
    is_logged,
    step_bytes,
    validation_due,
)

STEPS_BETWEEN_AGREEMENTS = 8  # of several processes, on whether to stop


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    steps: int
    validation: Validation
    seconds: float
    """Time spent in training, validations included, over all sittings."""
    anti_diagonal: AntiDiagonal
    """Head mean of the last decoder layer, over the test sequences."""
    pictures: list[Path]


def train(
    run: Run,
    device: str = "auto",
    listen: Callable[[Event], None] = lambda event: None,
    warn: Callable[[str], None] = lambda message: None,
    stop: StopRequest | None = None,
    world: World = ALONE,
) -> Trained:
    """Train in a run that has its dataset, from its newest usable checkpoint on, or from the start.

    Args:
        run: its ``config.yaml`` and ``data/`` decide everything.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        listen: is told every event.
        warn: is told of a damaged checkpoint that was passed over.
        stop: asked after every step; a stop is saved, and then raised as ``Interrupted``.
        world: the processes that train together; this is the first of them, the others ``follow``.

    Raises:
        InputError: the dataset is missing or damaged, no checkpoint can be used though there are some, or another process
            is at work in this run.
        UsageError: the model is too large for this machine.
        StorageError: the disk is full, fails or is read-only; the last checkpoint stands.
        TrainingError: the loss is not finite.
        Interrupted: on request; a checkpoint was saved.
    """
    stop = stop or StopRequest()
    try:
        with run.locked():
            return _train_alone(run, device, listen, warn, stop, world)
    except StorageError as error:
        raise StorageError(str(error), f"df -h, to see what is free; then seqrev train --run {run}") from None


def check_fits(config: Config, device: str, processes: int = 1) -> None:
    """Refuse a training that this machine obviously cannot hold; to be asked before a folder is opened for it.

    Raises:
        UsageError: it takes more memory than there is, or the device is not there.
    """
    step = step_bytes(config) // processes if choose_device(device).type == "cpu" else 0
    check_memory(step, "A training step")
    check_memory(step + 2 * sum(map(largest_file, checkpoint_shapes(config).values())), "Training this model")


def _train_alone(
    run: Run,
    device: str,
    listen: Callable[[Event], None],
    warn: Callable[[str], None],
    stop: StopRequest,
    world: World,
) -> Trained:
    """``train``, by the owner of the lock."""
    config = run.config()
    check_fits(config, device, world.size)
    saved = sum(map(largest_file, checkpoint_shapes(config).values()))
    there = list_checkpoints(run.checkpoints)
    check_disk(run.path, max(1, KEEP + 2 - len(there)) * saved, f"Keeping checkpoints of {run}")
    test = load_split(run.data, "test", config)
    state, rows, parent = _prepare(run, device, warn, world)
    try:
        run.begin(
            dataset_sha256=read_json(run.data / "manifest.json").get("sha256"),
            parent=parent and {"step": parent.step, "sha256": parent.sha256},
            device=str(state.device),
            threads=torch.get_num_threads(),
            deterministic=torch.are_deterministic_algorithms_enabled(),
            cuda=torch.version.cuda,
            world_size=world.size,
        )
        _train(run, state, rows, listen, stop)
        trained = _finish(run, state, test)
    except BaseException as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        how = {"status": "interrupted"} if stopped else {"status": "failed", "error": str(error)}
        with suppress(SeqrevError):  # the first error is the one to tell
            run.update(**how, ended=now(), step=state.step)
        raise
    run.update(status="done", ended=now(), step=state.step)
    return trained


def follow(run: Run, device: str, stop: StopRequest, world: World) -> None:
    """Train along with the first process: take a share of every step, and write nothing.

    Raises:
        InputError, TrainingError: as ``train`` does.
        Interrupted: on request, at the same step as all others.
    """
    state, rows, _ = _prepare(run, device, lambda message: None, world)
    stop.patient = True
    try:
        events = fit(state.config, rows, state)
        while True:
            _stop_if_agreed(state, stop)
            if next(events, None) is None:
                return
    finally:
        stop.patient = False


def _prepare(
    run: Run, device: str, warn: Callable[[str], None], world: World
) -> tuple[TrainingState, Rows, Checkpoint | None]:
    """What every process reads: the dataset, and the state to go on from, with the checkpoint that it came from.

    Raises:
        InputError: it is missing or damaged, or not the same for all.
    """
    config = run.config()
    rows = Rows(
        None if config.data.stream else load_split(run.data, "train", config), load_split(run.data, "validation", config)
    )
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    state = TrainingState(config, choose_device(device), world)
    parent = _restore(run, state, checkpoint_shapes(config), warn)
    if world.agree(state.step) != state.step or world.agree(-state.step) != -state.step:
        raise InputError(
            f"The processes would go on from different steps of {run}; a folder that all of them share was expected.",
            f"seqrev train --run {run}",
        )
    return state, rows, parent


def _stop_if_agreed(state: TrainingState, stop: StopRequest) -> None:
    """Raise ``Interrupted``, in all processes at the same step, if one of them was asked to stop; not when all is done."""
    world = state.world
    if world.size > 1 and state.step % STEPS_BETWEEN_AGREEMENTS:
        return
    signum = world.agree(stop.received or 0)
    if signum and (state.step < state.config.train.steps or validation_due(state)):
        raise Interrupted(signum, f"Stopped at step {state.step:,}.")


def _restore(
    run: Run, state: TrainingState, shapes: Mapping[str, Shapes], warn: Callable[[str], None]
) -> Checkpoint | None:
    """Put the newest usable checkpoint into a state that has taken no step; None: there is none, begin.

    Raises:
        InputError: there are checkpoints, but none can be used. To begin again here would write over what they hold.
    """
    problems: list[str] = []
    for checkpoint in newest_first(run.checkpoints, problems):
        try:
            arrays = {name: checkpoint.load(name, shapes[name]) for name in ("model", "optimizer")}
        except InputError as error:
            problems.append(str(error))
            continue
        state.restore(checkpoint.step, checkpoint.validation is not None, arrays["model"], arrays["optimizer"])
        if problems:
            warn(f"Warning: {' '.join(problems)} Going on from step {checkpoint.step:,}.")
        return checkpoint
    if problems:
        raise InputError(
            " ".join(["No checkpoint can be continued from.", *problems]), f"seqrev train --config {run}/config.yaml"
        )
    return None


def _train(run: Run, state: TrainingState, rows: Rows, listen: Callable[[Event], None], stop: StopRequest) -> None:
    """The loop: every event to the listener and to ``metrics.jsonl``, a checkpoint at every validation and at a stop."""
    config = state.config.train
    metrics = MetricsWriter(run.metrics, state.step, validated=state.validated == state.step)
    began = time.monotonic() - metrics.seconds
    watched = example(rows.validation, learning.LONGEST)
    saved = state.step

    def save(validation: Validation | None) -> None:
        """A checkpoint of where the training stands, with its validation if it was just made."""
        nonlocal saved
        metrics.sync()
        result = {key: value for key, value in vars(validation).items() if key != "step"} if validation else None
        save_checkpoint(run.checkpoints, state.step, state.to_arrays(), result)
        saved = state.step

    try:
        events = fit(state.config, rows, state)
        while True:
            stop.patient = not validation_due(state)  # a step is finished; a validation, which changes nothing, broken off
            _stop_if_agreed(state, stop)
            event = next(events, None)
            stop.patient = True
            if event is None:
                return
            values = {**vars(event), "seconds": round(time.monotonic() - began, 3)}
            if isinstance(event, Validation):
                metrics.append(event="validation", **values)
                save(event)
            else:
                if is_logged(event.step, config):
                    metrics.append(event="train", **values)
                if learning.is_kept(event.step, config.steps):
                    learning.keep(run.learning, state.model, watched, event.step)
            listen(event)
    except Interrupted as signal:
        stop.patient = False
        if signal.at_once:
            raise
        if state.step > saved:
            save(None)
        message = f"Stopped at step {state.step:,} of {config.steps:,}; nothing is lost."
        raise Interrupted(signal.signum, message, f"seqrev train --run {run}") from None
    finally:
        stop.patient = False
        metrics.close()


def _finish(run: Run, state: TrainingState, test: Sequence[Sequence[int]]) -> Trained:
    """Draw the loss curve and the attention of a held-out sequence, and sum up."""
    from seqrev import pictures, plots  # which import Matplotlib: the training need not wait for it

    history = list(read_metrics(run.metrics))
    last = next((row for row in reversed(history) if row.get("event") == "validation"), None)
    if last is None:
        raise InputError(f"{run.metrics} has no validation in it, though the training is done.", "seqrev evaluate")
    state.model.eval()
    score, *_ = anti_diagonal(state.model, test)
    paths = [run.path / "loss.png", run.path / "attention.png"]
    plots.save_figure(plots.training_curves(history, f"Training of {run}"), paths[0])
    plots.save_figure(pictures.draw_attention(attend(state.model, example(test)), str(run)), paths[1])
    validation = Validation(**{name: last.get(name, math.nan) for name in Validation.__dataclass_fields__})
    return Trained(state.step, validation, last["seconds"], score, paths)
