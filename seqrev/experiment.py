"""Training in a run folder: it begins with the dataset there, and leaves metrics, checkpoints and pictures.

``fit`` knows nothing of files and ``runs`` nothing of training; here they meet.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from seqrev import plots
from seqrev.checkpoints import newest_first, save_checkpoint
from seqrev.data import load_split
from seqrev.devices import choose_device
from seqrev.errors import InputError
from seqrev.interpret import AntiDiagonal, Attention, anti_diagonal, attend
from seqrev.runs import MetricsWriter, Run, now, read_metrics
from seqrev.signals import Interrupted, StopRequest
from seqrev.training import Event, Rows, Step, TrainingState, Validation, fit


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
) -> Trained:
    """Train in a run that has its dataset, from its newest usable checkpoint on, or from the start.

    Args:
        run: its ``config.yaml`` and ``data/`` decide everything.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        listen: is told every event.
        warn: is told of a damaged checkpoint that was passed over.
        stop: asked after every step; a stop is saved, and then raised as ``Interrupted``.

    Raises:
        InputError: the dataset is missing or damaged, or no checkpoint can be used though there are some.
        TrainingError: the loss is not finite.
        Interrupted: on request; a checkpoint was saved.
    """
    config, stop = run.config(), stop or StopRequest()
    symbols = config.task.symbols
    rows = Rows(
        None if config.data.stream else load_split(run.data, "train", symbols), load_split(run.data, "validation", symbols)
    )
    test = load_split(run.data, "test", symbols)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    state = TrainingState(config, choose_device(device))
    _restore(run, state, warn)
    run.update(
        status="running", error=None, started=now(), device=str(state.device), threads=torch.get_num_threads(), world_size=1
    )
    try:
        _train(run, state, rows, listen, stop)
        trained = _finish(run, state, test)
    except Interrupted:
        run.update(status="interrupted", ended=now(), step=state.step)
        raise
    except BaseException as error:
        run.update(status="failed", ended=now(), step=state.step, error=str(error))
        raise
    run.update(status="done", ended=now(), step=state.step)
    return trained


def _restore(run: Run, state: TrainingState, warn: Callable[[str], None]) -> None:
    """Put the newest usable checkpoint into a state that has taken no step.

    Raises:
        InputError: there are checkpoints, but none can be used. To begin again here would write over what they hold.
    """
    problems = []
    for checkpoint in newest_first(run.checkpoints):
        try:
            validated = checkpoint.validation is not None
            state.restore(checkpoint.step, validated, checkpoint.load("model"), checkpoint.load("optimizer"))
        except InputError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warn(f"Warning: {problem} Going on from step {checkpoint.step:,}.")
        return
    if problems:
        raise InputError(
            " ".join(["No checkpoint can be continued from.", *problems]), f"seqrev train --config {run}/config.yaml"
        )


def _train(run: Run, state: TrainingState, rows: Rows, listen: Callable[[Event], None], stop: StopRequest) -> None:
    """The loop: every event to the listener and to ``metrics.jsonl``, a checkpoint at every validation and at a stop."""
    config = state.config.train
    metrics = MetricsWriter(run.metrics, state.step, validated=state.validated == state.step)
    began = time.monotonic() - metrics.seconds
    stop.patient = True

    def save(validation: Validation | None) -> None:
        metrics.sync()
        result = {key: value for key, value in vars(validation).items() if key != "step"} if validation else None
        save_checkpoint(run.checkpoints, state.step, state.to_arrays(), result)

    try:
        for event in fit(state.config, rows, state):
            values = {**vars(event), "seconds": round(time.monotonic() - began, 3)}
            if isinstance(event, Validation):
                metrics.append(event="validation", **values)
                save(event)
            elif event.step % config.log_every == 0 or event.step in (1, config.steps):
                metrics.append(event="train", **values)
            listen(event)
            if stop.received is not None and state.step < config.steps:
                if isinstance(event, Step):
                    save(None)
                raise Interrupted(
                    stop.received,
                    f"Stopped at step {state.step:,} of {config.steps:,}; nothing is lost.",
                    f"seqrev train --run {run}",
                )
    finally:
        stop.patient = False
        metrics.close()


def _finish(run: Run, state: TrainingState, test: list[list[int]]) -> Trained:
    """Draw the loss curve and the attention of a held-out sequence, and sum up."""
    history = read_metrics(run.metrics)
    last = next((row for row in reversed(history) if row.get("event") == "validation"), None)
    if last is None:
        raise InputError(f"{run.metrics} has no validation in it, though the training is done.", "seqrev evaluate")
    state.model.eval()
    score, *_ = anti_diagonal(state.model, test)
    pictures = [run.path / "loss.png", run.path / "attention.png"]
    plots.save_figure(plots.loss_curve(history, f"{run}: loss and exact match"), pictures[0])
    plots.save_figure(draw_attention(attend(state.model, longest(test)), str(run)), pictures[1])
    validation = Validation(last["step"], last["loss"], last["exact_match"], last["token_accuracy"])
    return Trained(state.step, validation, last["seconds"], score, pictures)


def longest(sequences: list[list[int]], at_most: int = 20) -> list[int]:
    """The first of the longest sequences (of those that a picture has room for), to be shown as an example."""
    fitting = [sequence for sequence in sequences if len(sequence) <= at_most] or sequences
    return max(fitting, key=len)


def draw_attention(attention: Attention, name: str, layer: int | None = None, head: int | None = None) -> Figure:
    """The cross-attention of a decoder layer (None: the last) as a figure, with the sequence and the answer above it."""
    layer = layer or len(attention.maps.cross)
    verdict = "right" if attention.correct else "wrong"
    scores = attention.anti_diagonal(layer)
    score = scores[head or 0]
    title = (
        f"{name}: cross-attention of decoder layer {layer} of {len(attention.maps.cross)}\n"
        f"{_words(attention.source)} → {_words(attention.answer.output)} ({verdict}), "
        f"anti-diagonal mass {score.mass:.2f}, hit {score.hit:.2f}"
    )
    return plots.attention_maps(attention.cross(layer), attention.emitted_tokens, attention.source_tokens, title, head)


def _words(symbols: list[int]) -> str:
    shown = " ".join(map(str, symbols[:20]))
    return shown + (" …" if len(symbols) > 20 else "")
