"""The tests that try to break what is promised: ``python -m tests.torture``. See ``docs/reliability.md``."""

from tests.torture.common import Subject
from tests.torture.faults import faults

SUBJECTS: dict[str, Subject] = {
    "faults": faults,
}
