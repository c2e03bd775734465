"""The trainer: iterate it for typed events; it prints nothing, and writes nothing unless it is asked to save.

Step ``i`` is a pure function of (configuration, seed, ``i``) and of the state before it: its batch, its learning rate and
its dropout depend on nothing else. A training that is stopped and continued is therefore the same training.
"""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqrev.config import Config
from seqrev.data.batches import Batches
from seqrev.data.dataset import most_symbols, write_dataset
from seqrev.data.sampling import check_possible, draw_split
from seqrev.data.sequences import Pairs, Sequences
from seqrev.data.splits import Split
from seqrev.errors import TrainingError, UsageError
from seqrev.inference.evaluation import compare, greedy_answers
from seqrev.inference.teacher_forcing import teacher_forced
from seqrev.interpret.alignment import alignment_over
from seqrev.interpret.snapshots import watched
from seqrev.model.transformer import Transformer
from seqrev.runs.folders import Run, open_run
from seqrev.runs.record import now
from seqrev.system.devices import choose_device
from seqrev.system.threads import limit_threads
from seqrev.task import check_sequence
from seqrev.training.distributed import SINGLE_PROCESS, Processes
from seqrev.training.events import SCORED, Event, Step, Validation
from seqrev.training.recorder import RunRecorder, environment
from seqrev.training.state import TrainingState, calmer
from seqrev.training.step import train_step


@dataclass(frozen=True, repr=False)
class TrainingRows:
    """The sequences to train and validate on, as symbols."""

    train: Sequence[Sequence[int]] | None
    """None: fresh samples for every batch (``data.stream``)."""
    validation: Sequence[Sequence[int]]
    test: Sequence[Sequence[int]] | None = None
    """For ``Trainer.save``; None: sampled from the configuration. With ``task.rule: pairs``, all three are ``Pairs``."""

    def __repr__(self) -> str:
        counts = (f"{len(rows):,} {split}" for split, rows in vars(self).items() if rows is not None)
        return f"<TrainingRows: {', '.join(counts)}>"


