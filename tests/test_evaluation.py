"""Counting right and wrong, by hand-computed examples."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev import evaluation
from seqrev.config import ModelConfig
from seqrev.decoding import Decoded, decode
from seqrev.evaluation import ErrorKind, Mistake, Tally, compare, error_kind, evaluate
from seqrev.model.transformer import Transformer


def answer(*output: int, finished: bool = True) -> Decoded:
    return Decoded(list(output), finished, -1.0)


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
def test_an_error_is_what_went_wrong_first(given_answer: Decoded, kind: ErrorKind | None) -> None:
    assert error_kind([9, 2, 8, 4], given_answer) == kind


@pytest.mark.parametrize(
    ("given_answer", "right"),
    [
        (answer(9, 2, 8, 4), 5),
        (answer(9, 2, 8), 3),  # EOS stands too early
        (answer(), 0),
        (answer(9, 2, 8, 4, 4), 4),  # EOS stands too late
        (answer(9, 2, 8, 4, finished=False), 4),
        (answer(9, 2, 7, 4), 4),  # EOS still in its place
        (answer(4, 8, 2, 9), 1),
        (answer(2, 8, 4), 0),
    ],
)
def test_a_token_is_right_in_its_place_and_eos_is_one_of_them(given_answer: Decoded, right: int) -> None:
    tally = compare([[4, 8, 2, 9]], [given_answer]).overall
    assert (tally.right_tokens, tally.tokens) == (right, 5)
    assert tally.token_accuracy == right / 5


SOURCES = [[1, 2], [3], [1, 2], [4, 5, 6], [7, 8]]
ANSWERS = [answer(2, 1), answer(3), answer(2), answer(6, 0, 4), answer(8, 7, 7, 7, finished=False)]


def test_tallies_by_hand() -> None:
    result = compare(SOURCES, ANSWERS)
    assert result.overall == Tally(5, 2, 3 + 2 + 3 + 4 + 3, 3 + 2 + 1 + 3 + 2, kinds(1, 1, 1))
    assert result.by_length == {
        1: Tally(1, 1, 2, 2, kinds()),
        2: Tally(3, 1, 9, 6, kinds(early_stop=1, overrun=1)),
        3: Tally(1, 0, 4, 3, kinds(wrong_token=1)),
    }
    assert result.errors == kinds(1, 1, 1)
    assert result.overall.exact_match == pytest.approx(0.4)
    assert result.overall.token_accuracy == pytest.approx(11 / 15)
    assert result.mistakes == [
        Mistake([1, 2], [2, 1], [2], "early_stop"),
        Mistake([4, 5, 6], [6, 5, 4], [6, 0, 4], "wrong_token"),
        Mistake([7, 8], [8, 7], [8, 7, 7, 7], "overrun"),
    ]


def test_the_dictionary_is_plain_and_sorted_by_length() -> None:
    result = compare(SOURCES, ANSWERS, keep_mistakes=1).to_dict()
    assert json.loads(json.dumps(result)) == result
    assert list(result) == ["sequences", "exact_match", "interval", "token_accuracy", "errors", "by_length", "mistakes"]
    assert result["sequences"] == 5
    assert result["exact_match"] == pytest.approx(0.4)
    assert result["token_accuracy"] == pytest.approx(11 / 15)
    assert result["errors"] == {"early_stop": 1, "overrun": 1, "wrong_token": 1}
    assert result["interval"] == pytest.approx([0.117621, 0.769276], abs=1e-6)  # 2 of 5
    intervals = [row.pop("interval") for row in result["by_length"]]
    assert intervals == [list(Tally(n, exact).interval) for n, exact in ((1, 1), (3, 1), (1, 0))]
    assert result["by_length"] == [
        {"length": 1, "sequences": 1, "exact_match": 1.0, "token_accuracy": 1.0, "errors": kinds()},
        {"length": 2, "sequences": 3, "exact_match": 1 / 3, "token_accuracy": 6 / 9, "errors": kinds(1, 1)},
        {"length": 3, "sequences": 1, "exact_match": 0.0, "token_accuracy": 3 / 4, "errors": kinds(wrong_token=1)},
    ]
    assert result["mistakes"] == [{"source": [1, 2], "expected": [2, 1], "output": [2], "kind": "early_stop"}]


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 10])
def test_only_so_many_mistakes_are_kept_and_all_are_counted(keep: int) -> None:
    result = compare(SOURCES, ANSWERS, keep_mistakes=keep)
    assert [mistake.source for mistake in result.mistakes] == [[1, 2], [4, 5, 6], [7, 8]][:keep]
    assert sum(result.errors.values()) == 3


def test_every_source_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare([[1], [2]], [answer(1)])


some_sources = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(sources=some_sources)
def test_perfect_answers_score_one_everywhere(sources: list[list[int]]) -> None:
    result = compare(sources, [answer(*reversed(source)) for source in sources])
    for tally in (result.overall, *result.by_length.values()):
        assert (tally.exact_match, tally.token_accuracy) == (1.0, 1.0)
    assert result.overall.sequences == len(sources)
    assert not any(result.errors.values())
    assert result.mistakes == []


@settings(max_examples=30, deadline=None)
@given(sources=some_sources, data=st.data())
def test_whatever_the_answers_the_counts_add_up(sources: list[list[int]], data: st.DataObject) -> None:
    answers = [
        answer(*data.draw(st.one_of(st.just(source[::-1]), st.lists(st.integers(0, 9), max_size=8))), finished=finished)
        for source, finished in zip(sources, data.draw(st.lists(st.booleans(), min_size=8, max_size=8)), strict=False)
    ]
    result = compare(sources, answers)
    assert result.overall.exact + sum(result.errors.values()) == len(sources)
    for name in ("sequences", "exact", "tokens", "right_tokens"):
        assert sum(getattr(tally, name) for tally in result.by_length.values()) == getattr(result.overall, name)
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
    ) -> list[Decoded]:
        asked.append((beam, length_given))
        return decode(model, sources, beam, length_given)

    monkeypatch.setattr(evaluation, "decode", spy)
    result = evaluate(model, SOURCES, beam, keep_mistakes=2)
    assert asked == [(beam, False)]
    assert result == compare(SOURCES, decode(model, SOURCES, beam), keep_mistakes=2)
    assert len(result.mistakes) == 2
