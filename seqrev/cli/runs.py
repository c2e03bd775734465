"""``seqrev runs``: what is in the runs folder?"""

from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from seqrev.cli.console import Console
from seqrev.cli.help import described
from seqrev.cli.options import Json, RunsDir, Theme
from seqrev.cli.tables import align, fit, fits, in_lines
from seqrev.errors import SeqrevError, UsageError, command_line
from seqrev.runs.folders import default_runs_dir

if TYPE_CHECKING:
    from seqrev.workflows.runs import RunSummary


@described(
    "List the runs, and in what they differ.",
    "How far they are, how good, and of the configuration the fields in which the listed runs are not all equal.",
)
def command(
    runs: Annotated[list[str] | None, Argument(metavar="RUN", help="Only these: 3, 003 or runs/003.")] = None,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="Draw their losses and exact match as well: .png, .svg or .pdf.")
    ] = None,
    theme: Theme = "paper",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    if out is None and theme != "paper":
        raise UsageError("--theme goes with --out, which draws.", "seqrev runs --out losses.png --theme slide")
    if out is not None:
        from seqrev.plotting.export import check_format

        check_format(out)
    from seqrev.workflows.runs import differences, draw_trainings, summarize_runs

    console = Console(json)
    found = summarize_runs(runs or (), runs_dir)
    fields = differences(found)
    if found:
        _print(console, found, fields)
    else:
        folder = () if runs_dir is None else ("--runs-dir", runs_dir)
        line = command_line("train", "--config", "small", *folder)
        console.note(f"There is no run in {runs_dir or default_runs_dir()} yet: {line}")
    document: dict[str, Any] = {"runs": [_document(summary, fields) for summary in found]}
    if out is not None:
        document["out"] = None
        try:
            drawn = draw_trainings(found, out, theme)
        except SeqrevError:
            console.document(document)
            raise
        if missing := [str(summary.run) for summary in found if summary.run not in drawn]:
            console.note(f"Note: without metrics, and so not in the picture: {', '.join(missing)}")
        console.line(f"picture: {out}")
        document["out"] = str(out)
    console.document(document)


def _print(console: Console, found: "list[RunSummary]", fields: list[str]) -> None:
    """The differences as columns, or, where the terminal is too narrow, as words; then what is wrong, run by run."""
    columns = {"run": "<", "status": "<", "step": "", "exact match": "", "began": "<"}
    names = {field: field.rpartition(".")[2] for field in fields}
    headings = [name if list(names.values()).count(name) == 1 else field for field, name in names.items()]
    rows = [_cells(summary) for summary in found]
    values = [[summary.value(field) for field in fields] for summary in found]
    lines = align(columns | dict.fromkeys(headings, ""), [[*row, *cells] for row, cells in zip(rows, values, strict=True)])
    if not fits(lines):
        heading, *lines = fit(columns, rows, ["began"])
        words = [[f"{field}={value}" for field, value in zip(fields, cells, strict=True)] for cells in values]
        below = chain.from_iterable((line, *in_lines(text, "     ")) for line, text in zip(lines, words, strict=False))
        lines = [heading, *below, *lines[len(rows) :]]
    for line in lines:
        console.line(line)
    for summary in found:
        if summary.problems:
            console.line(f"{summary.run}: {' '.join(summary.problems)}")


def _cells(summary: "RunSummary") -> list[str]:
    exact = "-" if summary.exact_match is None else f"{summary.exact_match:.4f}"
    step, steps = ("-" if number is None else f"{number:,}" for number in (summary.step, summary.steps))
    return [summary.run.path.name, summary.status, f"{step}/{steps}", exact, _short(summary.began)]


def _short(time: str | None) -> str:
    """A time in UTC as that of the reader's clock: ``26 Nov 03:10``."""
    try:
        return datetime.fromisoformat(time or "").astimezone().strftime("%d %b %H:%M")
    except (ValueError, OverflowError):
        return "-"


def _document(summary: "RunSummary", fields: list[str]) -> dict[str, Any]:
    names = ("status", "step", "steps", "exact_match", "began")
    differs = {field: summary.config[field] for field in fields if summary.config}
    known = {name: getattr(summary, name) for name in names}
    return {"run": str(summary.run), **known, "differs": differs, "problems": list(summary.problems)}
