"""How good a model is: exact match, token accuracy, by length, and the kinds of error."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from seqrev.decoding import Decoded, decode, teacher_forced
from seqrev.errors import UsageError, shorten
from seqrev.model.transformer import Transformer
from seqrev.sequences import places_by_length
from seqrev.task import EOS, FIRST_SYMBOL, apply_rule

ErrorKind = Literal["early_stop", "overrun", "wrong_token"]
Protocol = Literal["free", "length_given", "teacher_forced"]
MOST_LENGTHS = 10_001  # in one evaluation


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
    errors: dict[ErrorKind, int] = field(default_factory=lambda: {"early_stop": 0, "overrun": 0, "wrong_token": 0})

    @property
    def exact_match(self) -> float:
        """Share of answers that are right from the first token to ``<EOS>``."""
        return self.exact / self.sequences

    @property
    def token_accuracy(self) -> float:
        """Share of expected tokens, ``<EOS>`` included, that stand in their place in the answer."""
        return self.right_tokens / self.tokens

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the exact match (Wilson 1927)."""
        n, share, z = self.sequences, self.exact_match, 1.959964
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        # Of none, and of all, one end is known exactly, and rounding would miss it.
        return middle - reach if share > 0 else 0.0, middle + reach if share < 1 else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values; shares are between 0 and 1."""
        return {
            "sequences": self.sequences,
            "exact_match": self.exact_match,
            "interval": list(self.interval),
            "token_accuracy": self.token_accuracy,
            "errors": dict(self.errors),
        }


@dataclass
class Evaluation:
    """The result of an evaluation."""

    overall: Tally = field(default_factory=Tally)
    by_length: dict[int, Tally] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    """The first few wrong answers."""

    @property
    def errors(self) -> dict[ErrorKind, int]:
        """How many answers went wrong in which way first."""
        return self.overall.errors

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the command line prints and saves them."""
        return {
            **self.overall.to_dict(),
            "by_length": [{"length": length, **tally.to_dict()} for length, tally in sorted(self.by_length.items())],
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
        }

    def merge(self, other: "Evaluation", keep_mistakes: int = 10) -> None:
        """Take over the counts of another evaluation, on lengths that are not in this one yet."""
        for name in ("sequences", "exact", "tokens", "right_tokens"):
            setattr(self.overall, name, getattr(self.overall, name) + getattr(other.overall, name))
        for kind, count in other.overall.errors.items():
            self.overall.errors[kind] += count
        self.by_length.update(other.by_length)
        self.mistakes = (self.mistakes + other.mistakes)[:keep_mistakes]


def evaluate(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    beam: int = 1,
    protocol: Protocol = "free",
    keep_mistakes: int = 10,
) -> Evaluation:
    """Let the model answer every source, and compare with what the task asks for.

    Args:
        model: in evaluation mode.
        sources: symbols, at least one sequence.
        beam: 1 is greedy decoding.
        protocol: ``free``: the model sees its own output and must emit ``<EOS>`` itself, the only protocol that tells
            whether it works; ``length_given``: it is stopped at the right length, and ``<EOS>`` is not asked for;
            ``teacher_forced``: at every step it is shown the right output so far.
        keep_mistakes: how many wrong answers to keep.
    """
    if protocol == "teacher_forced":
        return compare(sources, teacher_forced(model, sources), keep_mistakes)
    length_given = protocol == "length_given"
    if beam == 1:
        forced = teacher_forced(model, sources, length_given, give_up=True)
        answers = greedy_answers(model, sources, forced, length_given)
    else:
        answers = decode(model, sources, beam, length_given)
    return compare(sources, answers, keep_mistakes, count_end=not length_given)


