"""One training step: a pure function of (configuration, seed, step) and of the state before it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from seqrev.model.randomness import current_generator, drawing_from, seeded_globally
from seqrev.model.tensors import to_tensors
from seqrev.task import ENDED, FIRST_SYMBOL, PAD, Array, answer_length
from seqrev.training.events import Step
from seqrev.training.schedule import is_logged, learning_rate, noise_scale
from seqrev.training.state import TrainingState

_ONE_AT_A_TIME = Lock()


@torch.inference_mode(False)  # whatever mode the caller is in
@torch.enable_grad()
def train_step(state: TrainingState, sources: Array, tokens: int | None = None, targets: Array | None = None) -> Step:
    """Take one step on a batch of sequences, ``[rows, longest]``, filled up with ``ENDED``, as the ``targets`` are.

    ``targets``: None: they follow from the rule.

    With several processes, ``sources`` are this one's rows, and ``tokens`` the target tokens of all: the gradient is that
    of the mean over the whole batch, however many processes there are. Dropout and noise are drawn from (seed, step,
    rank): they are not the same for another number of processes, all else is, to rounding.

    Raises:
        TrainingError: the loss or the gradient is not finite; on a GPU, here or at one of the next steps, until the next
            one that is logged.
    """
    config, processes = state.config.train, state.processes
    source, target = to_tensors(sources, state.model.rule if targets is None else targets, state.device)
    symbols = answer_length(int((sources != ENDED).sum()), state.model.rule)
    own_tokens = len(sources) + (symbols if targets is None else int((targets != ENDED).sum()))  # with <EOS>
    tokens = own_tokens if tokens is None else tokens
    padded = bool((sources[:, -1] == ENDED).any())
    lr = learning_rate(state.step, config)
    if not state.trained.training:  # asked first, because setting it in every part takes 1 % of a step
        state.trained.train()
    if config.noise_warmup_steps:
        state.trained.scale_noise(noise_scale(state.step, config))
    with _randomness(state, step_seed(state.config.seed, state.step, processes.rank)):
        read = replace_symbols(target[:, :-1], config.target_noise, state.model.vocabulary_size)
        with torch.autocast(state.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = state.replica(source, read, padded=padded)
        loss = token_loss(logits.float(), target[:, 1:])
        loss = loss * (processes.size * own_tokens / tokens)  # so that the mean over processes is that over all tokens
        state.optimizer.zero_grad()
        torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(state.optimizer.parameters, config.max_grad_norm or math.inf)
    state.update(lr, processes.mean(loss.detach()), norm)
    read_now = state.reading_is_free or is_logged(state.step, config)
    value, gradient_norm = state.read() if read_now else (math.nan, math.nan)
    return Step(state.step, value, lr, gradient_norm, tokens)


@contextmanager
def _randomness(state: TrainingState, seed: int) -> Iterator[None]:
    """All random numbers within follow from ``seed``, and the program around keeps its own.

    On a CPU they come from a generator of their own, so that several threads can train at once. Elsewhere it is that of the
    process, so one thread after the other takes its steps.
    """
    if state.device.type == "cpu" and not state.config.train.compile:
        with drawing_from(torch.Generator("cpu").manual_seed(seed)):
            yield
    else:
        with _ONE_AT_A_TIME, seeded_globally(seed, state.device):
            yield


def step_seed(seed: int, step: int, rank: int) -> int:
    """What the random numbers of a step begin with. Rank 0 has the same as a single process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def replace_symbols(ids: Tensor, share: float, vocabulary_size: int) -> Tensor:
    """A random share of the symbols replaced by random symbols, ids ``[batch, tgt]`` to the same shape.

    A decoder that reads them cannot rely on what was emitted before, and has to know how far it is: "word dropout" (Bowman
    et al., "Generating Sentences from a Continuous Space", 2016), with random symbols in the gaps.
    """
    if not share:
        return ids
    draw: dict[str, Any] = {"generator": current_generator(), "device": ids.device}
    chosen = (torch.rand(ids.shape, dtype=torch.float32, **draw) < share) & (ids >= FIRST_SYMBOL)
    return torch.where(chosen, torch.randint(FIRST_SYMBOL, vocabulary_size, ids.shape, **draw), ids)


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the tokens that are not padding; ``[batch, tgt, vocabulary]`` against ``[batch, tgt]``."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)
