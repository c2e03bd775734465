"""The fast tier of ``tests.torture``; ``make torture`` runs the long one."""

import pytest

from tests.torture import SUBJECTS


@pytest.mark.parametrize("name", SUBJECTS)
def test_torture(name: str) -> None:
    print(SUBJECTS[name]("fast", 0))
