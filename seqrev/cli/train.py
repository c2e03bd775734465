"""``seqrev train``: train in a new run, or carry on with one."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqrev.cli.generate import fill
from seqrev.cli.options import DEFAULT_RUNS, ConfigFile, ContinueRun, Device, Json, RunsDir, Seed, Set
from seqrev.console import Console, Progress
from seqrev.distributed import World, join
from seqrev.errors import UsageError
from seqrev.signals import stop_requests

if TYPE_CHECKING:
    from seqrev.experiment import Trained
    from seqrev.runs import Run
    from seqrev.training import Event


def command(
    config: ConfigFile = None,
    run_: ContinueRun = None,
    set_: Set = None,
    seed: Seed = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, max=1_000_000_000, help="With --run: go on to this step, beyond what was planned."),
    ] = None,
    device: Device = "auto",
    runs_dir: RunsDir = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Train a model, in a new run or on with one.

    In a new run from its dataset to its pictures; with --run from whatever stands there.
    """
    console = Console(json)
    with join(device) as world:
        if world.rank > 0:
            _follow(device, world)
            return
        if steps is not None and run_ is None:
            raise UsageError("--steps extends a run; a new one has --set.", f"--set train.steps={steps}")
        run = _choose_run(config, run_, set_, seed, device, runs_dir, world.size)
        if steps is not None:
            _extend(run, steps, console)
        console.note(f"Run: {run}")
        trained = _train(run, device, console, world)
    _report(console, run, trained)


def _choose_run(
    config: Path | None,
    run: str | None,
    set_: list[str] | None,
    seed: int | None,
    device: str,
    runs_dir: Path,
    processes: int,
) -> "Run":
    """The run that is meant, or a new one."""
    if run is not None and (config is not None or set_ or seed is not None):
        raise UsageError(
            "--run carries on with the configuration of that run; --config, --set and --seed are for a new one.",
            f"seqrev train --run {run}",
        )
    from seqrev.config import load_config
    from seqrev.data import check_possible
    from seqrev.generation import start
    from seqrev.runs import Run, find_run

    if run is None:
        settings = load_config(config, set_ or (), seed)
        check_possible(settings)

        from seqrev.experiment import check_fits

        check_fits(settings, device, processes)
        return start(settings, runs_dir)
    if device not in ("auto", "cpu"):  # a device that is not there is told before a dataset is made for it
        from seqrev.devices import choose_device

        choose_device(device)
    return find_run(run, runs_dir, Run.has_config, "a configuration")


def _train(run: "Run", device: str, console: Console, world: World) -> "Trained":
    """Fill the dataset if need be, and train under a progress bar."""
    with stop_requests() as stop:
        stop.hint = f"seqrev train --run {run}"
        if not run.has_dataset():
            fill(run, console)
        world.tell(str(run))

        from seqrev import experiment

        with console.progress(run.config().train.steps, "steps") as progress:
            reporter = _Reporter(progress)
            trained = experiment.train(run, device, reporter, console.note, stop, world)
        if not reporter.tokens:
            more = f"seqrev train --run {run} --steps {2 * trained.steps}"
            console.note(f"Note: nothing was left to train, all {trained.steps:,} steps were done. To go on: {more}")
        return trained


def _follow(device: str, world: World) -> None:
    """Train along with the first process, which speaks for all."""
    from seqrev.runs import Run

    with stop_requests() as stop:
        run = Run(Path(world.hear()))

        from seqrev import experiment

        experiment.follow(run, device, stop, world)


def _extend(run: "Run", steps: int, console: Console) -> None:
    planned = run.config().train.steps
    run.extend(steps)
    console.note(
        f"Note: the learning rate so far was that of a training of {planned:,} steps. A training of {steps:,} from the "
        "start would not give the same weights."
    )


def _report(console: Console, run: "Run", trained: "Trained") -> None:
    """How it ended, for people or as JSON."""
    result = trained.validation
    score = trained.anti_diagonal
    console.line(f"{run}: {trained.steps:,} steps in {trained.seconds:.0f} s")
    console.data(
        f"validation: exact match {result.exact_match:.4f}, token accuracy {result.token_accuracy:.4f}, "
        f"loss {result.loss:.2g}"
    )
    console.data(f"anti-diagonal (head mean, test sequences): mass {score.mass:.3f}, hit {score.hit:.3f}")
    console.line("pictures: " + ", ".join(map(str, trained.pictures)))
    console.document(
        {
            "run": str(run),
            "steps": trained.steps,
            "validation": {
                "exact_match": result.exact_match,
                "token_accuracy": result.token_accuracy,
                "loss": result.loss,
            },
            "seconds": trained.seconds,
        }
    )
    console.note(f"Next: seqrev decode --run {run} 4 8 2 9")


class _Reporter:
    """Turns events into progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._loss = self._exact = ""
        self.tokens, self._since = 0, time.monotonic()

    def __call__(self, event: "Event") -> None:
        from seqrev.training import Step

        if isinstance(event, Step):
            self.tokens += event.tokens
            rate = self.tokens / max(time.monotonic() - self._since, 1e-9)
            if not math.isnan(event.loss):  # it was read
                self._loss = f"loss {event.loss:.4f}"
            details = f"{self._loss}{self._exact}  lr {event.lr:.1e}  {rate:,.0f} tokens/s"
            self._progress.update(event.step, details)
        else:
            self._exact = f"  exact {event.exact_match:.3f}"
            self._progress.note(
                f"step {event.step:,}: validation loss {event.loss:.4f}, exact match {event.exact_match:.3f}"
            )
