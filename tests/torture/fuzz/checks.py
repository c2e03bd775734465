"""What must hold: it works, or it is refused with a known error; soon, in one paragraph, without a control character."""

import contextlib
import io
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from seqrev.cli.console import LONGEST_MESSAGE, Console
from seqrev.errors import SeqrevError
from tests.helpers import Result

SECONDS = 2.0  # of computing, for one example
PATIENCE = 300.0  # seconds of waiting
KNOWN = ("not enough memory", "cannot be written", "refused an operation")  # what an exit code of 1 may be about


class HangError(BaseException):
    """It took too long."""


def _alarm(signum: int, _frame: FrameType | None) -> None:
    raise HangError(signal.Signals(signum).name)


@contextlib.contextmanager
def hard_limit() -> Iterator[None]:
    """End what computes, or waits, for too long."""
    previous = [signal.signal(signum, _alarm) for signum in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        for timer, signum, handler in zip(
            (signal.ITIMER_PROF, signal.ITIMER_REAL), (signal.SIGPROF, signal.SIGALRM), previous, strict=True
        ):
            signal.setitimer(timer, 0)
            signal.signal(signum, handler)


def attempt(function: Callable[[], object]) -> bool:
    """Whether it worked. If not, it was refused as it should be."""
    try:
        with hard_limit():
            function()
    except SeqrevError as error:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            Console().error(error)
        check(Result(error.exit_code, "", err.getvalue()))
        return False
    return True


def check(result: Result) -> None:
    """The exit code is a documented one, and what is printed may be."""
    code, out, err = result
    assert code in (0, 2, 3, 4) or (code == 1 and any(words in err for words in KNOWN)), err
    assert "should not have happened" not in err
    assert all(char.isprintable() or char == "\n" for char in out + err), ascii(err)
    if code:
        message, hint = err.splitlines()[-2:]
        assert message.startswith("Error: ")
        assert hint.startswith("Try: ")
        assert len(message) < LONGEST_MESSAGE + 20
