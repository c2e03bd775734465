"""What a training leaves in its run folder: metrics, checkpoints and snapshots of the attention."""

from collections.abc import Sequence
from typing import Any

import torch

from seqrev.data.sequences import answers_to
from seqrev.interpret.snapshots import is_snapshot_step, save_snapshot
from seqrev.runs.checkpoints import save_checkpoint
from seqrev.runs.folders import Run
from seqrev.runs.metrics import MetricsWriter
from seqrev.runs.stages import is_stage_step, save_stage
from seqrev.training.events import Event, Validation, to_row
from seqrev.training.schedule import is_logged
from seqrev.training.state import TrainingState


class RunRecorder:
    """Writes every event of a training into a run."""

    def __init__(self, run: Run, state: TrainingState, watched: Sequence[Sequence[int]], saved: int) -> None:
        """Continue what is there, from the state's step on.

        Args:
            run: its lock must be held.
            state: that is recorded.
            watched: the one sequence of the snapshots, perhaps with its answer (``Pairs``).
            saved: the step of the newest checkpoint; less than 0: there is none.
        """
        self._run, self._state = run, state
        (self._watched,), (self._answer,) = watched, answers_to(watched, state.model.rule)
        self._metrics = MetricsWriter(run.metrics, state.step, validated=state.validated == state.step)
        self.seconds = self._metrics.seconds
        """Training time up to the state's step."""
        self._saved = saved

    def record(self, event: Event) -> None:
        """Write an event that just happened, and what belongs to it: a validation saves a checkpoint."""
        self.append(event)
        is_due = is_snapshot_step(event.step, self._state.config.train.steps)
        if isinstance(event, Validation):
            if self._state.is_finished and not is_due:  # ended by train.stop_at: this was the last step after all
                self._save_snapshot()
            self.save(event)
        elif is_due:
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        save_snapshot(self._run.snapshots, self._state.model, self._watched, self._state.step, self._answer)
        if is_stage_step(self._state.step, self._state.config.train.steps):
            weights = {name: value.numpy(force=True) for name, value in self._state.model.named_parameters()}
            save_stage(self._run.snapshots, self._state.step, weights)

    def append(self, event: Event) -> None:
        """Write an event to ``metrics.jsonl``, if it is one that is logged."""
        if isinstance(event, Validation) or is_logged(event.step, self._state.config.train):
            self._metrics.append(**to_row(event))

    def save(self, validation: Validation | None = None) -> None:
        """Commit a checkpoint of the state, with its validation if it was just made; not the same one twice."""
        if validation is None and self._state.step <= self._saved:
            return
        self._metrics.sync()
        values = validation.to_dict().items() if validation else ()
        result = {name: value for name, value in values if name not in ("step", "seconds")}
        save_checkpoint(self._run.checkpoints, self._state.step, self._state.to_arrays(), result or None)
        self._saved = self._state.step

    def close(self) -> None:
        """Close the metrics."""
        self._metrics.close()


def environment(state: TrainingState) -> dict[str, Any]:
    """What a training ran on, for ``run.json``."""
    return {
        "device": str(state.device),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cuda": torch.version.cuda,
        "world_size": state.processes.size,
    }
