"""``seqrev train``: training in a run folder, which begins with the dataset there, and leaves metrics and pictures."""

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqrev.config import Config
from seqrev.data.dataset import load_split
from seqrev.data.sequences import example
from seqrev.errors import InputError, SeqrevError, StorageError, TrainingError, command_line
from seqrev.interpret.alignment import AntiDiagonal, alignment_over
from seqrev.interpret.attention import record_attention
from seqrev.interpret.snapshots import watched
from seqrev.model.transformer import Transformer
from seqrev.runs.checkpoints import KEEP, Checkpoint, largest_file, list_checkpoints, newest_first
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.runs.record import now
from seqrev.system.files import read_json
from seqrev.system.locks import check_held
from seqrev.system.resources import check_disk
from seqrev.system.signals import Interrupted, StopRequest
from seqrev.system.threads import limit_threads
from seqrev.task import alignment_name
from seqrev.training.distributed import SINGLE_PROCESS, Processes
from seqrev.training.events import Event, Validation
from seqrev.training.recorder import RunRecorder, environment
from seqrev.training.state import check_fits, checkpoint_shapes
from seqrev.training.trainer import Trainer, TrainingRows
from seqrev.workflows.generate import generate, new_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seqrev.plotting.style import ThemeName


@dataclass(frozen=True)
class TrainingSummary:
    """How a training ended: its last validation, and the head mean of the last decoder layer over the test sequences."""

    run: Run
    steps: int
    validation: Validation
    anti_diagonal: AntiDiagonal
    pictures: list[Path]
    """Those that could be drawn."""


@dataclass(frozen=True)
class Observer:
    """Who is told what happens in a training, and may ask it to stop."""

    on_run: Callable[[Run], None] = lambda run: None
    """The run is open, or was found."""
    on_rows: Callable[[int, int], None] = lambda done, total: None
    """Rows of the dataset that were drawn so far, and all of them."""
    on_event: Callable[[Event], None] = lambda event: None
    """A step was taken, or the model was validated."""
    on_warning: Callable[[str], None] = lambda message: None
    """A damaged checkpoint was passed over, or a picture could not be drawn."""
    stop: StopRequest = field(default_factory=StopRequest)
    """Is asked after every step; a stop is saved, and then raised as ``Interrupted``."""


def train(
    what: Config | Run,
    device: str = "auto",
    runs_dir: str | Path | None = None,
    observer: Observer | None = None,
    processes: Processes = SINGLE_PROCESS,
    theme: "ThemeName" = "paper",
) -> TrainingSummary:
    """Train a configuration in a new run, or go on with a run from whatever is there: a dataset, a checkpoint.

    A new run is opened in ``runs_dir``; None: ``SEQREV_RUNS``, else ``runs``. Of ``processes``, this is the first; the
    others call ``train_worker``. ``theme``: of the pictures; one that cannot be drawn is a warning.

    Raises:
        InputError: the dataset is damaged, or all checkpoints are, or another process is at work in this run.
        UsageError: the configuration cannot be fulfilled, or is too much for this machine; no folder was opened.
        StorageError: the disk is full, fails or is read-only; the last checkpoint is unchanged.
        TrainingError: the loss is not finite.
        Interrupted: on request; a checkpoint was saved.
    """
    observer = observer or Observer()
    if isinstance(what, Run):
        what.check()
    config = what if isinstance(what, Config) else what.config()
    check_fits(config, device, processes)
    run = new_run(what, runs_dir) if isinstance(what, Config) else what
    observer.stop.hint = command_line(
        "train", "--run", run
    )  # before anybody hears of the run: a signal may come in between
    observer.on_run(run)
    try:
        if not run.has_dataset():
            generate(run, observer.on_rows)
        processes.broadcast(str(run))
        with run.locked():
            needed = sum(map(largest_file, checkpoint_shapes(config).values()))
            missing = max(1, KEEP + 2 - len(list_checkpoints(run.checkpoints)))
            check_disk(run.path, missing * needed, f"Keeping checkpoints of {run}")
            trainer, parent = _prepare(run, device, processes, observer)
            with limit_threads(config.train.threads):
                summary = _attempt(run, trainer, parent, observer)
                return replace(summary, pictures=list(_draw(run, trainer.model, observer.on_warning, theme)))
    except TrainingError as error:
        error.hint = from_the_start(run, error.hint)
        raise
    except StorageError as error:
        look, _, _ = error.hint.partition("; then ")
        raise StorageError(str(error), f"{look}; then {command_line('train', '--run', run)}") from None


def from_the_start(run: Run, changes: str) -> str:
    """A hint that begins with ``--set`` as the command for another run, as this one keeps its configuration and pairs."""
    if not changes.startswith("--set "):
        return changes
    pairs = ("--from", "FILE") if run.config().task.rule == "pairs" else ()
    words = "generate" if pairs else "train", *pairs, "--config", f"{run}/config.yaml"
    return command_line(*words, *shlex.split(changes))


def train_worker(device: str, stop: StopRequest, processes: Processes) -> None:
    """Train along with the first process, in the run that it names: take a share of every step, and write nothing."""
    trainer, _ = _prepare(Run(processes.broadcast()), device, processes, Observer())
    stop.patient = True
    try:
        _stop_if_agreed(trainer, stop)
        for _ in trainer:
            _stop_if_agreed(trainer, stop)
    finally:
        stop.patient = False


