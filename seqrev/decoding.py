"""From a trained model to an answer: greedy and beam search over cached keys and values.

They are free-running: the model sees its own output, and must emit ``<EOS>`` by itself. ``teacher_forced`` is not.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqrev import task
from seqrev.errors import InputError
from seqrev.model.transformer import Transformer
from seqrev.sequences import places_by_length
from seqrev.task import BOS, EOS, PAD
from seqrev.tensors import to_tensors

PATIENCE = 10  # tokens that an answer may be longer than its source before it counts as endless
BLOCK = 256  # target tokens of a sequence that are teacher-forced together, at most
FORCED_AT_ONCE = 4_096  # source tokens of the sequences that are: more do not fit in the caches of a CPU
FORCED_SCORES = 8_388_608  # attention scores of a layer that are in memory for it
LOGITS_AT_ONCE = 16_777_216  # logits that are
TOKENS_AT_ONCE = 65_536  # source tokens times beams decoded together
ROWS_AT_ONCE = 512  # and no more rows: the caches of a CPU then hold what a step works on
LOGITS_PER_TOKEN = 256  # a vocabulary of more than these times a sequence's tokens counts for more tokens


@dataclass(frozen=True)
class Decoded:
    """What the model answered."""

    output: list[int]
    """Symbols, without ``<EOS>``. (Teacher-forced, a special token at a symbol's place shows as a negative number.)"""
    finished: bool
    """Whether the model emitted ``<EOS>`` by itself, before the answer was ten tokens longer than its source."""
    log_probability: float
    """Natural logarithm of the probability that the model gives to this answer, ``<EOS>`` included; teacher-forced, to the
    right answer; with the length given, to its symbols."""


def decode(
    model: Transformer, sources: Sequence[Sequence[int]], beam: int = 1, length_given: bool = False
) -> list[Decoded]:
    """Answer many sequences, in their order; sources of like length are decoded together.

    Args:
        model: in evaluation mode.
        sources: symbols; at most ``model.longest_source`` each.
        beam: hypotheses kept for each source; 1 is greedy decoding.
        length_given: end every answer at the length of its source instead of leaving the end to the model.

    Raises:
        InputError: the probabilities are no numbers.
    """
    answers: list[Decoded | None] = [None] * len(sources)
    for indices in _buckets(sources, beam, model.output.out_features):
        device = model.output.weight.device
        ids = torch.from_numpy(task.frame_all([sources[index] for index in indices])).to(device)
        most = model.config.max_positions
        lengths = [len(sources[index]) for index in indices]
        limits = lengths if length_given else [min(length + 1 + PATIENCE, most) for length in lengths]
        for index, answer in zip(indices, search(model, ids, limits, beam, length_given), strict=True):
            if not math.isfinite(answer.log_probability):
                raise InputError("The model's probabilities are no numbers: its weights are too large.")
            answers[index] = answer
    return [answer for answer in answers if answer is not None]


def _buckets(sources: Sequence[Sequence[int]], beam: int, vocabulary: int) -> Iterator[list[int]]:
    """Indices of sources of like length, so that little is padded and rows finish together."""
    bucket: list[int] = []
    for index in sorted(range(len(sources)), key=lambda index: len(sources[index])):
        tokens = max(len(sources[index]) + 2, vocabulary // LOGITS_PER_TOKEN)
        rows = (len(bucket) + 1) * beam
        if bucket and (rows > ROWS_AT_ONCE or rows * tokens > TOKENS_AT_ONCE):
            yield bucket
            bucket = []
        bucket.append(index)
    if bucket:
        yield bucket


@torch.inference_mode()
def search(
    model: Transformer, source: Tensor, limits: Sequence[int], beam: int, length_given: bool = False
) -> list[Decoded]:
    """Beam search over one batch; with a beam of one it is greedy decoding.

    A hypothesis scores the sum of its log-probabilities. That sum only falls as tokens are added, so a row is done as
    soon as its best hypothesis has ended. Rows that are done leave the batch.

    Args:
        model: in evaluation mode.
        source: ids, padded at the end, ``[rows, src]``.
        limits: the most tokens that each row's answer may have, ``<EOS>`` included.
        beam: hypotheses kept for each row.
        length_given: every answer ends at its limit, and ``<EOS>`` is not among the choices.
    """
    rows, device = source.shape[0], source.device
    memory, cache = model.encode(source, padded=bool((source[:, -1] == PAD).any())), model.new_cache()
    if beam > 1:
        memory = memory.select(torch.arange(rows, device=device).repeat_interleave(beam))
    scores = torch.full((rows, beam), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams start alike: only the first may branch
    ended = torch.zeros(rows, beam, dtype=torch.bool, device=device)
    tokens = torch.full((rows, beam, 1), BOS, device=device)
    places = torch.arange(rows, device=device)  # where the rows that are still decoded stand in the answer
    most = torch.tensor(limits, device=device)
    answers: list[Decoded | None] = [None] * rows

    while len(places):
        logits = model.decode(tokens[:, :, -1].reshape(-1, 1), memory, cache)[:, -1]
        log_probabilities = logits.float().log_softmax(-1)
        if length_given:
            log_probabilities[:, EOS] = -torch.inf
        scores, parents, chosen = _extend(scores, ended, log_probabilities, beam)
        if beam > 1:
            tokens, ended = tokens.take_along_dim(parents[..., None], 1), ended.take_along_dim(parents, 1)
            first = torch.arange(len(places), device=device)[:, None] * beam
            for layer in cache:  # of the target only: all hypotheses of a row look at the same source
                layer.target.select((first + parents).flatten())
        tokens = torch.cat((tokens, chosen[..., None]), dim=-1)
        ended = ended | (chosen == EOS)

        done = ended[:, 0] | (most[places] < tokens.shape[-1])
        if done.any():
            best = (places, tokens[:, 0, 1:], ended[:, 0], scores[:, 0])
            for place, ids, finished, score in zip(*(one[done].tolist() for one in best), strict=True):
                answers[place] = Decoded(task.decode(ids), finished or length_given, score)
            keep = (~done).nonzero()[:, 0]
            places, scores, ended, tokens = places[keep], scores[keep], ended[keep], tokens[keep]
            flat = (keep[:, None] * beam + torch.arange(beam, device=device)).flatten()
            for layer in cache:
                layer.select(flat)
            memory = memory.select(flat)
    return [answer for answer in answers if answer is not None]


@torch.inference_mode()
def teacher_forced(
    model: Transformer, sources: Sequence[Sequence[int]], length_given: bool = False, give_up: bool = False
) -> list[Decoded]:
    """The most probable token at every step, each step being shown the right output so far. Not what a user gets.

    Goes through the targets in blocks, over the cache, so that memory grows linearly with length.

    Args:
        model: in evaluation mode.
        sources: symbols.
        length_given: do not ask for ``<EOS>``.
        give_up: answers that are wrong may break off after the first mistake, and their log-probability with them.
    """
    answers: list[Decoded | None] = [None] * len(sources)
    heads, vocabulary = model.config.heads, model.output.out_features
    for length, places in places_by_length(np.array([len(source) for source in sources], dtype=np.intp)):
        at_once = max(1, min(FORCED_AT_ONCE // (length + 2), LOGITS_AT_ONCE // vocabulary))
        block = min(FORCED_SCORES // (at_once * heads * (length + 2)), LOGITS_AT_ONCE // (at_once * vocabulary), BLOCK)
        for start in range(0, len(places), at_once):
            rows = places[start : start + at_once].tolist()
            source, target = to_tensors(np.array([sources[row] for row in rows]), model.output.weight.device)
            asked = target[:, 1 : length + 1 if length_given else length + 2]
            chosen, scores = _force(model, source, target, asked, max(1, block), give_up)
            for row, tokens, score in zip(rows, chosen.tolist(), scores.tolist(), strict=True):
                output = [token - task.FIRST_SYMBOL for token in tokens[:length]]  # a special token shows as negative
                ended = length_given or tokens[length:] == [EOS]
                answers[row] = Decoded(output, ended, score)
    return [answer for answer in answers if answer is not None]


def _force(
    model: Transformer, source: Tensor, target: Tensor, asked: Tensor, block: int, give_up: bool
) -> tuple[Tensor, Tensor]:
    """The most probable tokens, ``[rows, asked]`` or fewer, and the log-probability of those asked for, ``[rows]``."""
    memory = model.encode(source, padded=False)
    cache = model.new_cache(one_query=False) if asked.shape[1] > block else None
    right = torch.ones(len(source), dtype=torch.bool, device=source.device)
    chosen, scores = [], torch.zeros(len(source), device=source.device)
    for start in range(0, asked.shape[1], block):
        labels = asked[:, start : start + block]
        logits = model.decode(target[:, start : start + labels.shape[1]], memory, cache)
        log_probabilities = logits.float().log_softmax(-1)
        scores += log_probabilities.gather(-1, labels[..., None]).sum((1, 2))
        chosen.append(log_probabilities.argmax(-1))
        right &= (chosen[-1] == labels).all(-1)
        if give_up and not right.any():
            break
    return torch.cat(chosen, dim=1), scores


def _extend(scores: Tensor, ended: Tensor, log_probabilities: Tensor, beam: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best ``beam`` continuations of each row: their scores, the hypotheses they extend, their new tokens.

    ``scores`` and ``ended``: ``[rows, beam]``; ``log_probabilities``: ``[rows · beam, vocabulary]``. An ended hypothesis
    stays as it is, padded. ``<PAD>`` and ``<BOS>`` are never part of an answer.
    """
    step = log_probabilities.view(-1, beam, log_probabilities.shape[-1])
    step[..., [PAD, BOS]] = -torch.inf
    step = step.masked_fill(ended[..., None], -torch.inf)
    step[..., PAD] = step[..., PAD].masked_fill(ended, 0.0)
    total = (scores[..., None] + step).flatten(1)
    best, index = total.topk(beam, dim=-1)
    return best, index // step.shape[-1], index % step.shape[-1]
