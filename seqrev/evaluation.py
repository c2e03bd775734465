"""How good a model is: exact match, token accuracy, by length, and the kinds of error."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from seqrev.decoding import Decoded, decode
from seqrev.model.transformer import Transformer
from seqrev.task import apply_rule

ErrorKind = Literal["early_stop", "overrun", "wrong_token"]


@dataclass(frozen=True)
class Mistake:
    """One wrong answer beside the right one."""

    source: list[int]
    expected: list[int]
    output: list[int]
    kind: ErrorKind


@dataclass
class Tally:
    """Counts over a set of sequences."""

    sequences: int = 0
    exact: int = 0
    tokens: int = 0
    right_tokens: int = 0

    @property
    def exact_match(self) -> float:
        """Share of answers that are right from the first token to ``<EOS>``."""
        return self.exact / self.sequences

    @property
    def token_accuracy(self) -> float:
        """Share of expected tokens, ``<EOS>`` included, that stand in their place in the answer."""
        return self.right_tokens / self.tokens


@dataclass
class Evaluation:
    """The result of a free-running evaluation."""

    overall: Tally = field(default_factory=Tally)
    by_length: dict[int, Tally] = field(default_factory=dict)
    errors: dict[ErrorKind, int] = field(default_factory=lambda: {"early_stop": 0, "overrun": 0, "wrong_token": 0})
    mistakes: list[Mistake] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the command line prints and saves them; shares are between 0 and 1."""
        return {
            "sequences": self.overall.sequences,
            "exact_match": self.overall.exact_match,
            "token_accuracy": self.overall.token_accuracy,
            "errors": dict(self.errors),
            "by_length": [
                {
                    "length": length,
                    "sequences": tally.sequences,
                    "exact_match": tally.exact_match,
                    "token_accuracy": tally.token_accuracy,
                }
                for length, tally in sorted(self.by_length.items())
            ],
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
        }


def evaluate(model: Transformer, sources: Sequence[Sequence[int]], beam: int = 1, keep_mistakes: int = 10) -> Evaluation:
    """Decode every source freely and compare with what the task asks for.

    Args:
        model: in evaluation mode.
        sources: symbols, at least one sequence.
        beam: 1 is greedy decoding.
        keep_mistakes: how many wrong answers to keep.
    """
    return compare(sources, decode(model, sources, beam), keep_mistakes)


def compare(sources: Sequence[Sequence[int]], answers: Sequence[Decoded], keep_mistakes: int = 10) -> Evaluation:
    """Count what is right and wrong in answers that were already decoded."""
    result = Evaluation()
    for source, answer in zip(sources, answers, strict=True):
        expected = apply_rule(np.array(source)).tolist()
        kind = error_kind(expected, answer)
        right = sum(a == b for a, b in zip(expected, answer.output, strict=False))
        ended_right = answer.finished and len(answer.output) == len(expected)
        for tally in (result.overall, result.by_length.setdefault(len(source), Tally())):
            tally.sequences += 1
            tally.exact += kind is None
            tally.tokens += len(expected) + 1
            tally.right_tokens += right + ended_right
        if kind is not None:
            result.errors[kind] += 1
            if len(result.mistakes) < keep_mistakes:
                result.mistakes.append(Mistake(list(source), expected, answer.output, kind))
    return result


def error_kind(expected: Sequence[int], answer: Decoded) -> ErrorKind | None:
    """What went wrong first: ``<EOS>`` too early, a token where ``<EOS>`` was due, or another token than expected.

    None where the answer is right.
    """
    for place, token in enumerate(expected):
        if place == len(answer.output):
            return "early_stop"
        if answer.output[place] != token:
            return "wrong_token"
    if len(answer.output) > len(expected) or not answer.finished:
        return "overrun"
    return None
