"""Stopping on request: the first SIGINT or SIGTERM asks, and what runs may finish its step; the second ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from seqrev.errors import SeqrevError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SeqrevError):
    """The user, or the system, asked to stop. The exit code is 128 plus the number of the signal."""

    def __init__(self, signum: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.exit_code = 128 + signum


class StopRequest:
    """Whether a signal to stop has come."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.patient = False
        """True: a first signal is only noted, and the program looks at ``received``; False: it interrupts at once."""
        self.hint = ""
        """The command that goes on from here."""

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if self.patient and self.received is None:
            self.received = signum
            return
        raise Interrupted(signum, f"Stopped by {signal.Signals(signum).name}.", self.hint)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch the stop signals while the block runs, and put the old handlers back after it."""
    request = StopRequest()
    previous = {signum: signal.signal(signum, request._handle) for signum in STOP_SIGNALS}
    try:
        yield request
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
