"""What decoding with a beam takes is what is asked for before it begins."""

import subprocess
import sys

from tests.helpers import child_environment

SYMBOLS, BEAM = 60_000, 300
GROWTH = f"""
import resource
from seqrev.inference.batching import beam_bytes
from seqrev.inference.search import decode
from tests.inference.models import random_model

model = random_model(0, symbols={SYMBOLS}, max_positions=5).float()
decode(model, [[1, 2]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(model, [[1, 2]], {BEAM})
print(beam_bytes(model, {BEAM}, 4, 5), 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def test_a_beam_takes_about_as_much_memory_as_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=child_environment(), timeout=600
    )
    asked, taken = map(int, done.stdout.split())
    assert asked > 8 * SYMBOLS * BEAM
    assert 0.7 * asked < taken < 1.4 * asked
