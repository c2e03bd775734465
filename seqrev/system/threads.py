"""How many CPU threads PyTorch computes with."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch


class _Calls:
    """The calls that compute at this moment: PyTorch has one number of threads for all of them."""

    lock, running, before = Lock(), 0, 1


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Compute with ``count`` threads (0: as many as before), and go back to those of the caller afterwards.

    Small models are fastest on one: on a busy machine, threads that wait for each other take many times as long. Long
    sequences make no difference: on two cores that were shared with other work, decoding 16 sequences of length 1,000 took
    4 s on one thread and 45 s on two (medians of five, ``extrapolate.yaml``).
    """
    with _Calls.lock:
        if not _Calls.running:
            _Calls.before = torch.get_num_threads()
        _Calls.running += 1
        if count:
            torch.set_num_threads(count)
    try:
        yield
    finally:
        with _Calls.lock:
            _Calls.running -= 1
            if not _Calls.running:  # of calls that overlap, the last one goes back
                torch.set_num_threads(_Calls.before)
