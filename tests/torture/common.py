"""What the subjects of ``tests.torture`` share."""

from collections.abc import Callable
from dataclasses import dataclass
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
