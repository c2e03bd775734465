"""Where random numbers come from, so that a program that trains a model keeps its own.

Within ``drawing_from`` dropout, noise and random positions come from a generator of their own. Elsewhere, as in all
modules of PyTorch, they come from the one generator that a process has.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional

_generator: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)  # of this thread


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Within it, in this thread, models draw from ``generator``, which is on their device."""
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)


@contextmanager
def seeded_globally(seed: int, device: torch.device) -> Iterator[None]:
    """Within it the generators of the process begin with ``seed``, those of the CPU and of a device; then they go on.

    For what draws from no others: the fused kernels of GPUs, and compiled ones.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def current_generator() -> torch.Generator | None:
    """What to draw from; None: the generator of the process."""
    return None if torch.compiler.is_compiling() else _generator.get()  # compiled code knows no other


def drop(values: Tensor, share: float) -> Tensor:
    """A random ``share`` of the values is zero, the others are larger for it (Srivastava et al. 2014); the same shape."""
    generator = current_generator() if share else None
    if generator is None:
        return functional.dropout(values, share)
    return values * torch.empty_like(values).bernoulli_(1 - share, generator=generator).div_(1 - share)


class Dropout(nn.Dropout):
    """``nn.Dropout``, whose numbers come from the generator of ``drawing_from``."""

    def forward(self, values: Tensor) -> Tensor:
        """Any shape to the same shape; in evaluation mode nothing changes."""
        return drop(values, self.p) if self.training else values
