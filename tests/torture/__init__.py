"""The tests that try to break what is promised: ``python -m tests.torture``. See ``docs/reliability.md``."""

from tests.torture.common import Subject
from tests.torture.corpus import corpus
from tests.torture.damage import damage
from tests.torture.faults import faults
from tests.torture.fuzz import fuzz
from tests.torture.kills import kills
from tests.torture.mutants import mutants
from tests.torture.order import order
from tests.torture.signals import signals
from tests.torture.starts import starts
from tests.torture.trace import trace

SUBJECTS: dict[str, Subject] = {
    "kills": kills,
    "faults": faults,
    "trace": trace,
    "damage": damage,
    "signals": signals,
    "starts": starts,
    "order": order,
    "fuzz": fuzz,
    "corpus": corpus,
    "mutants": mutants,
}
