"""What decoding with a beam takes is what is asked for before it begins."""

import subprocess
import sys

import pytest

from tests.helpers import child_environment

SYMBOLS, BEAM = 60_000, 300
GROWTH = f"""
from pathlib import Path
from seqrev.inference.batching import beam_bytes
from seqrev.inference.search import decode
from tests.inference.models import random_model

def peak():  # getrusage has that of the parent, if it is larger
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

model = random_model(0, symbols={SYMBOLS}, max_positions=5).float()
decode(model, [[1, 2]])
before = peak()
decode(model, [[1, 2]], {BEAM})
print(beam_bytes(model, {BEAM}, 4, 5), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_beam_takes_about_as_much_memory_as_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=child_environment(), timeout=600
    )
    asked, taken = map(int, done.stdout.split())
    assert asked > 8 * SYMBOLS * BEAM
    assert 0.7 * asked < taken < 1.4 * asked