def greedy_answers(
    model: Transformer, sources: Sequence[Sequence[int]], forced: Sequence[Decoded], length_given: bool = False
) -> list[Decoded]:
    """What greedy decoding gives; step by step only where teacher forcing has not told it already.

    The first token is predicted before anything of the right output is shown. If it is right, the model's own output so
    far is the right output so far, and the second prediction saw what it would have seen in free running; and so on to the
    end. Where every teacher-forced prediction is right, the free-running answer is therefore the same, and it was found in
    one parallel pass. (Where two tokens are equally probable, or as good as, the two ways may choose differently: they
    compute the same numbers in another order.)

    Args:
        model: in evaluation mode.
        sources: symbols.
        forced: of ``teacher_forced``, on the same sources, with the same ``length_given``.
        length_given: end every answer at the length of its source.
    """
    answers = list(forced)
    pairs = zip(_expected(sources), forced, strict=True)
    wrong = [place for place, (expected, answer) in enumerate(pairs) if error_kind(expected, answer) is not None]
    for place, answer in zip(wrong, decode(model, [sources[place] for place in wrong], 1, length_given), strict=True):
        answers[place] = answer
    return answers


def compare(
    sources: Sequence[Sequence[int]], answers: Sequence[Decoded], keep_mistakes: int = 10, count_end: bool = True
) -> Evaluation:
    """Count what is right and wrong in answers that were already decoded.

    ``count_end``: whether ``<EOS>`` is among the tokens that are counted; not where the model was not asked for it.
    """
    result = Evaluation()
    for source, expected, answer in zip(sources, _expected(sources), answers, strict=True):
        kind = error_kind(expected, answer)
        right = sum(a == b for a, b in zip(expected, answer.output, strict=False))
        ended_right = answer.finished and len(answer.output) == len(expected)
        for tally in (result.overall, result.by_length.setdefault(len(source), Tally())):
            tally.sequences += 1
            tally.tokens += len(expected) + count_end
            tally.right_tokens += right + (ended_right and count_end)
            if kind is None:
                tally.exact += 1
            else:
                tally.errors[kind] += 1
        if kind is not None and len(result.mistakes) < keep_mistakes:
            result.mistakes.append(Mistake(list(source), expected, answer.output, kind))
    return result


def _expected(sources: Sequence[Sequence[int]]) -> list[list[int]]:
    """What the task asks for, of all sequences of a length at once."""
    expected: list[list[int]] = [[] for _ in sources]
    for _, places in places_by_length(np.array([len(source) for source in sources], dtype=np.intp)):
        group = np.array([sources[place] for place in places])
        for place, answer in zip(places, apply_rule(group).tolist(), strict=True):
            expected[place] = answer
    return expected


def parse_lengths(text: str) -> list[int]:
    """Lengths as people write them: ``20,50`` or ``10:1000:10`` (from, to, step; the end is included), or both mixed.

    >>> parse_lengths("5,10:30:10")
    [5, 10, 20, 30]

    Raises:
        UsageError: anything else.
    """
    lengths: set[int] = set()
    for part in text.split(","):
        numbers = part.strip().split(":")
        if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers) or len(numbers) > 3:
            raise UsageError(f"{shorten(part)} is not a length; 20,50 or 10:1000:10 was expected.", "--lengths 20,50,100")
        first, last, step = (*map(int, numbers), *((int(numbers[0]), 1) if len(numbers) == 1 else (1,)))[:3]
        if not 1 <= first <= last or step < 1 or (last - first) // step >= MOST_LENGTHS:
            raise UsageError(f"{shorten(part)} has no lengths in it, or too many.", "--lengths 10:1000:10")
        lengths.update(range(first, last + 1, step))
        if len(lengths) > MOST_LENGTHS:
            raise UsageError(f"These are more than {MOST_LENGTHS:,} lengths.", "--lengths 10:1000:10")
    return sorted(lengths)


def error_kind(expected: Sequence[int], answer: Decoded) -> ErrorKind | None:
    """What went wrong first: ``<EOS>`` too early, a token where ``<EOS>`` was due, or another token than expected.

    None where the answer is right.
    """
    for place, token in enumerate(expected):
        if place == len(answer.output) or answer.output[place] == EOS - FIRST_SYMBOL:  # the latter if teacher-forced
            return "early_stop"
        if answer.output[place] != token:
            return "wrong_token"
    if len(answer.output) > len(expected) or not answer.finished:
        return "overrun"
    return None
