"""How many CPU threads PyTorch computes with."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class _Calls:
    """The calls that compute at this moment, in all threads of the program."""

    lock = threading.Lock()
    running = 0
    before = 1
    """PyTorch's number before the first of them."""
    count = 1
    """The last one that was set."""


class _Own(threading.local):
    """Those of this thread: PyTorch has a number for each thread, and one for threads that begin."""

    running = 0
    before = 1
    settled = False
    """It has a number: a thread takes one when it first asks, which may be what a call in another thread has set.

    Of other threads it is not known before their first call, so one that chose that very number itself gets ``before``.
    """


_own = _Own()
torch.get_num_threads()  # from here on the thread that imports this has one
_own.settled = True


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Compute with ``count`` threads (0: as many as before), and go back to those of the caller afterwards.

    Small models are fastest on one: on a busy machine, threads that wait for each other take many times as long. Long
    sequences make no difference: on two cores that were shared with other work, decoding 16 sequences of length 1,000 took
    4 s on one thread and 45 s on two (medians of five, ``extrapolate.yaml``).
    """
    with _Calls.lock:
        if not _own.running:
            _own.before = torch.get_num_threads()
            if not _Calls.running:
                _Calls.before = _own.before
            elif not _own.settled and _own.before == _Calls.count:
                _own.before = _Calls.before
            _own.settled = True
        _own.running += 1
        _Calls.running += 1
        if count:
            torch.set_num_threads(count)
            _Calls.count = count
    try:
        yield
    finally:
        with _Calls.lock:
            _own.running -= 1
            _Calls.running -= 1
            if not _own.running:  # of calls that overlap in a thread, the last one goes back
                torch.set_num_threads(_own.before)
