"""Which run is meant: a path, a number, the latest, or the one that is part of the package."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from seqrev.errors import InputError, command_line
from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.folders import PRETRAINED, Run, default_runs_dir
from seqrev.system.files import is_file, is_forbidden
from seqrev.system.text import shorten


def pretrained_run(runs_dir: Path) -> Run:
    """The run that is part of the package. What is made of it goes to ``runs_dir``/pretrained."""
    return Run(Path(__file__).parent.parent / PRETRAINED, runs_dir / PRETRAINED)


def find_run(
    spec: str | None, runs_dir: Path | None, predicate: Callable[[Run], bool], what: str, or_pretrained: bool = False
) -> Run:
    """The run that the user means: a path (``runs/001``), a number (``001``, ``1``), or the latest (``latest``, None).

    Or ``pretrained``, the one that is part of the package; ``or_pretrained``: that one, where neither a run nor a folder of
    runs was named, and there is no run. The ``predicate`` must be true of the run, and ``what`` names that in the error, as
    in "a usable checkpoint".

    Raises:
        InputError: there is no such run, or it lacks that, or is of another version.
    """
    or_pretrained = or_pretrained and spec is None and runs_dir is None and not os.environ.get("SEQREV_RUNS")
    runs_dir = default_runs_dir() if runs_dir is None else runs_dir
    if spec == PRETRAINED:
        return pretrained_run(runs_dir)
    if spec is None or spec == "latest":
        return _latest(runs_dir, predicate, what, or_pretrained)
    run = named_run(spec, runs_dir)
    if not is_file(run.record.path):
        raise _no_run(run, runs_dir, predicate)
    run.check()
    if not predicate(run):
        damaged: list[str] = []
        list_checkpoints(run.checkpoints, damaged)  # from which no training goes on
        words = ("--config", f"{run}/config.yaml") if damaged else ("--run", run)
        raise InputError(f"{run} does not have {what}.", command_line("train", *words))
    return run


def _latest(runs_dir: Path, predicate: Callable[[Run], bool], what: str, or_pretrained: bool) -> Run:
    """The newest that is not damaged."""
    runs, problems = _newest_first(runs_dir), []
    if not runs and or_pretrained:
        return pretrained_run(runs_dir)
    for run in runs:
        try:
            if predicate(run):
                run.check()
                return run
        except InputError as error:
            problems.append(error)
    if problems:
        raise problems[0]
    hint = "the same command with --run pretrained" if or_pretrained else ""
    raise InputError(f"No run in {runs_dir} has {what}.", hint)


def _no_run(run: Run, runs_dir: Path, predicate: Callable[[Run], bool]) -> InputError:
    """That there is none at this place, or none that may be read; and others that would serve."""
    problem, hint, others = f"{shorten(str(run), 80)} is not a run folder: there is no run.json in it.", "", list[str]()
    if is_forbidden(run.record.path):
        problem = f"{shorten(str(run.record.path), 80)} may not be read: Permission denied."
        hint = f"make {run} a folder that you may read"
    with suppress(InputError):  # the folder of all runs need not be readable
        others = [run.path.name for run in _newest_first(runs_dir) if _serves(run, predicate)]
    if others:
        problem += f" The newest in {runs_dir}: {', '.join(others[:5])}."
        hint = f"the same command with --run {others[0]}"
    return InputError(problem, hint)


def _serves(run: Run, predicate: Callable[[Run], bool]) -> bool:
    with suppress(InputError):  # a folder that may not be read
        return predicate(run)
    return False


def named_run(spec: str, runs_dir: Path) -> Run:
    """The run of a number or a path, whatever is there."""
    return Run(runs_dir / f"{int(spec):03d}" if re.fullmatch("[0-9]{1,9}", spec) else spec)


def numbered_runs(runs_dir: Path) -> list[Run]:
    """Every numbered folder, in order, whatever is in it; raise ``InputError`` if ``runs_dir`` cannot be read."""
    try:
        runs = [Run(path) for path in runs_dir.iterdir() if re.fullmatch("[0-9]{3,9}", path.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        problem = f"{runs_dir} is not a folder that can be read: {error.strerror}; a folder of runs was expected."
        hint = "--runs-dir runs" if runs_dir != Path("runs") else "the same command with --runs-dir FOLDER, another one"
        raise InputError(problem, hint) from None
    return sorted(runs, key=lambda run: int(run.path.name))


def _newest_first(runs_dir: Path) -> list[Run]:
    return [run for run in reversed(numbered_runs(runs_dir)) if is_file(run.record.path)]
