"""``seqrev sweep``: train variants with several seeds as ordinary runs, and compare them at several lengths."""

import csv
import io
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqrev.api.reverser import Reverser, load
from seqrev.data.sampling import fresh_sequences
from seqrev.errors import InputError, SeqrevError, TrainingError
from seqrev.runs.folders import default_runs_dir
from seqrev.system.files import atomic_write, read_regular, storage_errors
from seqrev.system.text import mean_and_range
from seqrev.training.state import check_fits
from seqrev.workflows.evaluate import Advance, run_of
from seqrev.workflows.sweep_plan import Member, Planned, RunsByConfig, Sweep
from seqrev.workflows.train import Observer, train

if TYPE_CHECKING:
    from seqrev.plotting.style import ThemeName

LARGEST_RESULTS = 100_000_000  # bytes
MOST_SEEDS_NAMED = 10  # in a title


@dataclass(frozen=True)
class Result:
    """One row of ``results.csv``: a model, free-running, at one length."""

    variant: str
    seed: int
    rule: str
    run: str
    step: int
    """Of the checkpoint that was evaluated, the best of the run."""
    length: int
    sequences: int
    exact: int
    exact_match: float
    low: float | None
    high: float | None
    """The 95 % interval of the exact match; None, as the token accuracy is, where nothing was asked."""
    token_accuracy: float | None
    asked: bool
    """False: the model had nothing right at a shorter length; this one counts as zero."""
    checkpoint: str
    """The SHA-256 of the checkpoint: another one is evaluated anew."""


@dataclass(frozen=True)
class SweepOutcome:
    """What a sweep has found, and where it is."""

    results: list[Result]
    failures: list[Member]
    """Whose training cannot go on; there are no results of them."""
    csv: Path
    table: Path | None
    plot: Path | None
    """None: every training failed, or it could not be drawn."""
    not_drawn: SeqrevError | None = None
    """Why not."""


def sweep(
    what: Sweep,
    runs_dir: str | Path | None = None,
    out: Path | None = None,
    device: str = "auto",
    observe: Callable[[int, Planned], Observer] = lambda index, planned: Observer(),
    advance: Advance = lambda done, total, details: None,
    theme: "ThemeName" = "paper",
) -> SweepOutcome:
    """Train what is not there, evaluate what was not evaluated, and write results, table and picture.

    A run of the same configuration that is done is taken as it is, one that is not done is continued. What is known of a
    checkpoint at a length is taken from the results that are there. ``runs_dir`` and ``device`` are as in ``train``.

    Args:
        what: from ``read_sweep``.
        out: folder of the results; None: ``sweep-NAME`` in ``runs_dir``, which is not the name of a run.
        observe: called with the number of a member, from 0, and the plan for it: who is told about its training.
        advance: called after each length, with how many are done of how many, and how it went.
        theme: of all pictures.

    Raises:
        InputError: a run, or the results that are there, cannot be used.
        UsageError, StorageError, Interrupted: as ``train`` raises them; the same call goes on from there.
    """
    for member in what.members[: len(what.members) // len(what.seeds)]:  # those of other seeds have the same shape
        check_fits(member.config, device)
    path = (out or results_folder(what, runs_dir)) / "results.csv"
    before = _read(path) if path.exists() else []
    _write(path, before)  # or nothing is trained of which the results cannot be kept
    known = {(row.checkpoint, row.length, row.sequences): row for row in before if row.asked}
    runs = RunsByConfig(runs_dir)
    results, failures = list[Result](), list[Member]()
    for index, member in enumerate(what.members):
        observer = observe(index, planned := runs.plan(member))
        try:
            run = planned.done or train(planned.started or member.config, device, runs_dir, observer, theme=theme).run
        except TrainingError as error:
            failures.append(member)
            observer.on_warning(f"{member}: {error}")
            continue
        runs.add(member.config, run)
        for done, row in enumerate(_measure(load(run, device), member, what, known), start=1):
            results.append(row)
            known[row.checkpoint, row.length, row.sequences] = row
            replaced = set(map(_place, results))
            _write(path, [*results, *(old for old in before if _place(old) not in replaced)])
            advance(done, len(what.lengths), f"length {row.length:,}: exact match {row.exact_match:.3f}")
    _write(path, results)
    return _compare(what, SweepOutcome(results, failures, path, None, None), theme)


def _compare(what: Sweep, outcome: SweepOutcome, theme: "ThemeName") -> SweepOutcome:
    """Write the table, and draw it."""
    if not outcome.results:
        return outcome
    folder = outcome.csv.parent
    outcome = replace(outcome, table=_write_table(what, outcome.results, folder / "results.md"))
    try:
        return replace(outcome, plot=_draw_table(what, outcome.results, folder / "results.png", theme))
    except SeqrevError as error:
        return replace(outcome, not_drawn=error)


def results_folder(what: Sweep, runs_dir: str | Path | None) -> Path:
    """Where the results go if nobody says where."""
    return (default_runs_dir() if runs_dir is None else Path(runs_dir)) / f"sweep-{what.path.stem}"


def _place(row: Result) -> tuple[str, str, int, int]:
    return row.variant, row.rule, row.seed, row.length


def _measure(model: Reverser, member: Member, what: Sweep, known: dict[tuple[str, int, int], Result]) -> Iterator[Result]:
    """A row for each length, from the shortest; after one where nothing is right, no more is asked."""
    run, checkpoint = run_of(model), model.checkpoint
    assert checkpoint is not None
    names, of = (member.variant, member.seed, member.rule, str(run), checkpoint.step), checkpoint.sha256
    asked = True
    for length in what.lengths:
        if not asked:
            yield Result(*names, length, 0, 0, 0.0, None, None, None, False, of)
            continue
        sequences = fresh_sequences(length, what.sequences, member.config)
        found = known.get((of, length, len(sequences)))
        if found is None:
            counts = model.evaluate(sequences).overall
            shares = (counts.exact_match, *counts.interval, counts.token_accuracy)
            row = Result(*names, length, len(sequences), counts.exact, *shares, True, of)
        else:
            row = Result(*names, *astuple(found)[len(names) :])
        asked = row.exact > 0
        yield row


def _write(path: Path, results: Sequence[Result]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in fields(Result)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(row), "asked": str(row.asked).lower()} for row in results)
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, text.getvalue().encode())


