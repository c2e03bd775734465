"""A fault of the safety code, put in on purpose."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Mutant(NamedTuple):
    """The program with one of its precautions taken out."""

    name: str
    target: str
    """What is replaced, by its full name."""
    change: Callable[[Any], Any]
    """From the original to its replacement."""
    test: str
    """The function that must fail."""


class Altered:
    """A module, as one other module sees it, in which some names have other values."""

    def __init__(self, module: Any, **changes: Any) -> None:
        self._module = module
        vars(self).update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
