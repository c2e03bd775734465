"""How many CPU threads PyTorch computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Compute with ``count`` threads (0: as many as before), and go back to those of the caller afterwards.

    Small models are fastest on one: on a busy machine, threads that wait for each other take many times as long. Long
    sequences make no difference: on two cores that were shared with other work, decoding 16 sequences of length 1,000 took
    4 s on one thread and 45 s on two (medians of five, ``extrapolate.yaml``).
    """
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
