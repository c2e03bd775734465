"""``seqrev sweep``: train variants with several seeds, and compare them."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from seqrev.cli.console import Console
from seqrev.cli.help import described
from seqrev.cli.options import Device, Json, RunsDir, Theme, ThemeName
from seqrev.cli.train import Reporter
from seqrev.errors import TrainingError, UsageError, command_line
from seqrev.system.signals import Interrupted, stop_requests
from seqrev.system.text import mean_and_range

if TYPE_CHECKING:
    from seqrev.workflows.sweep import SweepOutcome
    from seqrev.workflows.sweep_plan import Member, Planned, Sweep
    from seqrev.workflows.train import Observer


@described(
    "Train variants with several seeds, and compare them by length.",
    "Each is an ordinary run. What is there already is not done again: the same command goes on where it was stopped.",
)
def command(
    file: Annotated[Path, Argument(metavar="FILE", help="What to compare: a YAML file, or ablation or rules.")],
    out: Annotated[
        Path | None, Option(metavar="FOLDER", help="Of the results; left out: sweep-NAME in the runs folder.")
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Only list what would be trained.")] = False,
    theme: Theme = "paper",
    device: Device = "auto",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    from seqrev.workflows.sweep_plan import RunsByConfig, read_sweep

    console = Console(json)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            "A sweep trains one model after the other, each in one process.", "the same command without torchrun"
        )
    what = read_sweep(file)
    if dry_run:
        runs = RunsByConfig(runs_dir)
        _list(console, what, [runs.plan(member) for member in what.members])
        return
    options = [("--out", out), ("--runs-dir", runs_dir), ("--device", device if device != "auto" else None)]
    options.append(("--theme", theme if theme != "paper" else None))
    again = ["sweep", str(file), *(word for name, value in options if value for word in (name, str(value)))]
    try:
        outcome = _sweep(console, what, runs_dir, out, device, theme)
    except Interrupted as stopped:
        stopped.hint = command_line(*again)
        raise
    _report(console, what, outcome)
    if outcome.not_drawn is not None:
        console.not_drawn(outcome.not_drawn, command_line(*again))
    if outcome.failures:
        failed = "; ".join(map(str, outcome.failures))
        raise TrainingError(f"{len(outcome.failures)} of {len(what.members)} trainings failed: {failed}.", "seqrev runs")


def _sweep(
    console: Console, what: "Sweep", runs_dir: Path | None, out: Path | None, device: str, theme: ThemeName
) -> "SweepOutcome":
    """Run it, with what happens on stderr."""
    from seqrev.workflows.sweep import sweep
    from seqrev.workflows.train import Observer

    with (
        stop_requests() as stop,
        console.progress("steps") as steps,
        console.progress("sequences") as rows,
        console.progress("lengths") as lengths,
    ):

        def observe(index: int, planned: "Planned") -> "Observer":
            """Say which training is next, and show how far it is."""
            done = f": {planned.done} is done" if planned.done else ""
            console.note(f"{index + 1} of {len(what.members)}: {planned.member}{done}")
            reporter = Reporter(steps)
            return Observer(reporter.start, rows.update, reporter, console.note, stop)

        def advance(done: int, total: int, details: str) -> None:
            steps.close()  # of a training that ended early
            lengths.update(done, total, details)

        return sweep(what, runs_dir, out, device, observe, advance, theme)


def _list(console: Console, what: "Sweep", plans: "list[Planned]") -> None:
    """What would be trained."""
    named = [(one.status, one.run and str(one.run), one.member) for one in plans]
    rows = [(status, run or "-", member.seed, member.rule, member.variant) for status, run, member in named]
    console.table({"status": "<", "run": "<", "seed": "", "rule": "<", "variant": "<"}, rows, ["run", "rule"])
    known = [{**_names(member), "run": run, "status": status} for status, run, member in named]
    console.document({"sweep": str(what.path), "members": known})


def _names(member: "Member") -> dict[str, Any]:
    return {"variant": member.variant, "seed": member.seed, "rule": member.rule}


def _report(console: Console, what: "Sweep", outcome: "SweepOutcome") -> None:
    """The table, and where the files are."""
    from seqrev.workflows.sweep import by_row

    columns = {"variant": "<", **{f"{length:,}": "<" for length in what.lengths}}
    cells = by_row(what, outcome.results)
    drop = list(columns)[1:-1]  # what short lengths show least is how the variants differ
    console.table(columns, [[name, *map(mean_and_range, shares)] for name, shares in cells.items()], drop)
    files = {"csv": outcome.csv, "table": outcome.table, "plot": outcome.plot}
    console.line("files: " + ", ".join(str(path) for path in files.values() if path))
    results = [asdict(row) for row in outcome.results]
    failed = [_names(member) for member in outcome.failures]
    paths = {name: path and str(path) for name, path in files.items()}
    console.document({"sweep": str(what.path), "results": results, "failed": failed, **paths})