def _prepare(run: Run, device: str, processes: Processes, observer: Observer) -> tuple[Trainer, Checkpoint | None]:
    """What every process reads: the dataset, and the state to go on from, with the checkpoint that it came from."""
    config = run.config()
    train_rows = None if config.data.stream else load_split(run.data, "train", config)
    rows = TrainingRows(train_rows, load_split(run.data, "validation", config))
    trainer = Trainer(config, rows, device, processes)
    parent = _restore(run, trainer, observer.on_warning)
    step = trainer.state.step
    if processes.largest(step) != step or processes.largest(-step) != -step:
        message = f"The processes would go on from different steps of {run}; a folder that all of them share was expected."
        raise InputError(message, command_line("train", "--run", run))
    if parent is not None and parent.validation is not None:  # all of them agree in this, so not before they have the same
        trainer.state.judge(parent.validation["exact_match"])
    return trainer, parent


def _restore(run: Run, trainer: Trainer, on_warning: Callable[[str], None]) -> Checkpoint | None:
    """Put the newest usable checkpoint into a trainer that has taken no step; None: there is none, begin."""
    shapes = checkpoint_shapes(trainer.config)
    problems: list[str] = []
    for checkpoint in newest_first(run.checkpoints, problems):
        try:
            model, optimizer = (checkpoint.load(name, shapes[name]) for name in ("model", "optimizer"))
        except InputError as error:
            problems.append(str(error))
            continue
        trainer.state.restore(checkpoint.step, checkpoint.validation is not None, model, optimizer)
        if problems:
            on_warning(f"Warning: {' '.join(problems)} Going on from step {checkpoint.step:,}.")
        return checkpoint
    if problems:  # to begin again here would write over what they hold
        message = " ".join(["No checkpoint can be continued from.", *problems])
        raise InputError(message, command_line("train", "--config", f"{run}/config.yaml"))
    return None


def _attempt(run: Run, trainer: Trainer, parent: Checkpoint | None, observer: Observer) -> TrainingSummary:
    """One attempt at the training, with its record in ``run.json``."""
    state, test = trainer.state, load_split(run.data, "test", trainer.config)
    try:
        dataset = read_json(run.data / "manifest.json").get("sha256")
        origin = parent and {"step": parent.step, "sha256": parent.sha256}
        run.record.begin_attempt(dataset_sha256=dataset, parent=origin, **environment(state))
        _loop(run, trainer, observer.on_event, observer.stop)
        summary = _sum_up(run, trainer, test)
    except BaseException as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        outcome = {"status": "interrupted"} if stopped else {"status": "failed", "error": str(error)}
        with suppress(SeqrevError):  # the first error is the one to report
            run.record.update(**outcome, ended=now(), step=state.step)
        raise
    run.record.update(status="done", ended=now(), step=state.step)
    return summary


def _loop(run: Run, trainer: Trainer, on_event: Callable[[Event], None], stop: StopRequest) -> None:
    """Record every event; a step is finished before a stop, a validation, which changes nothing, is broken off."""
    state = trainer.state
    recorder = RunRecorder(run, state, watched(trainer.rows.validation), saved=state.step)
    trainer.seconds = recorder.seconds
    try:
        while True:
            stop.patient = not state.validation_is_due
            _stop_if_agreed(trainer, stop)
            event = next(trainer, None)
            stop.patient = True
            if event is None:
                return
            recorder.record(event)
            on_event(event)
    except Interrupted as signal:
        if signal.at_once:
            raise
        stop.patient = True  # a first signal, which another process may have had, must not break off the save
        recorder.save()
        message = f"Stopped at step {state.step:,} of {trainer.config.train.steps:,}; nothing is lost."
        raise Interrupted(signal.signum, message, command_line("train", "--run", run)) from None
    finally:
        stop.patient = False
        recorder.close()


def _stop_if_agreed(trainer: Trainer, stop: StopRequest) -> None:
    """Raise ``Interrupted``, in all processes at the same step, if one of them was asked to stop; not when all is done."""
    state, processes = trainer.state, trainer.state.processes
    if processes.size > 1 and state.step % 8:  # several processes agree at every eighth step, for that takes time
        return
    signum = processes.largest(stop.received or 0)
    if signum and not state.is_finished:
        raise Interrupted(signum, f"Stopped at step {state.step:,}.")


def _sum_up(run: Run, trainer: Trainer, test: Sequence[Sequence[int]]) -> TrainingSummary:
    """How the training ended, before it is drawn."""
    check_held(run.path)
    last = next((row for row in reversed(list(read_metrics(run.metrics))) if row.get("event") == "validation"), None)
    if last is None:
        raise InputError(
            f"{run.metrics} has no validation in it, though the training is done.", command_line("evaluate", "--run", run)
        )
    score, *_ = alignment_over(trainer.model.eval(), test)
    values: dict[str, Any] = {}
    for name in Validation.__dataclass_fields__:
        value = last.get(name)
        values[name] = math.nan if value is None else value  # of an older version, or not known
    return TrainingSummary(run, trainer.state.step, Validation(**values), score, [])


def _draw(run: Run, model: Transformer, on_warning: Callable[[str], None], theme: "ThemeName") -> Iterator[Path]:
    """Draw the loss curve and the attention of a held-out sequence; one that cannot be drawn does not undo a training."""
    from seqrev.plotting import export  # here, for it imports Matplotlib, and the training need not wait for that

    def loss() -> "Figure":
        return curves.training_curves(
            list(read_metrics(run.metrics)), f"Training of {run}", alignment_name(model.rule), theme=theme
        )

    def maps() -> "Figure":
        seen = record_attention(model.eval(), example(load_split(run.data, "test", run.config())))
        return attention.draw_attention(seen, str(run), theme=theme)

    for draw, name in ((loss, "loss.png"), (maps, "attention.png")):
        try:
            with export.picture_errors():
                from seqrev.plotting import attention, curves

                export.save_figure(draw(), run.path / name)
            yield run.path / name
        except SeqrevError as error:
            again = command_line("train", "--run", run)
            on_warning(f"Warning: {run.path / name}: {error} To draw it again: {again}")