class Trainer:
    """Trains a model.

    >>> trainer = Trainer(Config())  # doctest: +SKIP
    >>> for event in trainer:  # doctest: +SKIP
    ...     print(event)
    >>> Reverser.from_trainer(trainer).reverse([4, 8, 2, 9])  # doctest: +SKIP
    >>> trainer.save("runs")  # doctest: +SKIP

    A loop that is broken off goes on where it was with the next ``for``. The state is consistent at every event.
    """

    def __init__(
        self,
        config: Config,
        rows: TrainingRows | None = None,
        device: str | torch.device = "auto",
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        """Begin: weights drawn from the seed, no step taken.

        Args:
            config: what to train.
            rows: the dataset; None: sampled from the configuration.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            processes: those that train together.

        Raises:
            UsageError: a split cannot be filled, the device is not there, or a batch is too small for the processes.
        """
        self.config = config
        if rows is not None:
            _check_rows(rows, config)
        self.rows = rows or sample_rows(config)
        self.state = TrainingState(config, choose_device(device), processes)
        self.history: list[Event] = []
        """All events so far, of this trainer."""
        self.seconds = 0.0
        """Training time so far."""
        self._batches = Batches(config, self.rows.train)

    def __repr__(self) -> str:
        return f"<Trainer: step {self.state.step:,} of {self.config.train.steps:,}>"

    @property
    def model(self) -> Transformer:
        """The model as it is validated and saved: with ``train.ema_decay``, the running average of ``trained``."""
        return self.state.model

    @property
    def trained(self) -> Transformer:
        """The model that takes the steps: hooks on a training go there. Without ``train.ema_decay``, it is ``model``."""
        return self.state.trained

    def __iter__(self) -> "Trainer":
        return self

    def __next__(self) -> Event:
        """Take the next step, or validate.

        Raises:
            TrainingError: the loss is not finite. The weights are those of the step before.
        """
        if self.state.is_finished:
            raise StopIteration
        began = time.perf_counter()
        exact = torch.autocast(self.state.device.type, enabled=False)  # the caller's: train.precision says what is rounded
        with limit_threads(self.config.train.threads), exact:
            event = self._validate() if self.state.validation_is_due else self._train_step()
        self.seconds += time.perf_counter() - began
        event = replace(event, seconds=round(self.seconds, 3))
        self.history.append(event)
        return event

    def _validate(self) -> Validation:
        self.state.read()  # nothing is validated, or saved, that did not come from finite numbers
        return validate(self.state, self.rows.validation)

    def _train_step(self) -> Step:
        step, share = self.state.step, self.state.processes.share(self.config.train.batch_size)
        batches = self._batches
        return train_step(self.state, batches.rows(step, share), batches.tokens(step), batches.targets(step, share))

    def save(self, runs_dir: str | Path | None = None) -> Run:
        """Write a new run: the dataset, the metrics, and a checkpoint of the model as it is now.

        The commands read it, and ``seqrev train --run`` goes on from it. Its splits are the rows of this trainer; a test
        split that they do not have is sampled from the configuration.

        Args:
            runs_dir: where the numbered run folders are; None: ``SEQREV_RUNS``, else ``runs``.

        Raises:
            UsageError: the test split cannot be filled; no folder was opened.
            TrainingError: the last step was not finite; no folder was opened.
            InputError, StorageError: the folder cannot be written.
        """
        self.state.read()
        config, task = self._config_of_rows(), self.config.task
        given: dict[Split, Sequence[Sequence[int]]] = {"validation": self.rows.validation}
        if self.rows.train is not None:
            given["train"] = self.rows.train
        if self.rows.test is not None:
            given["test"] = self.rows.test
        check_possible(config, given)
        longest = max(task.max_length, *(len(sequence) for some in given.values() for sequence in some))
        rows = {split: _as_one_array(some, task.symbols, longest) for split, some in given.items()}
        run = open_run(runs_dir, config)
        with run.locked():
            manifest = write_dataset(config, run.data, rows=rows)
            with limit_threads(self.config.train.threads):
                known = environment(self.state)
            run.record.begin_attempt(dataset_sha256=manifest["sha256"], parent=None, **known)
            recorder = RunRecorder(run, self.state, watched(self.rows.validation), saved=-1)
            with closing(recorder):
                for event in self.history:
                    recorder.append(event)
                last = self.history[-1] if self.history else None
                recorder.save(last if isinstance(last, Validation) else None)
            status = "done" if self.state.is_finished else "interrupted"
            run.record.update(status=status, ended=now(), step=self.state.step)
        return run

    def _config_of_rows(self) -> Config:
        """The configuration, with a data section that fits the rows, which may have been given."""
        data: dict[str, Any] = {"stream": self.rows.train is None, "validation": len(self.rows.validation)}
        if self.rows.train is not None:
            data["train"] = len(self.rows.train)
        if self.rows.test is not None:
            data["test"] = len(self.rows.test)
        return self.config.model_copy(update={"data": self.config.data.model_copy(update=data)})


def _check_rows(rows: TrainingRows, config: Config) -> None:
    """Raise ``UsageError`` if there are none, or a sequence does not fit the task."""
    most = most_symbols(config)
    for some in (rows.train, rows.validation, rows.test):
        if some is None:
            continue
        if not len(some):
            raise UsageError("There are no rows to train or to validate on.", "Trainer(config), which samples them")
        if isinstance(some, Pairs) != (config.task.rule == "pairs"):
            problem = "Rows with answers of their own go with task.rule=pairs, and others do not."
            raise UsageError(problem, "Pairs.from_pairs([([4, 8], [8, 4]), …], symbols=10)")
        if isinstance(some, Pairs) or not isinstance(some, Sequences):  # which come from a dataset, and were checked
            for sequence in (*some, *(some.targets if isinstance(some, Pairs) else ())):
                check_sequence(sequence, config.task.symbols, most)


def _as_one_array(rows: Sequence[Sequence[int]], symbols: int, longest: int) -> Sequences:
    """The rows as ``write_dataset`` takes them: all splits of one width."""
    sources = Sequences.from_lists(rows, symbols, longest)
    return Pairs(sources, rows.targets) if isinstance(rows, Pairs) else sources


def sample_rows(config: Config) -> TrainingRows:
    """The rows of a configuration's dataset, without writing them anywhere.

    Raises:
        UsageError: a split cannot be filled.
    """
    check_possible(config)

    def draw(split: Split, count: int) -> Sequences:
        return Sequences(np.concatenate([chunk.padded for chunk in draw_split(split, count, config)]))

    train = None if config.data.stream else draw("train", config.data.train)
    return TrainingRows(train, draw("validation", config.data.validation))


def validate(state: TrainingState, sources: Sequence[Sequence[int]]) -> Validation:
    """Teacher-forced loss and free-running exact match on held-out sequences.

    Raises:
        TrainingError: the loss is not finite.
    """
    state.model.eval()
    forced = teacher_forced(state.model, sources)
    nats = -sum(answer.log_probability for answer in forced)
    if not math.isfinite(nats):
        raise TrainingError(
            f"Training stopped at step {state.step}: the validation loss is {nats}.",
            calmer(state.config),
        )
    result = compare(sources, greedy_answers(state.model, sources, forced), state.model.rule).overall
    score, *_ = alignment_over(state.model, sources[:SCORED])
    state.judge(result.exact_match)
    return Validation(state.step, nats / result.tokens, result.exact_match, result.token_accuracy, score.mass, score.hit)
