"""The tests that try to break what is promised: ``python -m tests.torture``. See ``docs/reliability.md``."""

from tests.torture.common import Subject
from tests.torture.faults import faults
from tests.torture.kills import kills
from tests.torture.signals import signals

SUBJECTS: dict[str, Subject] = {
    "kills": kills,
    "faults": faults,
    "signals": signals,
}
