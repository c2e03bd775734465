"""A short training."""

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
