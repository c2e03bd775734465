"""From a trained model to an answer: greedy and beam search over cached keys and values.

They are free-running: the model sees its own output, and must emit ``<EOS>`` by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from seqrev.data.sequences import Sequences, answers_to
from seqrev.errors import InputError, UsageError
from seqrev.inference import LARGEST_BEAM
from seqrev.inference.batching import Sources, beam_bytes, buckets_for_decoding
from seqrev.model.transformer import Transformer
from seqrev.system.resources import check_memory
from seqrev.system.text import shorten
from seqrev.task import BOS, EOS, PAD, add_special_tokens, answer_length, ids_to_symbols

MAX_EXTRA_TOKENS = 10  # that an answer may be longer than the task asks for before it counts as endless


@dataclass(frozen=True)
class Hypothesis:
    """An answer of the model."""

    output: list[int]
    """Symbols, without ``<EOS>``. (Teacher-forced, a special token where a symbol is due shows as a negative number.)"""
    finished: bool
    """Whether the model emitted ``<EOS>`` by itself, before the answer was ten tokens longer than what the rule gives (of
    given pairs: than the longest answer to train on)."""
    log_probability: float
    """Natural logarithm of the probability of this answer, ``<EOS>`` included (teacher-forced: of the right answer; with
    the length given: of its symbols)."""


def decode(model: Transformer, sources: Sources, beam: int = 1, length_given: bool = False) -> list[Hypothesis]:
    """Answers to many sources, in their order; those of like length are decoded together.

    Args:
        sources: of at most ``model.longest_source`` symbols each.
        beam: hypotheses kept for each source, as many as fit in memory; 1 is greedy decoding.
        length_given: end every answer at the right length instead of leaving the end to the model.

    Raises:
        InputError: the probabilities are no numbers.
        UsageError: the right length is not known, ``check_beam`` refuses the beam, or it does not fit in memory.
    """
    check_beam(beam)
    if beam > 1 and model.device.type == "cpu":
        longest = max(map(len, sources), default=0)
        needed = beam_bytes(model, beam, longest + 2, min(_most_tokens(model, longest), model.config.max_positions))
        check_memory(needed, f"A beam of {beam:,} hypotheses", "the same with a smaller beam")
    answers: dict[int, Hypothesis] = {}
    right = answers_to(sources, model.rule) if length_given else None
    for indices in buckets_for_decoding(sources, beam, model.vocabulary_size):
        some = Sequences.from_lists([sources[index] for index in indices], model.vocabulary_size)
        ids = torch.from_numpy(add_special_tokens(some.padded)).to(model.device)
        most = [len(right[index]) if right else _most_tokens(model, len(sources[index])) for index in indices]
        limits = [min(tokens, model.config.max_positions) for tokens in most]
        found = beam_search(model, ids, limits, beam, length_given)
        if not all(math.isfinite(answer.log_probability) for answer in found):
            raise InputError("The model's probabilities are no numbers: its weights are too large.")
        answers.update(zip(indices, found, strict=True))
    return [answers[index] for index in range(len(sources))]


def check_beam(beam: int) -> None:
    """Raise ``UsageError`` if a beam is not a whole number from 1 to ``LARGEST_BEAM``."""
    if not isinstance(beam, Integral) or isinstance(beam, bool) or not 1 <= beam <= LARGEST_BEAM:
        problem = f"A beam of {shorten(beam)} was asked for; a whole number from 1 to {LARGEST_BEAM:,} was expected."
        raise UsageError(problem, "beam=4, or beam=1 for greedy decoding")


def _most_tokens(model: Transformer, length: int) -> int:
    """Of an answer to a source of so many symbols, ``<EOS>`` included, before it counts as endless."""
    return (model.longest_answer or answer_length(length, model.rule)) + 1 + MAX_EXTRA_TOKENS


@torch.inference_mode()
def beam_search(
    model: Transformer, source: Tensor, limits: Sequence[int], beam: int, length_given: bool = False
) -> list[Hypothesis]:
    """Beam search over one batch, ``source``: ids, padded at the end, ``[rows, src]``; for the rest see ``decode``.

    A hypothesis scores the sum of its log-probabilities, which only falls as tokens are added: a row is done as soon as
    its best hypothesis has ended, and leaves the batch. ``limits``: the most tokens of each answer, ``<EOS>`` included.
    """
    rows, device = source.shape[0], source.device
    memory, cache = model.encode(source, padded=bool((source[:, -1] == PAD).any())), model.new_cache()
    active = torch.arange(rows, device=device)  # indices of the rows that are still decoded
    if beam > 1:
        memory = memory.select(active.repeat_interleave(beam))
    scores = torch.full((rows, beam), -torch.inf, dtype=torch.float32, device=device)
    scores[:, 0] = 0.0  # all beams start alike: only the first may branch
    ended = torch.zeros(rows, beam, dtype=torch.bool, device=device)
    tokens = torch.full((rows, beam, 1), BOS, device=device)
    most = torch.tensor(limits, device=device)
    never = [PAD, BOS, EOS] if length_given else [PAD, BOS]  # part of an answer
    answers: dict[int, Hypothesis] = {}

    while len(active):
        newest = tokens[:, :, -1].reshape(-1, 1)
        scores, parents, chosen = _extend(scores, ended, model.decode(newest, memory, cache)[:, -1], never)
        if beam > 1:
            tokens, ended = tokens.take_along_dim(parents[..., None], 1), ended.take_along_dim(parents, 1)
            first = torch.arange(len(active), device=device)[:, None] * beam
            for layer in cache:  # of the target only: all hypotheses of a row have the same source
                layer.target.select((first + parents).flatten())
        tokens = torch.cat((tokens, chosen[..., None]), dim=-1)
        ended = ended | (chosen == EOS)
        done = ended[:, 0] | (most[active] < tokens.shape[-1])
        if done.any():
            best = (active, tokens[:, 0, 1:], ended[:, 0], scores[:, 0])
            for row, ids, finished, score in zip(*(one[done].tolist() for one in best), strict=True):
                answers[row] = Hypothesis(ids_to_symbols(ids), finished or length_given, score)
            keep = (~done).nonzero()[:, 0]
            active, scores, ended, tokens = active[keep], scores[keep], ended[keep], tokens[keep]
            flat = (keep[:, None] * beam + torch.arange(beam, device=device)).flatten()
            for layer in cache:
                layer.select(flat)
            memory = memory.select(flat)
    return [answers[row] for row in range(rows)]


def _extend(scores: Tensor, ended: Tensor, logits: Tensor, never: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The best ``beam`` continuations of each row: their scores, the hypotheses they extend, their new tokens.

    ``scores`` and ``ended``: ``[rows, beam]``; ``logits``: ``[rows · beam, vocabulary]``; ``never``: tokens that are not
    chosen. An ended hypothesis stays as it is, padded. All is done where the log-probabilities are, to save memory.
    """
    rows, beam = scores.shape
    step = logits.float().log_softmax(-1).view(rows, beam, -1)
    step[..., never] = -torch.inf
    step.masked_fill_(ended[..., None], -torch.inf)
    step[..., PAD].masked_fill_(ended, 0.0)
    # Of each hypothesis first: to sort all together would take four times the memory of a large vocabulary.
    each, tokens = step.add_(scores[..., None]).topk(min(beam, step.shape[-1]), dim=-1)
    best, index = each.flatten(1).topk(beam, dim=-1)
    return best, index // each.shape[-1], tokens.flatten(1).gather(1, index)
