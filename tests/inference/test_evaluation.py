"""Counting right and wrong, by hand-computed examples."""

import copy
import functools
import itertools
import json
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import Config, ModelConfig
from seqrev.data.batches import Batches
from seqrev.errors import UsageError
from seqrev.inference import evaluation
from seqrev.inference.evaluation import (
    Counts,
    ErrorKind,
    Evaluation,
    Mistake,
    Protocol,
    compare,
    error_kind,
    evaluate,
    greedy_answers,
)
from seqrev.inference.search import Hypothesis, decode
from seqrev.inference.teacher_forcing import teacher_forced
from seqrev.model.transformer import Transformer
from seqrev.task import EOS
from seqrev.training.state import TrainingState
from seqrev.training.step import train_step


def answer(*output: int, finished: bool = True) -> Hypothesis:
    return Hypothesis(list(output), finished, -1.0)


def kinds(early_stop: int = 0, overrun: int = 0, wrong_token: int = 0) -> dict[ErrorKind, int]:
    return {"early_stop": early_stop, "overrun": overrun, "wrong_token": wrong_token}


@pytest.mark.parametrize(
    ("given_answer", "kind"),
    [
        (answer(9, 2, 8, 4), None),
        (answer(9, 2, 8), "early_stop"),
        (answer(), "early_stop"),
        (answer(9, 2, 8, 4, 4), "overrun"),
        (answer(9, 2, 8, 4, *[1] * 11, finished=False), "overrun"),
        (answer(9, 2, 8, 4, finished=False), "overrun"),  # right so far, but it never said that it was done
        (answer(9, 2, 7, 4), "wrong_token"),
        (answer(4, 8, 2, 9), "wrong_token"),
        (answer(9, 2, 8, 5), "wrong_token"),
        (answer(9, 3), "wrong_token"),  # what goes wrong first counts
        (answer(9, 2, 8, 5, 4), "wrong_token"),
        (answer(1, *[1] * 14, finished=False), "wrong_token"),
    ],
)
def test_an_error_is_what_went_wrong_first(given_answer: Hypothesis, kind: ErrorKind | None) -> None:
    assert error_kind([9, 2, 8, 4], given_answer) == kind


@pytest.mark.parametrize(
    ("given_answer", "right"),
    [
        (answer(9, 2, 8, 4), 5),
        (answer(9, 2, 8), 3),  # <EOS> too early
        (answer(), 0),
        (answer(9, 2, 8, 4, 4), 4),  # <EOS> too late
        (answer(9, 2, 8, 4, finished=False), 4),
        (answer(9, 2, 7, 4), 4),  # <EOS> still at its step
        (answer(4, 8, 2, 9), 1),
        (answer(2, 8, 4), 0),
    ],
)
def test_a_token_is_right_at_its_step_and_eos_is_one_of_them(given_answer: Hypothesis, right: int) -> None:
    counts = compare([[4, 8, 2, 9]], [given_answer], "reverse").overall
    assert (counts.right_tokens, counts.tokens) == (right, 5)
    assert counts.token_accuracy == right / 5


SOURCES = [[1, 2], [3], [1, 2], [4, 5, 6], [7, 8]]
ANSWERS = [answer(2, 1), answer(3), answer(2), answer(6, 0, 4), answer(8, 7, 7, 7, finished=False)]


def test_counts_by_hand() -> None:
    result = compare(SOURCES, ANSWERS, "reverse")
    assert result.overall == Counts(5, 2, 3 + 2 + 3 + 4 + 3, 3 + 2 + 1 + 3 + 2, kinds(1, 1, 1))
    assert result.by_length == {
        1: Counts(1, 1, 2, 2, kinds()),
        2: Counts(3, 1, 9, 6, kinds(early_stop=1, overrun=1)),
        3: Counts(1, 0, 4, 3, kinds(wrong_token=1)),
    }
    assert result.overall.exact_match == pytest.approx(0.4)
    assert result.overall.token_accuracy == pytest.approx(11 / 15)
    assert result.mistakes == [
        Mistake([1, 2], [2, 1], [2], "early_stop"),
        Mistake([4, 5, 6], [6, 5, 4], [6, 0, 4], "wrong_token"),
        Mistake([7, 8], [8, 7], [8, 7, 7, 7], "overrun"),
    ]


