"""How good a model is: exact match, token accuracy, by length, and the kinds of error."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from seqrev.data.sequences import answers_to, pick
from seqrev.errors import UsageError
from seqrev.inference.batching import Sources
from seqrev.inference.search import Hypothesis, check_beam, decode
from seqrev.inference.teacher_forcing import teacher_forced
from seqrev.model.transformer import Transformer
from seqrev.system.text import shorten
from seqrev.task import EOS, FIRST_SYMBOL, RuleName

ErrorKind = Literal["early_stop", "overrun", "wrong_token"]  # <EOS> too early, too late or never, or another token
Protocol = Literal["free", "length-given", "teacher-forced", "chomsky"]
KEPT_MISTAKES = 10


@dataclass(frozen=True)
class Mistake:
    """One wrong answer beside the right one."""

    source: list[int]
    expected: list[int]
    output: list[int]
    kind: ErrorKind


@dataclass
class Counts:
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
        """Share of expected tokens, ``<EOS>`` included, that are at the same step of the answer."""
        return self.right_tokens / self.tokens

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the exact match (Wilson 1927)."""
        n, share, z = self.sequences, self.exact_match, 1.959964
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        # Of none, and of all, one end is known exactly, and rounding would miss it.
        return middle - reach if share > 0 else 0.0, middle + reach if share < 1 else 1.0

    def add(self, other: "Counts") -> None:
        """Count those of another set as well."""
        self.sequences += other.sequences
        self.exact += other.exact
        self.tokens += other.tokens
        self.right_tokens += other.right_tokens
        for kind, count in other.errors.items():
            self.errors[kind] += count

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "sequences": self.sequences,
            "exact_match": self.exact_match,
            "interval": list(self.interval),
            "token_accuracy": self.token_accuracy,
            "errors": dict(self.errors),
        }


@dataclass(repr=False)
class Evaluation:
    """The result of an evaluation."""

    overall: Counts = field(default_factory=Counts)
    by_length: dict[int, Counts] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    """The first wrong answers."""
    kept: int = KEPT_MISTAKES
    """How many of them."""

    def __repr__(self) -> str:
        if not (total := self.overall).sequences:
            return "<Evaluation: of no sequences>"
        shares = f"exact match {total.exact_match:.4f}, token accuracy {total.token_accuracy:.4f}"
        return f"<Evaluation: {shares}, of {total.sequences:,} sequences>"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the command line prints and saves them."""
        return {
            **self.overall.to_dict(),
            "by_length": [{"length": length, **counts.to_dict()} for length, counts in sorted(self.by_length.items())],
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
        }

    def merge(self, other: "Evaluation") -> None:
        """Take over an evaluation on other sequences."""
        self.overall.add(other.overall)
        for length, counts in other.by_length.items():
            self.by_length.setdefault(length, Counts()).add(counts)
        self.mistakes = (self.mistakes + other.mistakes)[: self.kept]


def evaluate(
    model: Transformer, sources: Sources, beam: int = 1, protocol: Protocol = "free", kept: int = KEPT_MISTAKES
) -> Evaluation:
    """Let the model answer every source, at least one, and compare with what the task asks for.

    Args:
        beam: 1 is greedy decoding.
        protocol: ``free``: the model sees its own output and must emit ``<EOS>`` itself, the only protocol that tells
            whether it works; ``length-given``: it is stopped at the right length, and ``<EOS>`` is not asked for;
            ``teacher-forced``: at every step it is shown the right output so far; ``chomsky``: as ``length-given``, for
            the score of ``seqrev.workflows.evaluate``, that of Delétang et al.
        kept: how many mistakes are listed.

    Raises:
        UsageError: there is no such protocol, no such beam, or no sequence.
    """
    check_beam(beam)
    if not len(sources):
        raise UsageError("There is no sequence to evaluate on; at least one was expected.", "[[4, 8, 2, 9]]")
    if protocol not in get_args(Protocol):
        problem = f"{shorten(protocol)} is not a protocol; {', '.join(get_args(Protocol))} are."
        raise UsageError(problem, "seqrev evaluate --help")
    if protocol == "teacher-forced":
        return compare(sources, teacher_forced(model, sources), model.rule, kept=kept)
    length_given = protocol in ("length-given", "chomsky")
    if beam == 1:
        answers = greedy_answers(model, sources, teacher_forced(model, sources, length_given, give_up=True), length_given)
    else:
        answers = decode(model, sources, beam, length_given)
    return compare(sources, answers, model.rule, count_end=not length_given, kept=kept)


def greedy_answers(
    model: Transformer, sources: Sources, forced: Sequence[Hypothesis], length_given: bool = False
) -> list[Hypothesis]:
    """What greedy decoding gives; step by step only where teacher forcing does not give it already.

    As long as its predictions are right, the model's own output so far is the right output so far: where every
    teacher-forced prediction is right, the free-running answer is the same, found in one parallel pass. (Where two tokens
    are as good as equally probable, the two ways may choose differently: they compute the same numbers in another order.)

    ``forced``: of ``teacher_forced``, on the same sources, with the same ``length_given``.
    """
    answers = list(forced)
    pairs = zip(answers_to(sources, model.rule), forced, strict=True)
    wrong = [index for index, (expected, answer) in enumerate(pairs) if error_kind(expected, answer) is not None]
    for index, answer in zip(wrong, decode(model, pick(sources, wrong), 1, length_given), strict=True):
        answers[index] = answer
    return answers


def compare(
    sources: Sources, answers: Sequence[Hypothesis], rule: RuleName, count_end: bool = True, kept: int = KEPT_MISTAKES
) -> Evaluation:
    """Count what is right and wrong in answers, by the answers that were given with the sources, or else by a rule.

    ``count_end``: whether ``<EOS>`` is among the tokens that count; ``kept``: how many mistakes are listed.
    """
    result = Evaluation(kept=kept)
    for source, expected, answer in zip(sources, answers_to(sources, rule), answers, strict=True):
        kind = error_kind(expected, answer)
        right = sum(a == b for a, b in zip(expected, answer.output, strict=False))
        right += count_end and answer.finished and len(answer.output) == len(expected)
        for counts in (result.overall, result.by_length.setdefault(len(source), Counts())):
            counts.sequences += 1
            counts.tokens += len(expected) + count_end
            counts.right_tokens += right
            if kind is None:
                counts.exact += 1
            else:
                counts.errors[kind] += 1
        if kind is not None and len(result.mistakes) < kept:
            result.mistakes.append(Mistake(list(source), expected, answer.output, kind))
    return result


def error_kind(expected: Sequence[int], answer: Hypothesis) -> ErrorKind | None:
    """What went wrong first; None where the answer is right."""
    for index, token in enumerate(expected):
        if index == len(answer.output) or answer.output[index] == EOS - FIRST_SYMBOL:  # the latter if teacher-forced
            return "early_stop"
        if answer.output[index] != token:
            return "wrong_token"
    return "overrun" if len(answer.output) > len(expected) or not answer.finished else None
