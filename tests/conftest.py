"""Fixtures: the command line in an empty folder, and one tiny run that was really trained."""

import shutil
import signal
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from seqrev.plotting import export
from seqrev.runs.folders import Run
from seqrev.system.signals import STOP_SIGNALS
from tests.helpers import Cli, run_main, settings


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """Whoever starts the tests in the background may have had signals ignored; the program would respect that."""
    for signum in STOP_SIGNALS:
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny run, trained by the command line. Do not damage it: use ``own_run``."""
    runs_dir = tmp_path_factory.mktemp("trained") / "runs"
    result = run_main("train", *settings(), "--runs-dir", runs_dir)
    assert result.code == 0, result.err
    return Run(runs_dir / "001")


@pytest.fixture
def own_run(trained_run: Run, cli: Cli) -> Run:
    """A copy of the trained run in ``runs/001`` of the current folder, to be damaged."""
    del cli  # which makes a new folder the current one
    path = Path.cwd() / "runs" / "001"
    shutil.copytree(trained_run.path, path)
    return Run(path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training draws of itself takes longer than a tiny training: its pictures are empty files."""
    save = export.save_figure

    def save_all_but(figure: Figure, path: Path) -> None:
        if path.name in ("loss.png", "attention.png"):
            path.touch()
        else:
            save(figure, path)

    monkeypatch.setattr(export, "save_figure", save_all_but)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in-process, in an empty current folder."""
    for name in ("SEQREV_RUNS", "SEQREV_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return run_main
