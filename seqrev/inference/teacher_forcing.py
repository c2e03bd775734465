"""Teacher forcing: every step is given the right output so far. It measures, and it shortens evaluation."""

import functools

import numpy as np
import torch
from torch import Tensor

from seqrev.data.sequences import targets_of
from seqrev.inference.batching import Sources, block_for_forcing, chunks_by_length, rows_for_forcing
from seqrev.inference.search import Hypothesis
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from seqrev.task import ENDED, EOS, FIRST_SYMBOL, PAD


@torch.inference_mode()
def teacher_forced(
    model: Transformer, sources: Sources, length_given: bool = False, give_up: bool = False
) -> list[Hypothesis]:
    """The most probable token at every step, each step being shown the right output so far. Not what a user gets.

    Goes through the targets in blocks, over the cache, so that memory grows linearly with length.

    Args:
        length_given: do not ask for ``<EOS>``.
        give_up: answers that are wrong may break off after the first mistake, and their log-probability with them.
    """
    answers: dict[int, Hypothesis] = {}
    for indices, chunk in chunks_by_length(sources, functools.partial(rows_for_forcing, model)):
        targets = targets_of(sources, np.array(indices), chunk, model.rule)
        source, target = to_tensors(chunk, targets, model.device)
        asked = target[:, 1:]
        if length_given:
            asked = asked.masked_fill(asked == EOS, PAD)[:, :-1]
        block = block_for_forcing(model, len(chunk), max(chunk.shape[1], targets.shape[1]))
        chosen, scores = _force(model, source, target, asked, block, give_up)
        lengths = (targets != ENDED).sum(axis=1).tolist()
        for index, length, tokens, score in zip(indices, lengths, chosen.tolist(), scores.tolist(), strict=True):
            output = [token - FIRST_SYMBOL for token in tokens[:length]]  # a special token shows as negative
            answers[index] = Hypothesis(output, length_given or tokens[length : length + 1] == [EOS], score)
    return [answers[index] for index in range(len(sources))]


def _force(
    model: Transformer, source: Tensor, target: Tensor, asked: Tensor, block: int, give_up: bool
) -> tuple[Tensor, Tensor]:
    """The most probable tokens, ``[rows, asked]`` or fewer, and the log-probability of those asked for, ``[rows]``.

    ``asked``: ids, ``[rows, asked]``; ``<PAD>`` is not asked for.
    """
    memory = model.encode(source, padded=False)
    cache = model.new_cache(single_query=False) if asked.shape[1] > block else None
    right = torch.ones(len(source), dtype=torch.bool, device=source.device)
    chosen, scores = [], torch.zeros(len(source), dtype=torch.float32, device=source.device)
    for start in range(0, asked.shape[1], block):
        labels = asked[:, start : start + block]
        logits = model.decode(target[:, start : start + labels.shape[1]], memory, cache)
        log_probabilities = logits.float().log_softmax(-1)
        real = labels != PAD
        scores += (log_probabilities.gather(-1, labels[..., None])[..., 0] * real).sum(1)
        chosen.append(log_probabilities.argmax(-1))
        right &= ((chosen[-1] == labels) | ~real).all(-1)
        if give_up and not right.any():
            break
    return torch.cat(chosen, dim=1), scores