def _read(path: Path) -> list[Result]:
    """The rows of an earlier sweep; those that are damaged are left out, and so measured again."""
    try:
        text = read_regular(path, LARGEST_RESULTS, "the results of a sweep").decode()
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if rows.fieldnames != [column.name for column in fields(Result)]:
            raise csv.Error
        return [result for row in rows if (result := _parse(row)) is not None]
    except (UnicodeDecodeError, csv.Error):
        problem = f"{path} does not hold the results of a sweep, and is not written over; another folder was expected."
        raise InputError(problem, shlex.join(("--out", f"{path.parent}-2"))) from None


def _parse(row: dict[str, str]) -> Result | None:
    read: dict[object, Callable[[str], object]] = {
        str: str,
        int: int,
        bool: {"true": True, "false": False}.__getitem__,
        float: float,
        float | None: lambda text: float(text) if text else None,
    }
    with suppress(ValueError, TypeError, KeyError):
        values: dict[str, Any] = {column.name: read[column.type](row[column.name]) for column in fields(Result)}
        shares = [value for value in values.values() if isinstance(value, float)]
        if all(0 <= share <= 1 for share in shares) and 0 <= values["exact"] <= values["sequences"]:
            return Result(**values)
    return None


def by_row(what: Sweep, results: Sequence[Result]) -> dict[str, list[list[float]]]:
    """By variant, with its rule where there are several: at each length the exact match of each seed.

    Where the training failed with some of the seeds, the name says how many there are.
    """
    several = len({member.rule for member in what.members}) > 1
    cells: dict[tuple[str, str], list[list[float]]] = {}
    for member in what.members:
        cells[member.variant, member.rule] = [[] for _ in what.lengths]
    for result in results:
        cells[result.variant, result.rule][what.lengths.index(result.length)].append(result.exact_match)
    rows: dict[str, list[list[float]]] = {}
    for (variant, rule), of_lengths in cells.items():
        missing = len(what.seeds) - len(of_lengths[0])
        name = (f"{rule}: " if several else "") + variant
        rows[name + (f" ({missing} of {len(what.seeds)} seeds failed)" if missing else "")] = of_lengths
    return rows


def _title(what: Sweep) -> str:
    tasks = {(member.config.task.min_length, member.config.task.max_length) for member in what.members}
    trained = f"trained on lengths {' or '.join(f'{low} to {high}' for low, high in sorted(tasks))}"
    seeds = ", ".join(map(str, what.seeds)) if len(what.seeds) <= MOST_SEEDS_NAMED else f"{len(what.seeds):,} of them"
    return f"exact match by length; {trained}, seeds: {seeds}"


def _write_table(what: Sweep, results: Sequence[Result], path: Path) -> Path:
    """Mean over the seeds, and where they differ the smallest and the largest, as Markdown."""
    caption = f"E{_title(what)[1:]}; {what.sequences} sequences of each length, the mean of the seeds (and the range)."
    heading = "| variant | " + " | ".join(f"{length:,}" for length in what.lengths) + " |"
    lines = [caption, "", heading, "|---" * (len(what.lengths) + 1) + "|"]
    for name, cells in by_row(what, results).items():
        lines.append(f"| {name.replace('|', '&#124;')} | " + " | ".join(map(mean_and_range, cells)) + " |")
    atomic_write(path, ("\n".join(lines) + "\n").encode())
    return path


def _draw_table(what: Sweep, results: Sequence[Result], path: Path, theme: "ThemeName") -> Path:
    """The same as a picture."""
    from seqrev.plotting import export  # here, for it imports Matplotlib

    with export.picture_errors():
        from seqrev.plotting.tables import shaded_table

        export.save_figure(shaded_table(by_row(what, results), what.lengths, _title(what), theme=theme), path)
    return path
