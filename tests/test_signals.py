import signal

import pytest

from seqrev.errors import SeqrevError
from seqrev.signals import STOP_SIGNALS, Interrupted, stop_requests


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_has_the_exit_code_of_its_signal(signum: int, code: int) -> None:
    error = Interrupted(signum, "Stopped.", "go on")
    assert isinstance(error, SeqrevError)
    assert (error.exit_code, str(error), error.hint) == (code, "Stopped.", "go on")


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_the_first_signal_interrupts_at_once_where_nothing_has_to_be_saved(signum: signal.Signals) -> None:
    with stop_requests() as stop, pytest.raises(Interrupted, match=signum.name) as caught:
        signal.raise_signal(signum)
    assert stop.received is None
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
