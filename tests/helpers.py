"""What many tests share: a tiny configuration, the command line in-process and as a process, checks of errors."""

import contextlib
import importlib.util
import io
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol
from unittest import mock

from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

from seqrev.cli import main
from seqrev.config import Config, load_config

PATIENCE = 600  # seconds for what takes a few on an idle machine: longer is a hang
TINY = (
    "task.symbols=5",
    "task.max_length=4",
    "data.train=600",
    "data.validation=30",
    "data.test=30",
    "model.d_model=32",
    "model.heads=2",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.d_ff=64",
    "model.max_positions=32",
    "train.steps=250",
    "train.batch_size=32",
    "train.lr=5e-3",
    "train.warmup_steps=20",
    "train.validate_every=50",
)


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The error that ``--json`` writes as the last line of stderr."""
        error: dict[str, str] = json.loads(self.err.splitlines()[-1])["error"]
        return error


class Cli(Protocol):
    """Runs a command in this process."""

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Result: ...


def run_main(*arguments: object, stdin: bytes = b"") -> Result:
    """``seqrev ARGUMENTS`` in this process, its streams caught."""
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    finally:
        sys.stdin = before
    return Result(code, out.getvalue(), err.getvalue())


def load_benchmark(name: str) -> ModuleType:
    """``benchmarks/NAME.py`` as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_for(condition: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    """Until what the process does is seen, however slow it is; a condition that is true once must stay so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_checkpoint(run: Path) -> bool:
    """Whether a training has saved one: the first does not stay for ever, but there is always one from then on."""
    return any((run / "checkpoints").glob("step-*"))


def run_process(*arguments: object, folder: Path, stdin: bytes = b"", **environment: str) -> Result:
    """``python -m seqrev ARGUMENTS`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "seqrev", *map(str, arguments)],
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        env=child_environment(**environment),
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def child_environment(**changes: str) -> dict[str, str]:
    """The environment of a child: this one, without what would change how ``seqrev`` behaves."""
    kept = {name: value for name, value in os.environ.items() if name not in ("SEQREV_RUNS", "SEQREV_DEBUG", "NO_COLOR")}
    return {**kept, "OMP_NUM_THREADS": "1", **changes}


def settings(overrides: Sequence[str] = TINY) -> list[str]:
    """Overrides as options of the command line."""
    return [word for override in overrides for word in ("--set", override)]


def tiny_config(*overrides: str) -> Config:
    """The configuration of ``trained_run``, with changes."""
    return load_config(overrides=[*TINY, *overrides])


def assert_refused(result: Result, code: int, *fragments: str) -> None:
    """A known error: its exit code, one short paragraph, what to type next, and nothing on stdout."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert "should not have happened" not in result.err
    paragraph, hint = result.err.splitlines()[-2:]
    assert paragraph.startswith("Error: "), result.err
    assert len(paragraph) < 500
    assert hint.startswith("Try: "), result.err
    for fragment in fragments:
        assert fragment in result.err
    assert result.out == ""


def offered(result: Result) -> list[str]:
    """The words after "Try: seqrev"."""
    assert_refused(result, 2)
    name, *words = shlex.split(result.err.splitlines()[-1].removeprefix("Try: "))
    assert name == "seqrev"
    return words


def assert_apart(figure: Figure) -> list[str]:
    """No two texts of a figure touch, and none is cut off at its edge; returns the texts."""
    drawn: list[Text] = []
    draw = Text.draw

    def record(text: Text, renderer: RendererBase) -> None:
        drawn.append(text)
        draw(text, renderer)

    figure.set_dpi(160)
    with mock.patch.object(Text, "draw", record):  # only what is really drawn: not the ticks beyond the limits of an axis
        figure.savefig(io.BytesIO(), dpi=160)
    boxes = {id(text): text.get_window_extent() for text in drawn if text.get_visible() and text.get_text().strip()}
    names = {id(text): text.get_text() for text in drawn}
    for one, box in boxes.items():
        inside = figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert inside, f"{names[one]!r} is cut off"
    for (one, box), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(second), f"{names[one]!r} touches {names[other]!r}"
    return [names[one] for one in boxes]


def flip_byte(path: Path) -> None:
    """Damage the last byte of a file (in a tensor file, of a weight); its size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
