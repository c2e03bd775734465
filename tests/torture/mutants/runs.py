"""One writer of a run, and a training that goes on as if it had never stopped."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.torture.mutants.mutant import Altered, Mutant


def forget_the_step(restore: Callable[..., None]) -> Callable[..., None]:
    def faulty(self: Any, *arguments: Any, **options: Any) -> None:
        restore(self, *arguments, **options)
        self.step = 0

    return faulty


def forget_the_moments(restore: Callable[..., None]) -> Callable[..., None]:
    def faulty(self: Any, step: int, validated: bool, weights: Any, moments: Mapping[str, Any]) -> None:
        restore(self, step, validated, weights, {name: np.zeros_like(value) for name, value in moments.items()})

    return faulty


RUNS = (
    Mutant(
        "no lock",
        "seqrev.system.locks.fcntl",
        lambda module: Altered(module, flock=lambda handle, operation: None),
        "test_one_process_at_a_time_is_at_work_in_a_run",
    ),
    Mutant(
        "leftovers not removed",
        "seqrev.runs.folders.remove_leftovers",
        lambda _: lambda folder: None,
        "test_the_owner_of_the_lock_cleans_up_after_the_one_before",
    ),
    Mutant(
        "folders that lead elsewhere",
        "seqrev.runs.folders.FOLDERS",
        lambda _: (),
        "test_a_run_whose_folders_lead_elsewhere_is_refused",
    ),
    Mutant(
        "metrics not trimmed",
        "seqrev.runs.metrics.MetricsWriter.__init__",
        lambda begin: lambda self, path, steps_done, validated=True: begin(self, path, 10**9),
        "test_events_that_will_be_repeated_are_dropped",
    ),
    Mutant(
        "validation repeated",
        "seqrev.runs.metrics.MetricsWriter.__init__",
        lambda begin: lambda self, path, steps_done, validated=True: begin(self, path, steps_done),
        "test_a_validation_that_was_not_committed_is_dropped_with_what_follows",
    ),
    Mutant(
        "step not restored",
        "seqrev.training.state.TrainingState.restore",
        forget_the_step,
        "test_a_training_that_was_stopped_goes_on_bit_for_bit",
    ),
    Mutant(
        "moments not restored",
        "seqrev.training.state.TrainingState.restore",
        forget_the_moments,
        "test_a_training_that_was_stopped_goes_on_bit_for_bit",
    ),
    Mutant(
        "no fallback",
        "seqrev.workflows.train.newest_first",
        lambda newest: lambda folder, problems=None: newest(folder, problems)[:1],
        "test_a_damaged_checkpoint_is_passed_over_for_the_one_before",
    ),
)
