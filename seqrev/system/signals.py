"""Stopping on request: the first signal asks, and what runs may finish its step; the second ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGUSR1 is what schedulers warn with. Windows has neither that nor SIGHUP; SIGBREAK is Ctrl-Break, or its window closes.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")
STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Interrupted(BaseException):
    """The user, or the system, asked to stop. The exit code is 128 plus the number of the signal.

    Neither an ``Exception`` nor a ``KeyboardInterrupt``: libraries catch those, and go on or report them their own way.
    """

    def __init__(self, signum: int, message: str, hint: str = "", at_once: bool = False) -> None:
        """``at_once``: by a second signal, which does not wait; a step may be half taken, and must not be saved."""
        super().__init__(message)
        self.exit_code = 128 + signum
        self.signum, self.hint, self.at_once = signum, hint, at_once


class StopRequest:
    """Whether a signal to stop has come."""

    def __init__(self) -> None:
        self.received: int | None = None  # the number of the first signal
        self.patient = False
        """True: a first signal is only noted, and the program looks at ``received``; False: it interrupts at once."""
        self.hint = "the same command again"  # or the one that goes on from here

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        first = self.received is None
        if first:
            self.received = signum
        if not (self.patient and first):
            raise Interrupted(signum, f"Stopped by {signal.Signals(signum).name}.", self.hint, at_once=not first)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch the stop signals while the block runs, and put the old handlers back after it.

    Inside of another such block it is the same request: a library in which the first signal arrived may have swallowed
    its exception. A signal that is ignored stays so: that is how ``nohup`` keeps a training alive when its terminal
    closes. Outside of the main thread, where Python allows no handlers, nothing is caught.
    """
    previous = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    owners = [getattr(handler, "__self__", None) for handler in previous.values()]
    request = next((owner for owner in owners if isinstance(owner, StopRequest)), StopRequest())
    may_catch = threading.current_thread() is threading.main_thread()
    caught = [signum for signum, handler in previous.items() if may_catch and handler not in (signal.SIG_IGN, None)]
    for signum in caught:
        signal.signal(signum, request._handle)
    try:
        yield request
    finally:
        for signum in caught:
            signal.signal(signum, previous[signum])
