"""Teacher forcing in blocks, compared with one parallel pass."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from seqrev.inference import batching
from seqrev.inference.search import Hypothesis
from seqrev.inference.teacher_forcing import teacher_forced
from seqrev.model.encoder import Memory
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, EOS, FIRST_SYMBOL
from tests.inference.models import CLOSE, SEEDS, log_probability, random_model, random_sources, source_ids, with_bias


def naive_teacher_forced(model: Transformer, source: Sequence[int]) -> Hypothesis:
    """One parallel pass over the right output."""
    right = [symbol + FIRST_SYMBOL for symbol in reversed(source)]
    chosen = model(source_ids(source), torch.tensor([[BOS, *right]]))[0].argmax(-1).tolist()
    output = [token - FIRST_SYMBOL for token in chosen[:-1]]
    return Hypothesis(output, chosen[-1] == EOS, log_probability(model, source, [*right, EOS]))


@pytest.mark.parametrize("block", [1, 2, 3, 4, 256])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "alibi", "relative", "none"])
def test_teacher_forcing_in_blocks_is_one_parallel_pass(
    monkeypatch: pytest.MonkeyPatch, positions: str, block: int
) -> None:
    monkeypatch.setattr(batching, "FORCED_BLOCK", block)
    model, sources = random_model(0, positions=positions), random_sources()
    answers = teacher_forced(model, sources)
    assert len({tuple(answer.output) for answer in answers}) > 5
    for source, answer in zip(sources, answers, strict=True):
        expected = naive_teacher_forced(model, source)
        assert len(answer.output) == len(source)
        assert (answer.output, answer.finished) == (expected.output, expected.finished)
        assert answer.log_probability == pytest.approx(expected.log_probability, abs=CLOSE)


@pytest.mark.parametrize("block", [1, 4, 7])
def test_teacher_forcing_shows_the_model_no_more_than_a_block_at_once(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    model, widths = random_model(0), []
    original = model.decode

    def spy(target: torch.Tensor, *others: Any) -> torch.Tensor:
        widths.append(target.shape[1])
        return original(target, *others)

    monkeypatch.setattr(batching, "FORCED_BLOCK", block)
    monkeypatch.setattr(model, "decode", spy)
    teacher_forced(model, [[1, 2, 3, 4, 0, 1, 2]])
    assert sum(widths) == 8  # BOS and seven symbols
    assert max(widths) == block


@pytest.mark.parametrize(
    ("limit", "value"), [("FORCED_TOKENS", 20), ("FORCED_TOKENS", 1), ("LOGITS_AT_ONCE", 40), ("SCORES_AT_ONCE", 100)]
)
def test_teacher_forcing_holds_no_more_at_once_than_it_may(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    model, sources, sizes = random_model(0), random_sources(count=40), []
    expected = teacher_forced(model, sources)
    original = model.decode

    def spy(target: torch.Tensor, memory: Memory, *others: Any) -> torch.Tensor:
        count, source = memory.states.shape[:2]
        taken = {
            "FORCED_TOKENS": count * source,
            "LOGITS_AT_ONCE": target.numel() * model.vocabulary_size,
            "SCORES_AT_ONCE": target.numel() * source * model.config.heads,
        }
        sizes.append((taken[limit], count, target.shape[1]))
        return original(target, memory, *others)

    monkeypatch.setattr(batching, limit, value)
    monkeypatch.setattr(model, "decode", spy)
    answers = teacher_forced(model, sources)
    assert [(one.output, one.finished) for one in answers] == [(one.output, one.finished) for one in expected]
    assert any(count > 1 for _, count, _ in sizes) or value == 1
    for size, count, width in sizes:
        least = {"FORCED_TOKENS": count == 1, "LOGITS_AT_ONCE": count == width == 1, "SCORES_AT_ONCE": width == 1}
        assert size <= value or least[limit]


def test_teacher_forcing_gives_up_where_all_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    model, source = with_bias(random_model(0), BOS=1e3), [1, 2, 3, 4, 0, 1, 2]
    monkeypatch.setattr(batching, "FORCED_BLOCK", 3)
    (whole,), (broken_off,) = teacher_forced(model, [source]), teacher_forced(model, [source], give_up=True)
    assert len(whole.output) == 7
    assert broken_off.output == whole.output[:3]
    assert not broken_off.finished


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_length_given_teacher_forcing_asks_for_the_symbols_alone(seed: int) -> None:
    model, sources = random_model(seed), random_sources(seed=seed)
    for source, answer in zip(sources, teacher_forced(model, sources, length_given=True), strict=True):
        right = [symbol + FIRST_SYMBOL for symbol in source[::-1]]
        assert answer.finished
        assert len(answer.output) == len(source)
        assert answer.log_probability == pytest.approx(log_probability(model, source, right), abs=CLOSE)


@pytest.mark.parametrize("eos", [1e3, -1e3])
def test_a_teacher_forced_answer_has_ended_if_eos_is_chosen_at_its_end(eos: float) -> None:
    (answer,) = teacher_forced(with_bias(random_model(0), EOS=eos), [[1, 2]])
    assert answer.finished is (eos > 0)