def test_the_dictionary_is_plain_and_sorted_by_length() -> None:
    result = compare(SOURCES, ANSWERS, "reverse", kept=1).to_dict()
    assert json.loads(json.dumps(result)) == result
    assert list(result) == ["sequences", "exact_match", "interval", "token_accuracy", "errors", "by_length", "mistakes"]
    assert result["sequences"] == 5
    assert result["exact_match"] == pytest.approx(0.4)
    assert result["token_accuracy"] == pytest.approx(11 / 15)
    assert result["errors"] == {"early_stop": 1, "overrun": 1, "wrong_token": 1}
    assert result["interval"] == pytest.approx([0.117621, 0.769276], abs=1e-6)  # 2 of 5
    intervals = [row.pop("interval") for row in result["by_length"]]
    assert intervals == [list(Counts(n, exact).interval) for n, exact in ((1, 1), (3, 1), (1, 0))]
    assert result["by_length"] == [
        {"length": 1, "sequences": 1, "exact_match": 1.0, "token_accuracy": 1.0, "errors": kinds()},
        {"length": 2, "sequences": 3, "exact_match": 1 / 3, "token_accuracy": 6 / 9, "errors": kinds(1, 1)},
        {"length": 3, "sequences": 1, "exact_match": 0.0, "token_accuracy": 3 / 4, "errors": kinds(wrong_token=1)},
    ]
    assert result["mistakes"] == [{"source": [1, 2], "expected": [2, 1], "output": [2], "kind": "early_stop"}]


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 10])
def test_only_so_many_mistakes_are_kept_and_all_are_counted(keep: int) -> None:
    result = compare(SOURCES, ANSWERS, "reverse", kept=keep)
    assert [mistake.source for mistake in result.mistakes] == [[1, 2], [4, 5, 6], [7, 8]][:keep]
    assert sum(result.overall.errors.values()) == 3


def test_every_source_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare([[1], [2]], [answer(1)], "reverse")


some_sources = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(sources=some_sources)
def test_perfect_answers_score_one_everywhere(sources: list[list[int]]) -> None:
    result = compare(sources, [answer(*reversed(source)) for source in sources], "reverse")
    for counts in (result.overall, *result.by_length.values()):
        assert (counts.exact_match, counts.token_accuracy) == (1.0, 1.0)
    assert result.overall.sequences == len(sources)
    assert not any(result.overall.errors.values())
    assert result.mistakes == []


@settings(max_examples=30, deadline=None)
@given(sources=some_sources, data=st.data())
def test_whatever_the_answers_the_counts_add_up(sources: list[list[int]], data: st.DataObject) -> None:
    answers = [
        answer(*data.draw(st.one_of(st.just(source[::-1]), st.lists(st.integers(0, 9), max_size=8))), finished=finished)
        for source, finished in zip(sources, data.draw(st.lists(st.booleans(), min_size=8, max_size=8)), strict=False)
    ]
    result = compare(sources, answers, "reverse")
    assert result.overall.exact + sum(result.overall.errors.values()) == len(sources)
    for name in ("sequences", "exact", "tokens", "right_tokens"):
        assert sum(getattr(counts, name) for counts in result.by_length.values()) == getattr(result.overall, name)
    assert set(result.by_length) == {len(source) for source in sources}
    exact = [got.finished and got.output == source[::-1] for source, got in zip(sources, answers, strict=True)]
    assert result.overall.exact == sum(exact)
    assert (result.overall.token_accuracy == 1.0) == all(exact)


@pytest.mark.parametrize("beam", [1, 3])
def test_evaluation_is_free_running_and_passes_on_what_it_was_asked_for(monkeypatch: pytest.MonkeyPatch, beam: int) -> None:
    model = Transformer(ModelConfig(d_model=8, heads=1, d_ff=8), 13).eval()
    asked: list[tuple[int, bool]] = []

    def spy(
        model: Transformer, sources: Sequence[Sequence[int]], beam: int = 1, length_given: bool = False
    ) -> list[Hypothesis]:
        asked.append((beam, length_given))
        return decode(model, sources, beam, length_given)

    monkeypatch.setattr(evaluation, "decode", spy)
    result = evaluate(model, SOURCES, beam, kept=2)
    assert asked == [(beam, False)]  # all of them: the model knows nothing
    assert result == compare(SOURCES, decode(model, SOURCES, beam), "reverse", kept=2)
    assert len(result.mistakes) == 2


