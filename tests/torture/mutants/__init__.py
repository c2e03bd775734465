"""The safety code with one of its precautions taken out: a named test must notice.

A fault replaces a function, a method or a constant, in a process of its own that then runs the test with pytest. No file is
changed. PyTorch is loaded once, by a server that forks for every case.
"""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from unittest import mock

from tests.helpers import child_environment
from tests.torture.common import Outcome, Size, scratch
from tests.torture.mutants.checkpoints import CHECKPOINTS
from tests.torture.mutants.files import FILES
from tests.torture.mutants.mutant import Mutant
from tests.torture.mutants.outside import OUTSIDE
from tests.torture.mutants.runs import RUNS
from tests.torture.server import hear_signals

MUTANTS = (*FILES, *CHECKPOINTS, *RUNS, *OUTSIDE)
ROOT = Path(__file__).parents[3]
PATIENCE = 600  # seconds for one test; longer is a hang
UNFIT = 99  # the exit code of a process into which the fault could not be put
OPTIONS = ("-q", "-x", "--no-header", "--tb=short", "--assert=plain", "-p", "no:cacheprovider")
# A fault that no longer fits the code breaks it: this would be noticed by any test.
BROKEN = re.compile(r"^E +(TypeError|AttributeError|NameError|ImportError|ModuleNotFoundError)\b", re.MULTILINE)


def mutants(size: Size, seed: int) -> Outcome:
    """All of them, in every size; nothing here is random."""
    del size, seed
    with scratch() as folder:
        command = [sys.executable, "-c", f"from tests.torture.mutants import serve; serve({folder!r})"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=child_environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [Result(*json.loads(line)) for line in done.stdout.splitlines()]
    sound, *others = results
    assert sound.code == 0, f"the tests fail without any fault:\n{sound.output}"
    assert [result.name for result in others] == [mutant.name for mutant in MUTANTS]
    missed = [
        f"{result.name}: exit code {result.code}\n{result.output[-1500:]}" for result in others if not _caught(result)
    ]
    assert not missed, "\n".join([f"{len(missed)} were not caught", *missed])
    return Outcome(len(MUTANTS), "mutants of the safety code, each caught by a named test")


class Result(NamedTuple):
    """What became of the tests."""

    name: str
    code: int
    """Of pytest: 1, if a test failed; below 0: the signal that ended it."""
    output: str


def _caught(result: Result) -> bool:
    failed = re.search(r"^FAILED ", result.output, re.MULTILINE)
    return result.code == 1 and failed is not None and not BROKEN.search(result.output)


# --- in the server --------------------------------------------------------------------------------------------------


def serve(folder: str) -> None:
    """Load everything once, then fork for every mutant; prints a result a line, first that of the tests without a fault."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: PyTorch has not computed anything yet
    hear_signals()
    for name in ("pytest", "seqrev.cli", "seqrev.workflows.train", "torch._dynamo", "matplotlib.backends.backend_agg"):
        importlib.import_module(name)
    found = _find_tests()
    everything = sorted({test for tests in found.values() for test in tests})
    sound = _run(None, everything, Path(folder))
    print(json.dumps(sound), flush=True)
    for mutant in MUTANTS if sound.code == 0 else ():
        print(json.dumps(_run(mutant, found[mutant.test], Path(folder))), flush=True)


def _find_tests() -> dict[str, list[str]]:
    """Where the functions are that must notice, as pytest names them."""
    found: dict[str, list[str]] = {mutant.test: [] for mutant in MUTANTS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE):
            if name in found:
                found[name].append(f"{path.relative_to(ROOT)}::{name}")
    missing = [name for name, where in found.items() if not where]
    assert not missing, f"there are no such tests: {missing}"
    return found


def _run(mutant: Mutant | None, tests: list[str], folder: Path) -> Result:
    output = folder / "output"
    child = os.fork()
    if not child:
        _be_child(mutant, tests, folder, output)
    deadline = time.monotonic() + PATIENCE
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(ended[1])
    return Result(mutant.name if mutant else "no fault", code, output.read_text(errors="replace"))


def _be_child(mutant: Mutant | None, tests: list[str], folder: Path, output: Path) -> None:
    """Never returns."""
    code = UNFIT
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if mutant is not None:
            put_in(mutant)
        import pytest

        code = int(pytest.main([*OPTIONS, f"--basetemp={folder / 'tests'}", *tests]))
        sys.stdout.flush()
    except BaseException as error:  # of this subject, not of what it tests
        os.write(2, f"the fault cannot be put in: {error!r}\n".encode())
    finally:
        os._exit(code)


def put_in(mutant: Mutant) -> None:
    """Replace what the mutant names; a function or a class also in every module of the program that imported it."""
    module_name = next(name for name in _prefixes(mutant.target) if name in sys.modules)
    *owners, name = mutant.target.removeprefix(f"{module_name}.").split(".")
    owner = sys.modules[module_name]
    for part in owners:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    faulty = mutant.change(original)
    mock.patch.object(owner, name, faulty).start()
    if isinstance(owner, ModuleType) and getattr(original, "__module__", None) == module_name:
        for other in [module for key, module in sys.modules.items() if key.startswith("seqrev.")]:
            if vars(other).get(name) is original:
                mock.patch.object(other, name, faulty).start()


def _prefixes(name: str) -> list[str]:
    """``a.b.c``, ``a.b``, ``a``: the longest first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
