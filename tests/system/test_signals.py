import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from seqrev.system.signals import STOP_SIGNALS, Interrupted, signals_end_at_once, stop_requests
from tests.helpers import PATIENCE, child_environment, wait_for


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)]
)
def test_a_stop_has_the_exit_code_of_its_signal(signum: int, code: int) -> None:
    error = Interrupted(signum, "Stopped.", "go on")
    assert not isinstance(error, Exception | KeyboardInterrupt)  # libraries catch those
    assert (error.exit_code, str(error), error.hint) == (code, "Stopped.", "go on")


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_the_first_signal_interrupts_at_once_where_nothing_has_to_be_saved(signum: signal.Signals) -> None:
    with stop_requests() as stop, pytest.raises(Interrupted, match=signum.name) as caught:
        signal.raise_signal(signum)
    assert stop.received == signum
    assert caught.value.exit_code == 128 + signum


@pytest.mark.parametrize("first", STOP_SIGNALS)
@pytest.mark.parametrize("second", STOP_SIGNALS)
def test_a_patient_program_is_asked_first_and_interrupted_by_the_second(
    first: signal.Signals, second: signal.Signals
) -> None:
    with stop_requests() as stop:
        stop.patient = True
        signal.raise_signal(first)
        assert stop.received == first
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(second)
        assert caught.value.exit_code == 128 + second


def test_the_old_handlers_are_put_back_even_after_an_error() -> None:
    before = [signal.getsignal(signum) for signum in STOP_SIGNALS]

    def fail() -> None:
        with stop_requests():
            assert [signal.getsignal(signum) for signum in STOP_SIGNALS] != before
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [signal.getsignal(signum) for signum in STOP_SIGNALS] == before


def test_a_signal_whose_exception_was_swallowed_is_not_forgotten() -> None:
    """As by a library that is being imported."""
    with stop_requests():
        with suppress(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        with stop_requests() as stop:
            assert stop.received == signal.SIGTERM
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert stop.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_outside_of_the_main_thread_nothing_is_caught() -> None:
    def enter() -> bool:
        with stop_requests():
            return [signal.getsignal(signum) for signum in STOP_SIGNALS] == before

    before = [signal.getsignal(signum) for signum in STOP_SIGNALS]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result()


def test_the_first_signal_is_the_one_that_is_kept() -> None:
    with stop_requests() as stop:
        stop.patient = True
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        assert stop.received == signal.SIGTERM


DEAF = """
import ctypes
from seqrev.system import signals
from seqrev.system.signals import signals_end_at_once, stop_requests

signals.SECONDS_TO_HEAR = 0.1

library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(1000)
library.pthread_mutex_init(mutex, None)
library.pthread_mutex_lock(mutex)
with stop_requests() as stop, {block}:
    stop.patient = True
    print("waiting", flush=True)
    library.pthread_mutex_lock(mutex)  # forever; no signal interrupts it, and Python hears none
"""


def deaf_process(block: str) -> "subprocess.Popen[bytes]":
    """A process whose main thread waits inside of a library."""
    command = [sys.executable, "-c", DEAF.format(block=block)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment())
    assert process.stdout is not None
    assert process.stdout.readline() == b"waiting\n"
    wait_for(lambda: is_asleep(process.pid), process)
    return process


def is_asleep(pid: int) -> bool:
    """Whether every thread of a process waits: it has done all that the last signal made it do."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_that_cannot_hear_it(second: signal.Signals) -> None:
    with deaf_process("stop_requests()") as process:
        try:
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: is_asleep(process.pid), process)  # the first one is patient
            process.send_signal(second)
            assert process.wait(timeout=PATIENCE) == 128 + second
        finally:
            process.kill()


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_where_there_is_nothing_to_save_the_first_signal_ends_it(signum: signal.Signals) -> None:
    with deaf_process("signals_end_at_once()") as process:
        try:
            process.send_signal(signum)
            assert process.wait(timeout=PATIENCE) == -signum
        finally:
            process.kill()


def test_signals_that_are_left_to_the_system_come_back() -> None:
    with stop_requests():
        before = [signal.getsignal(signum) for signum in STOP_SIGNALS]
        with signals_end_at_once():
            assert {signal.getsignal(signum) for signum in STOP_SIGNALS} == {signal.SIG_DFL}
        assert [signal.getsignal(signum) for signum in STOP_SIGNALS] == before


def test_where_no_more_threads_are_allowed_signals_are_caught_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``ulimit -u``."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with stop_requests() as stop, pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGTERM)
    assert stop.received == signal.SIGTERM