# --- protocols --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beam", [1, 2])
def test_each_protocol_asks_for_its_own_answers(monkeypatch: pytest.MonkeyPatch, beam: int) -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(d_model=8, heads=1, d_ff=8), 13).eval()
    asked: list[tuple[object, ...]] = []

    def spy_decode(
        model: Transformer, sources: Sequence[Sequence[int]], beam: int = 1, length_given: bool = False
    ) -> list[Hypothesis]:
        asked.append(("decode", beam, length_given))
        return decode(model, sources, beam, length_given)

    def spy_teacher_forced(
        model: Transformer, sources: Sequence[Sequence[int]], length_given: bool = False, give_up: bool = False
    ) -> list[Hypothesis]:
        asked.append(("teacher_forced", length_given, give_up))
        return teacher_forced(model, sources, length_given, give_up)

    monkeypatch.setattr(evaluation, "decode", spy_decode)
    monkeypatch.setattr(evaluation, "teacher_forced", spy_teacher_forced)
    protocols: tuple[Protocol, ...] = ("free", "length-given", "teacher-forced")
    results = [evaluate(model, SOURCES, beam, protocol) for protocol in protocols]
    free, length_given = [("decode", beam, False)], [("decode", beam, True)]
    if beam == 1:
        free, length_given = [("teacher_forced", False, True), *free], [("teacher_forced", True, True), *length_given]
    assert asked == [*free, *length_given, ("teacher_forced", False, False)]
    expected = [
        decode(model, SOURCES, beam),
        decode(model, SOURCES, beam, length_given=True),
        teacher_forced(model, SOURCES),
    ]
    assert results == [
        compare(SOURCES, answers, "reverse", count_end=protocol != "length-given")
        for answers, protocol in zip(expected, protocols, strict=True)
    ]
    assert results[1].overall.tokens == sum(map(len, SOURCES))
    assert {kind: results[1].overall.errors[kind] for kind in ("early_stop", "overrun")} == {"early_stop": 0, "overrun": 0}


@functools.cache
def half_trained() -> Transformer:
    """Right on some sequences of its lengths and wrong on others, and on longer ones."""
    tree = {
        "task": {"symbols": 3, "min_length": 1, "max_length": 5},
        "data": {"stream": True, "validation": 20, "test": 20},
        "model": {"d_model": 32, "heads": 2, "d_ff": 64, "positions": "rotary", "source_from": "end", "position_base": 6},
        "train": {"steps": 100, "batch_size": 64, "lr": 5e-3, "warmup_steps": 10},
    }
    state = TrainingState(Config.model_validate(tree))
    batches = Batches(state.config, None)
    for step in range(30):
        train_step(state, batches.rows(step))
    return state.model.eval()


@pytest.mark.parametrize("give_up", [False, True])
@pytest.mark.parametrize("length_given", [False, True])
@pytest.mark.parametrize("eos", [0.0, 1.5, -1.5], ids=["as trained", "ends too early", "ends too late"])
def test_the_answers_of_greedy_decoding_are_those_of_every_step_taken(
    monkeypatch: pytest.MonkeyPatch, eos: float, length_given: bool, give_up: bool
) -> None:
    model = copy.deepcopy(half_trained()).requires_grad_(False)
    model.output.bias[EOS] += eos
    sources = [list(source) for length in (1, 2, 4, 5, 7) for source in itertools.product(range(3), repeat=length)][::7]
    stepped: list[list[int]] = []

    def spy(model: Transformer, sources: Sequence[Sequence[int]], *others: Any) -> list[Hypothesis]:
        stepped.extend(map(list, sources))
        return decode(model, sources, *others)

    monkeypatch.setattr(evaluation, "decode", spy)
    answers = greedy_answers(model, sources, teacher_forced(model, sources, length_given, give_up), length_given)
    expected = decode(model, sources, 1, length_given)
    assert [(one.output, one.finished) for one in answers] == [(one.output, one.finished) for one in expected]
    assert [one.log_probability for one in answers] == pytest.approx([one.log_probability for one in expected], abs=1e-4)
    pairs = list(zip(sources, expected, strict=True))
    wrong = [source for source, one in pairs if one.output != source[::-1] or not one.finished]
    assert len(sources) // 5 < len(wrong) < len(sources)
    if not length_given:
        assert stepped == wrong
    else:  # where <EOS> was the most probable, forcing cannot tell which symbol would have been chosen
        assert len(wrong) <= len(stepped) < len(sources)
        assert all(source in stepped for source in wrong)
    if eos < 0 and not length_given:  # these have the right symbols, and no end
        assert any(one.output[: len(source)] == source[::-1] for source, one in pairs if source in wrong)


