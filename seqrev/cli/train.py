"""``seqrev train``: train in a new run, or carry on with one."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from seqrev.cli.console import Console, Progress
from seqrev.cli.help import described
from seqrev.cli.options import ConfigFile, Device, Json, RunsDir, Seed, Set, Theme
from seqrev.errors import UsageError, command_line
from seqrev.system.signals import stop_requests
from seqrev.task import alignment_name, example_sequence
from seqrev.training.distributed import Processes, join
from seqrev.training.events import Event, Validation

if TYPE_CHECKING:
    from seqrev.runs.folders import Run
    from seqrev.workflows.train import TrainingSummary

LOW = 0.9  # an exact match that deserves a note


@described(
    "Train a model, in a new run or on with one.",
    "In a new run from its dataset to its pictures; with --run from whatever is there.",
)
def command(
    config: ConfigFile = None,
    run: Annotated[
        str | None, Option(metavar="RUN", help="Carry on with this run (runs/001, 001, 1, latest); else: a new one.")
    ] = None,
    set_: Set = None,
    seed: Seed = None,
    steps: Annotated[
        int | None, Option(min=1, metavar="N", help="With --run: go on to this step, beyond what was planned.")
    ] = None,
    tensorboard: Annotated[
        bool, Option("--tensorboard", help="Afterwards, write the metrics for TensorBoard into the run.")
    ] = False,
    theme: Theme = "paper",
    device: Device = "auto",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    if run is not None and (config is not None or set_ or seed is not None):
        raise UsageError(
            "--run carries on with the configuration of that run; --config, --set and --seed are for a new one.",
            command_line("train", "--run", run),
        )
    if steps is not None and run is None:
        raise UsageError("--steps extends a run; a new one has --set.", f"--set train.steps={steps}")
    from seqrev.config import Config, load_config
    from seqrev.runs.tensorboard import check_installed, export

    if tensorboard:
        check_installed()
    console = Console(json)
    with join(device, console.note) as processes, stop_requests() as stop, console.progress("steps") as steps_done:
        if processes.rank > 0:
            from seqrev.workflows.train import train_worker

            train_worker(device, stop, processes)
            return
        what = load_config(config, set_ or (), seed) if run is None else _find(run, runs_dir)
        if steps is not None and not isinstance(what, Config):
            _extend(what, steps, device, processes, console)

        from seqrev.workflows.train import Observer, train

        reporter = Reporter(steps_done)
        with console.progress("sequences") as rows:
            observer = Observer(reporter.start, rows.update, reporter, console.note, stop)
            summary = train(what, device, runs_dir, observer, processes, theme)
    if tensorboard:
        console.note(f"TensorBoard: {export(summary.run)}")
    _report(console, summary, trained=reporter.tokens > 0)
    task = summary.run.config().task
    console.note("Next: " + command_line("decode", "--run", summary.run, *example_sequence(task.symbols, task.max_length)))


def _find(spec: str, runs_dir: Path | None) -> "Run":
    from seqrev.runs.finding import find_run
    from seqrev.runs.folders import Run

    return find_run(spec, runs_dir, Run.has_config, "a configuration")


def _extend(run: "Run", steps: int, device: str, processes: Processes, console: Console) -> None:
    """Plan more steps, if the training can go on here at all."""
    from seqrev.training.state import check_fits

    planned = run.config().train.steps
    check_fits(run.config(), device, processes)
    run.extend(steps)
    console.note(
        f"Note: the learning rate so far was that of a training of {planned:,} steps. A training of {steps:,} from the "
        "start would not give the same weights."
    )


def _report(console: Console, summary: "TrainingSummary", trained: bool) -> None:
    """How it ended, for people or as JSON."""
    run, steps, score = summary.run, summary.steps, summary.anti_diagonal
    result = {name: getattr(summary.validation, name) for name in ("exact_match", "token_accuracy", "loss")}
    seconds, train = summary.validation.seconds, run.config().train
    if steps < train.steps:
        ended = f"the exact match has reached train.stop_at ({train.stop_at:g}) at step {steps:,} of {train.steps:,}."
        console.note(f"Note: {ended if trained else f'nothing was left to train, {ended}'}")
    elif not trained:
        more = command_line("train", "--run", run, "--steps", 2 * steps)
        console.note(f"Note: nothing was left to train, all {steps:,} steps were done. To go on: {more}")
    console.line(f"{run}: {steps:,} steps in {seconds:.0f} s")
    text = "validation: exact match {exact_match:.4f}, token accuracy {token_accuracy:.4f}, loss {loss:.2g}"
    console.data(text.format(**result))
    name = alignment_name(run.config().task.rule)
    if not math.isnan(score.mass):
        console.data(f"{name} (head mean, test sequences): {score.describe()}")
    _advise(console, run, result["exact_match"])
    if summary.pictures:
        console.line("pictures: " + ", ".join(map(str, summary.pictures)))
    console.document({"run": str(run), "steps": steps, "validation": result, "seconds": seconds})


def _advise(console: Console, run: "Run", exact_match: float) -> None:
    """Say what is known to help a rule whose first symbol out is not the last one in."""
    rule, model = run.config().task.rule, run.config().model
    if exact_match < LOW and rule != "reverse" and (model.positions, model.source_from) == ("rotary", "end"):
        from seqrev.workflows.train import from_the_start

        line = from_the_start(run, "--set model.source_from=both")
        console.note(f"Note: source positions are counted from the end here, which suits reverse; for {rule}, try {line}")


class Reporter:
    """Shows the events of a training as progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._steps = progress, 0
        self._loss = self._exact = ""
        self.tokens, self._first, self._began = 0, 0, 0.0

    def start(self, run: "Run") -> None:
        """The run is known."""
        self._progress.note(f"Run: {run}")
        self._steps = run.config().train.steps

    def __call__(self, event: Event) -> None:
        """A step was taken, or the model was validated."""
        if isinstance(event, Validation):
            exact = f"{event.exact_match:.3f}"
            self._exact = f"  exact {exact}"
            self._progress.note(f"step {event.step:,}: validation loss {event.loss:.4f}, exact match {exact}")
            return
        if not self.tokens:  # the clock starts with the first step, whose tokens do not count for the rate
            self._began, self._first = time.perf_counter(), event.tokens
        self.tokens += event.tokens
        rate = (self.tokens - self._first) / max(time.perf_counter() - self._began, 1e-9)
        if not math.isnan(event.loss):  # it was read
            self._loss = f"loss {event.loss:.4f}"
        details = f"{self._loss}{self._exact}  lr {event.lr:.1e}  {rate:,.0f} tokens/s"
        self._progress.update(event.step, self._steps, details)
