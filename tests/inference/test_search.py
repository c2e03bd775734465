"""Search, compared with what it stands for, written out naively: uncached argmax, and all sequences there are."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import ModelConfig
from seqrev.errors import InputError, UsageError
from seqrev.inference import batching
from seqrev.inference import search as search_module
from seqrev.inference.search import MAX_EXTRA_TOKENS, Hypothesis, beam_search, decode
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, EOS, FIRST_SYMBOL, PAD, vocabulary_size
from tests.inference.models import (
    CLOSE,
    SEEDS,
    emitted,
    log_probability,
    random_model,
    random_sources,
    source_ids,
    with_bias,
)


def naive_greedy(model: Transformer, source: Sequence[int], limit: int) -> tuple[list[int], bool]:
    tokens = [BOS]
    while len(tokens) <= limit:
        logits = model(source_ids(source), torch.tensor([tokens]))[0, -1].tolist()
        best = max((token for token in range(len(logits)) if token not in (PAD, BOS)), key=lambda token: logits[token])
        if best == EOS:
            return tokens[1:], True
        tokens.append(best)
    return tokens[1:], False


def check_greedy(model: Transformer, sources: Sequence[Sequence[int]], answers: Sequence[Hypothesis]) -> None:
    for source, answer in zip(sources, answers, strict=True):
        tokens, finished = naive_greedy(model, source, len(source) + 1 + MAX_EXTRA_TOKENS)
        assert answer.output == [token - FIRST_SYMBOL for token in tokens]
        assert answer.finished is finished


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_is_the_naive_uncached_loop(seed: int) -> None:
    sources = random_sources(seed=seed)
    check_greedy(random_model(seed), sources, decode(random_model(seed), sources))


def test_the_models_of_these_tests_end_at_once_and_late_and_never() -> None:
    """Otherwise the laws here would be tested on nothing."""
    answers = [answer for seed in SEEDS for answer in decode(random_model(seed), random_sources(seed=seed))]
    assert {answer.finished for answer in answers} == {True, False}
    assert len({len(answer.output) for answer in answers if answer.finished}) > 4
    assert len({tuple(answer.output) for answer in answers}) > len(answers) // 3


@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi", "relative", "none"])
def test_greedy_is_the_naive_uncached_loop_whatever_the_positions(positions: str) -> None:
    sources = random_sources(count=8)
    check_greedy(random_model(1, positions=positions), sources, decode(random_model(1, positions=positions), sources))


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_padding_and_bos_are_never_emitted(seed: int, beam: int) -> None:
    model, sources = with_bias(random_model(seed), PAD=20.0, BOS=20.0), random_sources()
    answers = decode(model, sources, beam)
    assert all(symbol >= 0 for answer in answers for symbol in answer.output)
    if beam == 1:
        check_greedy(model, sources, answers)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    sources=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=5),
    beam=st.sampled_from([1, 2, 4]),
)
def test_the_log_probability_is_that_of_a_teacher_forced_pass(seed: int, sources: list[list[int]], beam: int) -> None:
    for source, answer in zip(sources, decode(random_model(seed), sources, beam), strict=True):
        expected = log_probability(random_model(seed), source, emitted(answer))
        assert answer.log_probability == pytest.approx(expected, abs=CLOSE)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    sources=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=5),
    beam=st.sampled_from([1, 2, 3]),
)
def test_an_answer_depends_on_its_source_alone(seed: int, sources: list[list[int]], beam: int) -> None:
    """Not on the batch, and so neither on padding, order, or which rows were done before."""
    for source, answer in zip(sources, decode(random_model(seed), sources, beam), strict=True):
        (alone,) = decode(random_model(seed), [source], beam)
        assert (answer.output, answer.finished) == (alone.output, alone.finished)
        assert answer.log_probability == pytest.approx(alone.log_probability, abs=CLOSE)


@pytest.mark.parametrize("at_once", [1, 25, 60])
@pytest.mark.parametrize("beam", [1, 2])
def test_answers_come_in_the_order_of_the_sources_however_they_are_batched(
    monkeypatch: pytest.MonkeyPatch, at_once: int, beam: int
) -> None:
    model, sources = random_model(1), random_sources(longest=12, count=20)
    expected = [decode(model, [source], beam)[0] for source in sources]
    assert len({tuple(answer.output) for answer in expected}) > 5
    batches: list[int] = []

    def spy(
        model: Transformer, source: torch.Tensor, limits: Sequence[int], beam: int, length_given: bool
    ) -> list[Hypothesis]:
        batches.append(source.numel() * beam if len(source) > 1 else 0)
        return beam_search(model, source, limits, beam, length_given)

    monkeypatch.setattr(batching, "DECODED_TOKENS", at_once)
    monkeypatch.setattr(search_module, "beam_search", spy)
    answers = decode(model, sources, beam)
    assert [(answer.output, answer.finished) for answer in answers] == [
        (answer.output, answer.finished) for answer in expected
    ]
    assert len(batches) > 1
    assert max(batches) <= at_once


def test_no_source_has_no_answer() -> None:
    assert decode(random_model(0), []) == []


# --- beam search ------------------------------------------------------------------------------------------------------


def most_probable(model: Transformer, source: Sequence[int], limit: int) -> tuple[list[int], float]:
    """The best of every answer there is: ended by EOS within the limit, or as long as the limit."""
    symbols = range(FIRST_SYMBOL, model.vocabulary_size)
    every = [[*body, EOS] for length in range(limit) for body in itertools.product(symbols, repeat=length)] + [
        list(body) for body in itertools.product(symbols, repeat=limit)
    ]
    return max(((tokens, log_probability(model, source, tokens)) for tokens in every), key=lambda pair: pair[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wide_beam_finds_the_most_probable_of_all_answers(seed: int) -> None:
    model, limits = random_model(seed, symbols=2), [4, 3]
    sources = [[0, 1], [1, 1]]
    answers = beam_search(model, torch.cat([source_ids(source) for source in sources]), limits, beam=31)  # 15 ended, 16 not
    for source, limit, answer in zip(sources, limits, answers, strict=True):
        tokens, score = most_probable(model, source, limit)
        assert emitted(answer) == tokens
        assert answer.finished == (tokens[-1] == EOS)
        assert answer.log_probability == pytest.approx(score, abs=CLOSE)


def test_the_most_probable_answer_is_not_always_the_greedy_one() -> None:
    """So the test above tells the two apart."""
    sources = [[0, 1], [1, 1]]
    greedy, wide = (
        [
            emitted(answer)
            for seed in SEEDS
            for answer in beam_search(
                random_model(seed, symbols=2), torch.cat([source_ids(source) for source in sources]), [4, 3], beam
            )
        ]
        for beam in (1, 31)
    )
    assert greedy != wide


def naive_beam(model: Transformer, source: Sequence[int], limit: int, beam: int) -> tuple[list[int], float]:
    """Beam search over plain lists, each hypothesis scored from the start."""
    hypotheses: list[tuple[list[int], float]] = [([], 0.0)]
    for _ in range(limit):
        candidates = []
        for tokens, score in hypotheses:
            if tokens and tokens[-1] == EOS:
                candidates.append((tokens, score))
                continue
            following = model(source_ids(source), torch.tensor([[BOS, *tokens]])).log_softmax(-1)[0, -1].tolist()
            candidates += [(([*tokens, token]), score + following[token]) for token in range(EOS, len(following))]
        hypotheses = sorted(candidates, key=lambda pair: -pair[1])[:beam]
        if hypotheses[0][0][-1] == EOS:
            break
    return hypotheses[0]


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("eos", [0.0, 2.0], ids=["rarely ends", "often ends"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_beam_search_is_the_naive_one(seed: int, eos: float, beam: int) -> None:
    model, sources = with_bias(random_model(seed), EOS=eos), random_sources(count=5, longest=5, seed=seed)
    for source, answer in zip(sources, decode(model, sources, beam), strict=True):
        tokens, score = naive_beam(model, source, len(source) + 1 + MAX_EXTRA_TOKENS, beam)
        assert emitted(answer) == tokens
        assert answer.log_probability == pytest.approx(score, abs=CLOSE)


def test_a_hypothesis_that_has_ended_is_continued_in_one_way_only() -> None:
    """Otherwise its continuations would crowd the others out of the beam."""
    scores, ended = torch.tensor([[-1.0, -1.5, -2.4]]), torch.tensor([[False, True, False]])
    following = torch.tensor([[0.01, 0.01, 0.03, 0.03, 0.92], [0.1, 0.1, 0.2, 0.3, 0.3], [0.1, 0.1, 0.6, 0.1, 0.1]]).log()
    best, parents, tokens = search_module._extend(scores, ended, following.clone(), [PAD, BOS])
    assert parents.tolist() == [[0, 1, 2]]
    assert tokens.tolist() == [[4, PAD, EOS]]
    assert best[0].tolist() == pytest.approx([-1 + math.log(0.92), -1.5, -2.4 + math.log(0.6)])


def test_a_beam_wider_than_the_vocabulary_is_allowed() -> None:
    (wide,) = decode(random_model(0, symbols=2), [[0, 1]], beam=40)
    (narrow,) = decode(random_model(0, symbols=2), [[0, 1]])
    assert wide.log_probability >= narrow.log_probability - CLOSE


# --- where it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beam", [1, 3])
def test_an_answer_that_never_ends_is_cut_off_and_says_so(beam: int) -> None:
    answers = decode(with_bias(random_model(0), EOS=-1e3), [[1], [2, 3, 4], [0, 1]], beam)
    assert [len(answer.output) for answer in answers] == [12, 14, 13]  # the source, EOS, and ten more
    assert not any(answer.finished for answer in answers)


@pytest.mark.parametrize("beam", [1, 3])
def test_an_answer_may_be_empty(beam: int) -> None:
    answers = decode(with_bias(random_model(0), EOS=1e3), [[1], [2, 3, 4]], beam)
    assert answers == [Hypothesis([], True, 0.0)] * 2


@pytest.mark.parametrize("beam", [1, 3])
def test_no_answer_is_longer_than_the_positions_of_the_model(beam: int) -> None:
    model = with_bias(random_model(0, max_positions=8), EOS=-1e3)
    longest = [1] * model.longest_source
    answers = decode(model, [[1], longest], beam)
    assert [len(answer.output) for answer in answers] == [8, 8]
    assert not any(answer.finished for answer in answers)


def test_a_row_that_ends_at_its_last_token_has_finished() -> None:
    seed, source, answer = next(
        (seed, source, answer)
        for seed in SEEDS
        for source, answer in zip(
            random_sources(seed=seed), decode(random_model(seed), random_sources(seed=seed)), strict=True
        )
        if answer.finished and len(answer.output) > 1
    )
    tokens = len(answer.output) + 1
    assert beam_search(random_model(seed), source_ids(source), [tokens], 1)[0].finished
    (cut,) = beam_search(random_model(seed), source_ids(source), [tokens - 1], 1)
    assert (cut.output, cut.finished) == (answer.output, False)


def test_the_model_and_its_gradients_are_left_alone() -> None:
    model = with_bias(random_model(0), EOS=0.0).requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (answer,) = decode(model, [[1, 2]], beam=2)
    assert math.isfinite(answer.log_probability)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    model = Transformer(ModelConfig(), vocabulary_size(4)).eval()
    with torch.no_grad():
        model.output.weight.fill_(3e38)
        model.decoder.norm.bias.fill_(1e3)
    with pytest.raises(InputError, match="no numbers"):
        decode(model, [[1, 2]])


# --- with the length given --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "alibi", "relative"])
@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("eos", [-20.0, 0.0, 20.0])
def test_with_the_length_given_every_answer_is_as_long_as_its_source(positions: str, beam: int, eos: float) -> None:
    model, sources = with_bias(random_model(0, positions=positions), EOS=eos, PAD=20.0), random_sources()
    answers = decode(model, sources, beam, length_given=True)
    for source, answer in zip(sources, answers, strict=True):
        assert len(answer.output) == len(source)
        assert all(0 <= symbol < 5 for symbol in answer.output)
        assert answer.finished
        tokens = [symbol + FIRST_SYMBOL for symbol in answer.output]
        assert answer.log_probability == pytest.approx(log_probability(model, source, tokens), rel=1e-5, abs=CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_length_given_greedy_takes_the_best_symbol_every_time(seed: int) -> None:
    model, sources = random_model(seed), random_sources(seed=seed)
    for source, answer in zip(sources, decode(model, sources, length_given=True), strict=True):
        tokens = [BOS]
        for _ in source:
            logits = model(source_ids(source), torch.tensor([tokens]))[0, -1, FIRST_SYMBOL:]
            tokens.append(int(logits.argmax()) + FIRST_SYMBOL)
        assert answer.output == [token - FIRST_SYMBOL for token in tokens[1:]]


def test_with_the_length_given_the_longest_source_is_answered_too() -> None:
    model = random_model(0, max_positions=8)
    (answer,) = decode(model, [[1] * model.longest_source], length_given=True)
    assert len(answer.output) == 6


@pytest.mark.parametrize("beam", [0, -1, 2.5, 10**12])
def test_a_beam_that_is_none_is_refused(beam: int) -> None:
    with pytest.raises(UsageError, match=r"A beam of .* was asked for; a whole number from 1 to 1,000 was expected"):
        decode(random_model(0), [[1, 2]], beam)


def test_the_memory_of_a_beam_grows_with_all_that_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    needed: list[int] = []
    monkeypatch.setattr(search_module, "check_memory", lambda number, *words: needed.append(number))
    for beam, length, symbols in ((2, 3, 5), (4, 3, 5), (2, 9, 5), (2, 3, 50)):
        decode(random_model(0, symbols), [[1] * length], beam)
    few, more, longer, larger = needed
    assert more == 2 * few
    assert longer == few + 4 * 2 * 16 * (6 + 4 * (6 + 6))  # states of d_model, and two of each kind in both layers
    assert larger == few + 4 * 2 * 2 * 45  # a logit and a log-probability of each token


def test_greedy_decoding_asks_for_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "check_memory", pytest.fail)
    assert len(decode(random_model(0), random_sources())) == 12