# --- the interval -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exact", "of", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (5, 10, 0.2366, 0.7634),
        (0, 10, 0.0000, 0.2775),
        (64, 64, 0.9434, 1.0000),
        (1, 1, 0.2065, 1.0000),
    ],
)
def test_the_interval_is_that_of_the_literature(exact: int, of: int, low: float, high: float) -> None:
    assert Counts(of, exact).interval == pytest.approx((low, high), abs=5.1e-5)
    assert Counts(of, of - exact).interval == pytest.approx((1 - high, 1 - low), abs=5.1e-5)


@given(st.integers(1, 10_000))
def test_the_interval_ends_at_the_whole_and_at_nothing(of: int) -> None:
    """Exactly, which the sum of its rounded middle and reach would not always do."""
    assert Counts(of, of).interval[1] == 1.0
    assert Counts(of, 0).interval[0] == 0.0


@settings(max_examples=50, deadline=None)
@given(of=st.integers(1, 10_000), data=st.data())
def test_the_ends_of_the_interval_are_where_the_score_test_just_rejects(of: int, data: st.DataObject) -> None:
    """Wilson's definition: shares p with ``|p - share| = z sqrt(p (1 - p) / n)``, z of the normal distribution."""
    exact = data.draw(st.integers(0, of))
    low, high = Counts(of, exact).interval
    assert 0 <= low <= exact / of + 1e-12
    assert exact / of - 1e-12 <= high <= 1
    for p in (low, high):
        assert (p - exact / of) ** 2 == pytest.approx(NormalDist().inv_cdf(0.975) ** 2 * p * (1 - p) / of, abs=1e-7)
    assert (low < 1e-9) == (exact == 0)
    assert (high > 1 - 1e-9) == (exact == of)


# --- several evaluations in one ---------------------------------------------------------------------------------------


def test_evaluations_of_different_lengths_merge_into_that_of_all() -> None:
    merged = Evaluation()
    for length in (1, 2, 3):
        pairs = [pair for pair in zip(SOURCES, ANSWERS, strict=True) if len(pair[0]) == length]
        merged.merge(compare([source for source, _ in pairs], [answer for _, answer in pairs], "reverse"))
    whole = compare(SOURCES, ANSWERS, "reverse")
    assert (merged.overall, merged.by_length) == (whole.overall, whole.by_length)
    assert [mistake.source for mistake in merged.mistakes] == [[1, 2], [7, 8], [4, 5, 6]]
    assert merged.to_dict() | {"mistakes": []} == whole.to_dict() | {"mistakes": []}


def test_merging_leaves_the_other_alone_and_keeps_the_first_mistakes() -> None:
    merged, other = compare([[1, 2]] * 8, [answer(1)] * 8, "reverse"), compare([[3]] * 8, [answer(1)] * 8, "reverse")
    before = other.to_dict()
    merged.merge(other)
    assert [len(mistake.source) for mistake in merged.mistakes] == [2] * 8 + [1] * 2
    merged.merge(compare([[1, 2, 3]], [answer(1)], "reverse"))
    assert len(merged.mistakes) == 10
    assert merged.overall.sequences == 17
    assert other.to_dict() == before


def test_a_protocol_that_is_none_is_refused() -> None:
    model = Transformer(ModelConfig(d_model=8, heads=2, d_ff=8), 13).eval()
    unknown: Any = "length_given"
    with pytest.raises(UsageError, match="'length_given' is not a protocol; free, length-given, teacher-forced, chom"):
        evaluate(model, [[1, 2]], protocol=unknown)
