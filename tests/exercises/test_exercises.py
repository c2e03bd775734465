"""Every exercise: the right answer is right, plausible wrong ones are told what is wrong, and no hint gives it away."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import seqrev
from seqrev import exercises
from seqrev.errors import UsageError


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    scores = query @ key.T / math.sqrt(query.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(-1) @ value


def naive_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    weights = (query @ key.T / math.sqrt(query.shape[-1])).exp() * mask
    return weights / weights.sum(-1, keepdim=True) @ value


def wrong_attention(change: Callable[[Tensor, Tensor], Tensor], root: float = 4.0) -> Callable[..., Tensor]:
    """Attention with other weights; ``change`` gets scores and mask."""
    return lambda query, key, value, mask: change(query @ key.T / root, mask) @ value


def stop_the_clock(weights: Tensor) -> Tensor:
    weights[:] = 0
    weights[..., 0] = 1
    return weights


def stop_heads_2_and_3(weights: Tensor) -> Tensor:
    weights[:, 1:3] = stop_the_clock(weights[:, 1:3])
    return weights


def fail(*_: object) -> Tensor:
    raise UsageError("no idea\nat all")


class Case(NamedTuple):
    right: list[Any]
    wrong: list[tuple[Any, str]]
    """With a part of what is said about it."""


LOW = -1e9
CASES = {
    1: Case(
        [40, 40.05, np.float64(40), torch.tensor([[40.0]])],
        [
            (46, "without the root"),
            (35.4, "not over d_head"),
            (50, "other key has a weight"),
            (30, "mean of both"),
            (20, "other way round"),
            (160, "sum to one"),
            (41, "too large"),
            (-1, "too small"),
            ("forty", "is a number"),
            (True, "is a number"),
            (math.nan, "is a number"),
            (10**400, "is a number"),
            (torch.ones(2), "is a number"),
        ],
    ),
    2: Case(
        [586.5, 600],
        [
            (8, "not linear"),
            (64, "d_head"),
            (1.37, "ratio of the weights"),
            (1 / 586.5, "inverse"),
            (73.3, "dot product"),
            (1000, "too large"),
        ],
    ),
    3: Case(
        [attention, naive_attention],
        [
            (
                wrong_attention(lambda scores, mask: scores.masked_fill(~mask, LOW).softmax(-1), 1.0),
                "not divided by the root",
            ),
            (wrong_attention(lambda scores, mask: scores.masked_fill(~mask, LOW).softmax(-1), 16.0), "not by its root"),
            (wrong_attention(lambda scores, mask: scores.softmax(-1)), "not used"),
            (wrong_attention(lambda scores, mask: scores.masked_fill(mask, LOW).softmax(-1)), "wrong way round"),
            (wrong_attention(lambda scores, mask: scores.softmax(-1) * mask), "after the softmax"),
            (wrong_attention(lambda scores, mask: (scores * mask).softmax(-1)), "e⁰ is 1"),
            (wrong_attention(lambda scores, mask: scores.masked_fill(~mask, LOW).softmax(0)), "over the queries"),
            (wrong_attention(lambda scores, mask: scores), "numbers are not"),
            (wrong_attention(lambda scores, mask: scores / 0), "no numbers"),
            (lambda query, key, value, mask: query, "[3, 16], not [3, 4]"),
            (lambda query, key, value, mask: 3, "returns int"),
            (lambda query: query, "raised TypeError: "),
            (fail, "raised UsageError: no idea."),
            (lambda *arguments: exec("raise LookupError"), "raised LookupError."),
            (5, "is a function"),
        ],
    ),
    4: Case(
        [[1, 2, 3, 4, 5], range(1, 6), np.arange(1, 6), {5, 4, 3, 2, 1}],
        [
            ([1, 4, 5], "after the first layer"),
            ([4, 5], "with the right mask"),
            ([5], "residual path"),
            ([1, 2, 7], "2 right, 1 too many, 3 missing"),
            ([], "0 right"),
            ("45", "list of steps"),
            (4, "list of steps"),
            ([1.5], "list of steps"),
        ],
    ),
    5: Case(
        [[[2, 4], []], ((4, 2), ())],
        [
            ([[2, 4], [1, 3]], "how many tokens"),
            ([[], []], "0 right, 0 too many, 2 missing"),
            ([[0, 5], []], "2 too many"),
            ([2, 4], "two lists"),
            ([[2, 4]], "two lists"),
            (7, "two lists"),
        ],
    ),
    6: Case(
        [66_752, torch.tensor(66_752)],
        [
            (49_984, "encoder layer"),
            (66_368, "normalisations are missing"),
            (65_920, "biases of the linear layers"),
            (65_536, "biases and the layer normalisations"),
            (166_592, "heads share d_model"),
            (58_432, "four projections"),
            (302_989, "whole model"),
            (66_751, "too small"),
        ],
    ),
    7: Case(
        [[8, 4], (8, 4), [9, 8, 8, 4]],
        [
            ([4], "looked up its last token"),
            ([2, 8, 4], "made up for"),
            ([8], "something else"),
            ([8, 4, 4], "something else"),
            ([], "something else"),
            ("84", "list of symbols"),
        ],
    ),
    8: Case(
        [[6, 7]],
        [
            (range(1, 11), "do not take over"),
            ([], "still answers something"),
            ([6], "1 right, 0 too many, 1 missing"),
            ([5, 6, 7, 8], "2 too many"),
            (6.5, "list of lengths"),
        ],
    ),
    9: Case(
        [stop_the_clock, stop_heads_2_and_3],
        [
            (lambda weights: weights, "80 % are asked for"),
            (lambda weights: weights * 0, "sums to one"),
            (lambda weights: weights.softmax(-1), "the future"),
            (lambda weights: None, "returns nothing"),
            (lambda weights: 3, "of the shape"),
            (lambda weights: weights[0], "of the shape"),
            (fail, "raised UsageError: no idea"),
            ([1], "is a function"),
        ],
    ),
}


@pytest.mark.parametrize("number", CASES)
def test_right_answers_are_right(number: int) -> None:
    for answer in CASES[number].right:
        verdict = exercises.check(number, answer)
        assert verdict, verdict
        assert repr(verdict).startswith("Right. ")
        assert "\n" not in repr(verdict)
        assert len(verdict.message) > 10


@pytest.mark.parametrize(
    ("number", "index"), [(number, index) for number, case in CASES.items() for index in range(len(case.wrong))]
)
def test_wrong_answers_are_told_what_is_wrong(number: int, index: int) -> None:
    answer, fragment = CASES[number].wrong[index]
    verdict = exercises.check(number, answer)
    assert not verdict, answer
    assert repr(verdict).startswith("Not yet. ")
    assert fragment in verdict.message
    assert "\n" not in repr(verdict)


def test_every_exercise_is_tested() -> None:
    assert list(CASES) == list(range(1, len(exercises.EXERCISES) + 1))


@pytest.mark.parametrize("number", CASES)
def test_question_and_hint(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exercises.show(number)
    question = capsys.readouterr().out
    assert question.startswith(f"Exercise {number}. ")
    assert max(map(len, question.splitlines())) <= 100
    exercises.hint(number)
    hint = capsys.readouterr().out
    assert len(hint.splitlines()) == 1
    answer = CASES[number].right[0]
    if not callable(answer):
        given, asked = (set(re.findall(r"\d+\.?\d*", text)) for text in (hint, repr(answer)))
        assert not given >= asked, hint


def test_a_list_of_titles(capsys: pytest.CaptureFixture[str]) -> None:
    exercises.show()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(". ")[0] for line in lines] == [str(number) for number in CASES]


def test_no_answer_yet() -> None:
    for verdict in (exercises.check(2), exercises.check(2, ...), exercises.check(2, None)):
        assert not verdict
        assert "exercises.hint(2)" in verdict.message


@pytest.mark.parametrize("number", [0, 10, -1, "3"])
def test_an_exercise_that_is_not_there(number: int) -> None:
    for function in (exercises.show, exercises.hint, exercises.check):
        with pytest.raises(UsageError, match=f"no exercise {number!r}: they are 1 to 9"):
            function(number)


def test_a_check_changes_nothing() -> None:
    """Each check has a model of its own, and leaves the random numbers alone."""
    before = torch.get_rng_state()
    for number, case in CASES.items():
        exercises.check(number, case.right[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert seqrev.load("pretrained").reverse([4, 8, 2, 9]) == [9, 2, 8, 4]


def test_a_number_that_is_no_whole_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"There is no exercise 1\.0"):
        exercises.check(1.0, 46)  # type: ignore[arg-type]
