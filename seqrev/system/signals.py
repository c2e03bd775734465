"""Stopping on request: the first signal asks, and what runs may finish its step; the second ends at once."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType

SECONDS_TO_HEAR = 2.0  # a second signal, before it ends the process all the same
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
        self._heard = 0

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        first = self.received is None
        self._heard += 1
        if first:
            self.received = signum
        if not (self.patient and first):
            raise Interrupted(signum, f"Stopped by {signal.Signals(signum).name}.", self.hint, at_once=not first)

    @contextmanager
    def _unheard_signals_end(self) -> Iterator[None]:
        """End the process at a second signal that Python does not hear, as its main thread waits inside of a library.

        Python calls handlers between two of its own instructions. A wait for another process, as in a collective operation
        of ``torch.distributed``, is one instruction, and has no end if the other is gone.
        """
        ours, pythons = socket.socketpair()
        pythons.setblocking(False)
        done = threading.Event()

        def watch() -> None:
            sent = 0
            while signum := ours.recv(1):
                sent += signum[0] in STOP_SIGNALS
                if sent > 1 and not done.wait(SECONDS_TO_HEAR) and self._heard < sent:
                    os._exit(128 + signum[0])

        watcher = threading.Thread(target=watch, daemon=True)
        with suppress(RuntimeError):  # no more threads are allowed (ulimit -u): then there is nobody who watches
            watcher.start()
        before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            done.set()
            pythons.close()  # ends the thread
            if watcher.ident is not None:
                watcher.join()
            ours.close()


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch the stop signals while the block runs, and put the old handlers back after it.

    Inside of another such block it is the same request: a library in which the first signal arrived may have swallowed
    its exception. A signal that is ignored stays so: that is how ``nohup`` keeps a training alive when its terminal
    closes. Outside of the main thread, where Python allows no handlers, nothing is caught.
    """
    previous = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    owners = [getattr(handler, "__self__", None) for handler in previous.values()]
    outer = next((owner for owner in owners if isinstance(owner, StopRequest)), None)
    request = outer or StopRequest()
    may_catch = threading.current_thread() is threading.main_thread()
    caught = [signum for signum, handler in previous.items() if may_catch and handler not in (signal.SIG_IGN, None)]
    for signum in caught:
        signal.signal(signum, request._handle)
    try:
        with request._unheard_signals_end() if caught and outer is None else nullcontext():
            yield request
    finally:
        for signum in caught:
            signal.signal(signum, previous[signum])


@contextmanager
def signals_end_at_once() -> Iterator[None]:
    """Leave the stop signals to the system while the block runs: for waiting inside of a library, with nothing to save."""
    caught = {signum: handler for signum in STOP_SIGNALS if callable(handler := signal.getsignal(signum))}
    if threading.current_thread() is not threading.main_thread():
        caught = {}
    for signum in caught:
        signal.signal(signum, signal.SIG_DFL)
    try:
        yield
    finally:
        for signum, handler in caught.items():
            signal.signal(signum, handler)
