"""What the subjects of ``tests.torture`` share."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Size = Literal["fast", "long"]


@dataclass(frozen=True)
class Outcome:
    """What a subject did, when nothing was wrong."""

    count: int
    """How many cases."""
    what: str
    """Of what, and of which kinds, in a few words."""


Subject = Callable[[Size, int], Outcome]
"""Takes a size and a seed; raises AssertionError, with the case in its message, where a promise is broken."""


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for a while; in memory where the system has such a folder: the calls are what is tested, not the disk."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
