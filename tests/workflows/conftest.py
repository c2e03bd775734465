"""Fixtures: a short training, and one without its pictures."""

import pytest

from seqrev.runs.folders import Run
from seqrev.workflows.train import train
from tests.workflows.training import fresh


@pytest.fixture(scope="package")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training from beginning to end, to compare with."""
    run = fresh(tmp_path_factory.mktemp("uninterrupted"))
    train(run, "cpu")
    return run


@pytest.fixture
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these trainings; the pictures of ``uninterrupted`` are real."""
    request.getfixturevalue("uninterrupted")
    monkeypatch.setattr("seqrev.plotting.export.save_figure", lambda figure, path: None)
