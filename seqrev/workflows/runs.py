"""``seqrev runs``: what is in the runs folder, and in which fields of their configurations the runs differ. No PyTorch."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqrev.errors import InputError
from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.finding import named_run, numbered_runs, pretrained_run
from seqrev.runs.folders import PRETRAINED, Run, default_runs_dir
from seqrev.runs.metrics import newest_events, read_metrics
from seqrev.runs.record import Record
from seqrev.system.files import is_folder
from seqrev.system.text import shorten

if TYPE_CHECKING:
    from seqrev.plotting.style import ThemeName

STATUSES = ("opened", "generated", "running", "interrupted", "failed", "done")


@dataclass(frozen=True)
class RunSummary:
    """What is known of a run; None: that is not known."""

    run: Run
    status: str = "damaged"
    """That of ``run.json``; ``crashed``: it says running, and nobody is at work; ``damaged``: it cannot be read."""
    step: int | None = None
    steps: int | None = None
    """Steps taken, as far as they were written to disk, and planned."""
    exact_match: float | None = None
    """Of the newest validation that is over."""
    began: str | None = None
    """When it was opened: UTC, ISO 8601."""
    config: dict[str, Any] = field(default_factory=dict)
    """The configuration, by dotted names."""
    problems: tuple[str, ...] = ()
    """A sentence for each part that is damaged or missing."""

    def value(self, field: str) -> str:
        """That of a field of the configuration, as ``--set`` takes it; ``-``: there is none."""
        if field not in self.config:
            return "-"
        value = self.config[field]
        return value if isinstance(value, str) else json.dumps(value)


def summarize_runs(specs: Sequence[str] = (), runs_dir: str | Path | None = None) -> list[RunSummary]:
    """Summaries of the runs that are named, as numbers or paths, or else of all in a folder, in the order of the numbers.

    ``runs_dir``: None: ``SEQREV_RUNS``, else ``runs``. Also works while the runs are trained, and of damaged ones.

    Raises:
        InputError: the folder cannot be read, or there is no folder of a run that was named.
    """
    folder = default_runs_dir() if runs_dir is None else Path(runs_dir)
    return [summarize(run) for run in ([_find(spec, folder) for spec in specs] if specs else numbered_runs(folder))]


def _find(spec: str, folder: Path) -> Run:
    numbered = numbered_runs(folder) if spec == "latest" else []
    run = numbered[-1] if numbered else pretrained_run(folder) if spec == PRETRAINED else named_run(spec, folder)
    if not is_folder(run.path):
        raise InputError(f"{shorten(str(run), 80)} is not a run folder.", "seqrev runs")
    return run


def summarize(run: Run) -> RunSummary:
    """What is known of one run, whatever is in its folder."""
    problems: list[str] = []
    known: dict[str, Any] = {}
    for part in (_of_record, _of_config, _of_training):
        try:
            known |= part(run, problems)
        except InputError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{error.filename or run} cannot be read: {error.strerror or error}.")
    step = known.pop("recorded_step", None)
    if step is not None:
        known["step"] = step
    return RunSummary(run, **known, problems=tuple(problems))


def _of_record(run: Run, _: list[str]) -> dict[str, Any]:
    """Status, and when it began."""
    record = Record(run.path).read()
    status, step, began = (record.get(name) for name in ("status", "step", "opened"))
    if status not in STATUSES:
        raise InputError(f"{run.record.path} is damaged: it does not say how the run is.")
    if status == "running" and not run.is_at_work():
        status = "crashed"
    known = {"recorded_step": step if type(step) is int else None}
    return {"status": status, "began": began if isinstance(began, str) else None, **known}


def _of_config(run: Run, _: list[str]) -> dict[str, Any]:
    """The configuration, and how many steps it plans."""
    config = run.config()
    return {"config": _flatten(config.model_dump()), "steps": config.train.steps}


def _of_training(run: Run, problems: list[str]) -> dict[str, Any]:
    """Step and exact match: of the metrics, or, if they are lost, of the newest checkpoints."""
    checkpoints = list_checkpoints(run.checkpoints, problems)
    events = newest_events(run.metrics)
    results = [found.validation for found in checkpoints if found.validation is not None]
    validation = events.get("validation") or (results[-1] if results else {})
    steps = [event["step"] for event in events.values()] + [found.step for found in checkpoints]
    return {"step": max(steps, default=0), "exact_match": validation.get("exact_match")}


def differences(summaries: Sequence[RunSummary]) -> list[str]:
    """The fields in which the configurations are not all equal, in their order; those that are not known do not count."""
    configs = [summary.config for summary in summaries if summary.config]
    return [name for name in (configs[0] if configs else ()) if any(config[name] != configs[0][name] for config in configs)]


def draw_trainings(summaries: Sequence[RunSummary], out: Path, theme: "ThemeName" = "paper") -> list[Run]:
    """Draw losses and exact match of several trainings in one picture: ``out``, a ``.png``, ``.svg`` or ``.pdf``.

    Each is named by its folder and the fields in which it differs, as far as there is room. Returns those that are drawn:
    which have metrics.

    Raises:
        UsageError: another suffix.
        InputError: none of them has metrics, or the file cannot be written.
        PictureError: the picture cannot be drawn.
    """
    from seqrev.plotting.export import check_format, picture_errors, save_figure  # here, for it imports Matplotlib

    check_format(out)
    fields, histories = differences(summaries), {}
    for summary in summaries:
        with suppress(InputError, PermissionError):
            rows = list(read_metrics(summary.run.metrics))
            words = [f"{name.rpartition('.')[2]}={summary.value(name)}" for name in fields if summary.config]
            if any(row.get("event") in ("train", "validation") for row in rows):
                histories[summary.run] = ([summary.run.path.name, *words], rows)
    if not histories:
        raise InputError("None of these runs has metrics that could be drawn; a run that was trained was expected.")
    with picture_errors():
        from seqrev.plotting.curves import compare_trainings, in_legend

        named = {in_legend(words): rows for words, rows in histories.values()}
        names = named if len(named) == len(histories) else {str(run): rows for run, (_, rows) in histories.items()}
        title = f"Training of {len(names)} runs" if len(names) > 1 else f"Training of {next(iter(histories))}"
        save_figure(compare_trainings(names, title, theme=theme), out)
    return list(histories)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by dotted names, in the order of the fields."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
