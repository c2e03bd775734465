"""``seqrev`` as processes that start at once: a server imports everything, PyTorch too, and forks.

The server never trains itself, so its children start as clean as a new process. A child can be asked to signal itself at an
exact point: that is how kills and signals are aimed, and why they can be repeated from a seed.
"""

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqrev.system.signals import STOP_SIGNALS
from tests.helpers import child_environment
from tests.torture.shim import CHANGES, Call, watching

POINTS = {
    "generation": ("seqrev.workflows.generate", "write_dataset"),
    "epoch": ("seqrev.data.batches", "Batches._indices"),
    "training": ("seqrev.training.trainer", "train_step"),
    "validation": ("seqrev.training.trainer", "greedy_answers"),
    "saving": ("seqrev.training.recorder", "save_checkpoint"),
    "drawing": ("seqrev.plotting.export", "save_figure"),
}


@dataclass(frozen=True)
class Strike:
    """A signal that a child sends to itself."""

    signum: int
    point: str
    nth: int = 1
    """At which call of the function that is the point."""
    inside: int = 0
    """0: before it; -1: after it; n: inside, before the n-th call to the system that changes something on disk."""
    second: int = 0
    """The signal that follows, if any."""
    pause: float = 0.0
    """Seconds before the second."""

    def __str__(self) -> str:
        where = {0: "before", -1: "after"}.get(self.inside, f"at disk call {self.inside} of")
        then = f", then {self.second} after {self.pause:.3f} s" if self.second else ""
        return f"signal {self.signum} {where} {self.point} {self.nth}{then}"


class Child:
    """A process of ``seqrev``."""

    def __init__(self, server: "Server", pid: int, folder: Path) -> None:
        self.pid, self._server, self._folder = pid, server, folder
        self.cpu = 0.0
        """Seconds of processor time, known at the end."""

    def wait(self) -> int:
        """Its exit code; below 0: the signal that it died of."""
        status, self.cpu = self._server.ask(wait=self.pid)
        return os.waitstatus_to_exitcode(status)

    def wait_for_cpu(self, seconds: float) -> None:
        """Until it has used so much processor time, or has ended: an instant that a busy machine does not shift."""
        path = Path(f"/proc/{self.pid}/stat")
        while True:
            state, *fields = path.read_text().rpartition(")")[2].split()
            if state == "Z" or (int(fields[10]) + int(fields[11])) / os.sysconf("SC_CLK_TCK") >= seconds:
                return
            time.sleep(0.002)

    @property
    def output(self) -> str:
        """stdout and stderr."""
        return (self._folder / "output").read_text()

    def reported(self, what: str) -> list[float]:
        """``saved``: the steps whose save returned; ``struck``: when it signalled itself (monotonic)."""
        path = self._folder / "reported"
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [float(number) for word, number in words if word == what]


class Server:
    """The process that forks, and what it is asked."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.torture.server import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        folder: Path,
        *arguments: object,
        strike: Strike | None = None,
        draw: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start ``seqrev ARGUMENTS``; ``folder`` gets its output. Pictures are drawn only if asked for: they take long.

        ``environment``: variables beside those of the server.
        """
        folder.mkdir(exist_ok=True)
        for name in ("output", "reported"):
            (folder / name).unlink(missing_ok=True)
        plan = asdict(strike) if strike else None
        words = [str(argument) for argument in arguments]
        pid = self.ask(arguments=words, folder=str(folder), strike=plan, draw=draw, environment=environment or {})
        return Child(self, int(pid), folder)

    def close(self) -> None:
        with self._process as process:  # its end closes the pipes
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


# --- in the server --------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests, one a line, until there are no more; then nobody waits for what still runs."""
    hear_signals()
    children: set[int] = set()
    for name in ("seqrev.cli", "seqrev.workflows.train", "torch._dynamo", "matplotlib.backends.backend_agg"):
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status, used = os.wait4(request["wait"], 0)
            children.remove(request["wait"])
            print(json.dumps([status, used.ru_utime + used.ru_stime]), flush=True)
        else:
            child = os.fork()
            if child == 0:
                _be_child(request)
            children.add(child)
            print(child, flush=True)
    for child in children:
        os.kill(child, signal.SIGKILL)


def hear_signals() -> None:
    """As from a terminal; under nohup, or behind an ampersand, some are ignored, and that is inherited."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


def _be_child(request: dict[str, Any]) -> None:
    """Never returns."""
    folder = Path(request["folder"])
    os.setsid()
    os.chdir(folder)
    os.environ.update(request["environment"])
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    reported = os.open("reported", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def report(what: str, number: float) -> None:
        os.write(reported, f"{what} {number!r}\n".encode())

    from seqrev.cli import entry

    if not request["draw"]:
        from seqrev.plotting import attention, curves, export

        for owner, name in ((export, "save_figure"), (curves, "training_curves"), (attention, "draw_attention")):
            setattr(owner, name, _draw_nothing)
    if request["strike"]:
        _aim(Strike(**request["strike"]), report)
    _replace("saving", lambda save: lambda *arguments: report("saved", save(*arguments).step))
    sys.argv = ["seqrev", *request["arguments"]]
    code = 1
    try:
        entry()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _draw_nothing(*_: object, **__: object) -> Any:
    """Drawing takes longer than all else together."""


def _replace(point: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, name = POINTS[point]
    *owners, name = name.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, name, wrap(getattr(owner, name)))


def _aim(strike: Strike, report: Callable[[str, float], None]) -> None:
    """Replace the function that is the point by one that strikes at its n-th call."""
    calls = changes = 0

    def hit() -> None:
        report("struck", time.monotonic())
        if strike.second:
            threading.Timer(strike.pause, os.kill, (os.getpid(), strike.second)).start()
        os.kill(os.getpid(), strike.signum)

    def seen(call: Call, halfway: Callable[[], object] = lambda: None, /) -> None:
        nonlocal changes
        changes += call.name in CHANGES
        if call.name in CHANGES and changes == strike.inside:
            if strike.signum == 9:
                halfway()
            hit()

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def struck(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls != strike.nth:
                return function(*arguments, **options)
            if strike.inside == 0:
                hit()
            with watching(seen) if strike.inside > 0 else nullcontext():
                result = function(*arguments, **options)
            if strike.inside == -1:
                hit()
            return result

        return struck

    _replace(strike.point, wrap)
