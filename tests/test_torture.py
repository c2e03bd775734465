"""The fast tier of ``tests.torture``; ``make torture`` runs the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import child_environment
from tests.torture import SUBJECTS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", SUBJECTS)
def test_nothing_breaks(name: str) -> None:
    """In a process of its own: the subjects fork, which a process with threads should not."""
    command = [sys.executable, "-m", "tests.torture", name, "--size", "fast", "--seed", "0"]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
