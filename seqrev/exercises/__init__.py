"""Exercises about how Transformers work, with answers that check themselves; for the guide, a notebook or a terminal.

>>> from seqrev import exercises
>>> exercises.show(1)
Exercise 1. Attention by hand
<BLANKLINE>
A query and two keys have d_head = 4 numbers each. The dot product of the query with
the first key is 0, with the second 2 ln 3 = 2.197. The value of the first key is 10,
that of the second 50. What does attention return?
>>> exercises.check(1, 46)
Not yet. That is without the root: a score is the dot product over √d_head.

The right answers are computed when they are checked, from the package and the model that ships with it.
"""

from typing import Any

import torch

from seqrev.errors import UsageError
from seqrev.exercises import attention, inside, model
from seqrev.exercises.exercise import Exercise, Unusable, Verdict, wrong
from seqrev.system.threads import limit_threads

__all__ = ["check", "hint", "show"]

EXERCISES = [*attention.EXERCISES, *model.EXERCISES, *inside.EXERCISES]


def show(number: int | None = None) -> None:
    """Print the question of an exercise; without a number, the titles of all.

    Raises:
        UsageError: there is no such exercise.
    """
    if number is None:
        print(*(f"{number}. {exercise.title}" for number, exercise in enumerate(EXERCISES, start=1)), sep="\n")
    else:
        print(_exercise(number).show(number))


def hint(number: int) -> None:
    """Print a hint that does not give the answer away.

    Raises:
        UsageError: there is no such exercise.
    """
    print(_exercise(number).hint)


def check(number: int, answer: Any = ...) -> Verdict:
    """Whether an answer is right, and if not, what is wrong with it. A learner's own function may raise anything.

    Raises:
        UsageError: there is no such exercise.
    """
    exercise = _exercise(number)
    if answer is ... or answer is None:
        return wrong(f"Your answer goes in place of the dots; exercises.hint({number}) helps.")
    try:
        # The same everywhere, and the random numbers of a notebook do not depend on it:
        with torch.random.fork_rng(devices=[]), limit_threads(1), torch.device("cpu"):
            return exercise.check(answer)
    except Unusable as error:
        return wrong(str(error))


def _exercise(number: int) -> Exercise:
    if not isinstance(number, int) or number not in range(1, len(EXERCISES) + 1):
        raise UsageError(f"There is no exercise {number!r}: they are 1 to {len(EXERCISES)}.", "exercises.show()")
    return EXERCISES[number - 1]
