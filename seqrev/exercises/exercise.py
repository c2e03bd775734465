"""What an exercise is, what a check says, and how answers are read and compared."""

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import numpy as np

from seqrev.system.text import printable


@dataclass(frozen=True)
class Verdict:
    """What a check says. It is true where the answer is right, and shows itself as one line."""

    right: bool
    message: str
    """Why the answer is right, or what is wrong with it."""

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'Right' if self.right else 'Not yet'}. {self.message}"


@dataclass(frozen=True)
class Exercise:
    """A question, a hint, and how an answer is checked. The right answer is computed, not written down."""

    title: str
    question: str
    hint: str
    check: Callable[[Any], Verdict]
    """Raises ``Unusable``."""

    def show(self, number: int) -> str:
        """Title and question, as they are printed."""
        return f"Exercise {number}. {self.title}\n\n{dedent(self.question).strip()}"


class Unusable(Exception):
    """An answer that cannot be compared: it is not of the kind that was asked for, or a function that fails."""


def right(message: str) -> Verdict:
    """The answer is right."""
    return Verdict(True, message)


def wrong(message: str) -> Verdict:
    """The answer is not right yet."""
    return Verdict(False, message)


def read_number(answer: Any) -> float:
    """A number, also from an array or a tensor of one."""
    try:
        number = math.nan if isinstance(answer, bool) else float(answer)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise Unusable("The answer is a number, such as 1.5.")
    return number


def read_integers(answer: Any, form: str) -> list[int]:
    """Whole numbers from a list, a tuple, a set, a range, an array or a tensor; ``form`` says what is expected."""
    values = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(values, Collection) or not all(isinstance(value, int | np.integer) for value in values):
        raise Unusable(f"The answer is {form}.")
    return [int(value) for value in values]


def call(function: Any, *arguments: Any) -> Any:
    """What a learner's function returns; it may raise anything."""
    if not callable(function):
        raise Unusable("The answer is a function: give its name, without calling it.")
    try:
        result = function(*arguments)
    except Exception as error:
        message = printable(str(error)).split("\n")[0]
        raise Unusable(f"Your function raised {type(error).__name__}{f': {message:.200}' if message else ''}.") from error
    if result is None:
        raise Unusable("Your function returns nothing.")
    return result


def compare_numbers(
    number: float, expected: float, mistakes: Mapping[str, float], why: str, tolerance: float = 0.01
) -> Verdict:
    """``mistakes``: what to say to one who has computed this number instead; ``tolerance`` is a share of the number."""
    if math.isclose(number, expected, rel_tol=tolerance):
        return right(why)
    for message, mistaken in mistakes.items():
        if math.isclose(number, mistaken, rel_tol=tolerance):
            return wrong(message)
    return wrong(f"{number:g} is too {'large' if number > expected else 'small'}.")


def compare_sets(found: Iterable[Hashable], expected: Iterable[Hashable], what: str, why: str) -> Verdict:
    """How far a list of ``what`` is from the right one, without giving it away; ``why`` is said if it is the right one."""
    one, other = set(found), set(expected)
    if one == other:
        return right(why)
    counts = {"right": one & other, "too many": one - other, "missing": other - one}
    return wrong(f"{what}: " + ", ".join(f"{len(some)} {kind}" for kind, some in counts.items()) + ".")
