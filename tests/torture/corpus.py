"""Malicious files and arguments, each in a process of its own: refused in few words, with nothing executed or harmed.

PyTorch is loaded once, by a server that forks for every case.
"""

import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqrev.cli.console import LONGEST_MESSAGE
from tests.helpers import child_environment, run_main, settings
from tests.torture.common import Outcome, Size, scratch
from tests.torture.malice import cases
from tests.torture.malice.case import Case, Sandbox

MOST_MEMORY = 500  # MB above a command that does what it should
MOST_SECONDS = 20  # of computing; a hang
TOLD = {  # what was seen, before its file turns out to be one that cannot be written
    "arguments: --out into nothing",
    "arguments: --out of 5,000 letters",
    "arguments: --out with escapes",
    "arguments: --arrays into nothing",
}
PATIENCE = 300  # seconds of any kind: another hang
MODEL = (
    "model.d_model=8",
    "model.d_ff=8",
    "train.steps=4",
    "train.validate_every=4",
    "data.train=50",
    "train.warmup_steps=1",
)


def corpus(size: Size, seed: int) -> Outcome:
    """Every case, the same ones in every size; nothing here is random."""
    del size, seed
    with scratch() as folder:
        command = [sys.executable, "-c", f"from tests.torture.corpus import serve; serve({folder!r})"]
        done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    assert done.returncode == 0, done.stderr
    usual, *results = [Result(**json.loads(line)) for line in done.stdout.splitlines()]
    assert len(results) == len(dict(cases()))
    assert usual.code == 0, usual.err
    problems = [f"{one.name}: {problem}" for one in results for problem in _judge(one, dict(cases())[one.name], usual)]
    assert not problems, "\n".join([f"{len(problems)} problems", *problems])
    slowest, largest = max(results, key=lambda one: one.seconds), max(results, key=lambda one: one.memory)
    return Outcome(
        len(results),
        f"malicious inputs; above a usual command at most {slowest.seconds - usual.seconds:.2f} s ({slowest.name})"
        f" and {largest.memory - usual.memory:.0f} MB ({largest.name})",
    )


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    name: str
    code: int
    out: str
    err: str
    seconds: float
    """Of computing."""
    memory: float
    """The most that was ever in memory, in MB."""
    changed: list[str]
    """Files outside of the run that are not what they were."""


def _judge(result: Result, case: Case, usual: Result) -> list[str]:
    """What is wrong with a result."""
    err, problems = result.err, []
    if result.code not in case.codes:
        problems.append(f"exit code {result.code} instead of {case.codes}: {err[-300:]!r}")
    if result.changed:
        problems.append(f"changed outside of the run: {result.changed}")
    if any(not char.isprintable() and char != "\n" for char in result.out + err):
        problems.append(f"control characters: {err!r}")
    if any(words in err for words in ("Traceback", "should not have happened", "Warning: ", "Exception ignored")):
        problems.append(f"said: {err[-500:]!r}")
    if result.code:
        lines = err.splitlines()
        if len(lines) < 2 or not lines[-2].startswith("Error: ") or not lines[-1].startswith("Try: "):
            problems.append(f"no paragraph: {err[-500:]!r}")
        told = result.name in TOLD and result.out.startswith("source  ")
        if (
            bool(result.out) != told
            or (result.name in TOLD) != told
            or any(len(line) > LONGEST_MESSAGE + 20 for line in lines)
        ):
            problems.append(f"too much is said: {result.out[:200]!r} {err[-200:]!r}")
    if result.memory > usual.memory + MOST_MEMORY:
        problems.append(f"{result.memory:.0f} MB, where {usual.memory:.0f} are usual")
    return problems


# --- in the server --------------------------------------------------------------------------------------------------


def serve(folder: str) -> None:
    """Load everything once, make a run, then fork for every case; prints a result a line, the usual command's first."""
    for name in ("seqrev.cli", "seqrev.workflows.train", "torch._dynamo", "matplotlib.backends.backend_agg"):
        importlib.import_module(name)

    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: PyTorch has not computed anything yet
    root = Path(folder)
    template = root / "template"
    (template / "outside").mkdir(parents=True)
    (template / "outside" / "canary.json").write_text('{"event": "train"}\n')
    child = os.fork()
    if not child:
        result = run_main("train", *settings(), *settings(MODEL), "--runs-dir", template / "runs")
        os._exit(0 if result.code == 0 else print(result.err) or 1)
    assert os.waitpid(child, 0)[1] == 0
    usual = Case(lambda sandbox: ("evaluate", "--run", "1"), (0,))
    for name, case in {"usual": usual, **dict(cases())}.items():
        print(json.dumps(vars(_run(name, case, root))), flush=True)


def _run(name: str, case: Case, root: Path) -> Result:
    sandbox, report = Sandbox(root / "case"), root / "report"
    shutil.copytree(root / "template", sandbox.root, symlinks=True)
    child = os.fork()
    if not child:
        try:
            _child(case, sandbox, report)
        except BaseException as error:  # of this test, not of what it tests
            (root / "err").write_text(f"case not prepared: {error!r}")
        os._exit(99)
    deadline = time.monotonic() + PATIENCE
    while not (ended := os.wait4(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    _, status, used = ended
    out, err = ((root / stream).read_bytes().decode(errors="replace") for stream in ("out", "err"))
    changed = json.loads(report.read_text()) if report.exists() else ["killed"]
    report.unlink(missing_ok=True)
    shutil.rmtree(sandbox.root)
    code = os.waitstatus_to_exitcode(status)
    return Result(name, code, out, err, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, changed)


def _child(case: Case, sandbox: Sandbox, report: Path) -> None:
    """Prepare and run a case; compare the world before and after."""
    for number, stream in enumerate(("in", "out", "err")):
        path = report.with_name(stream)
        if number == 0:
            path.write_bytes(case.stdin if isinstance(case.stdin, bytes) else b"")
            path = path if isinstance(case.stdin, bytes) else Path(case.stdin)
        elif number == 1:
            path.write_bytes(b"")
            path = Path("/dev/full") if case.full else path
        handle = os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0))
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(sandbox.root)
    arguments = [str(word) for word in case.prepare(sandbox)]
    own = next((word for word in (sandbox.run, *sandbox.run.parent.glob("*")) if word.is_dir()), sandbox.run)
    before = _snapshot(sandbox.root, own)
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + 2 * MOST_MEMORY * 10**6,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (open until the process ends)
    from seqrev.cli import main

    code = main(arguments)
    after = _snapshot(sandbox.root, own)
    expected = {"map.png"}  # what a case asks for
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    report.write_text(json.dumps([name for name in changed if name not in expected]))
    os._exit(code)


def _snapshot(root: Path, run: Path) -> dict[str, Any]:
    """Everything there but what is in the run itself."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        if run in path.parents:
            continue
        state = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else ""
        if stat.S_ISREG(state.st_mode) and state.st_size < 10**7:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        times = 0 if stat.S_ISDIR(state.st_mode) else state.st_mtime_ns
        found[str(path.relative_to(root))] = [state.st_mode, state.st_size * bool(times), times, content]
    return found
