"""Commands in processes that may less than these tests, which often run as root: it may read and start everything."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import Result, child_environment

NOBODY = "61234"  # a user, and a group, without a name and a home
OTHER_USER = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all,+dac_read_search"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),  # Python may lie in root's home
)
LIMIT = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)); os.execv(sys.argv[1], sys.argv[1:])"
CALLS = """
import contextlib, io, json, sys
from seqrev.cli import main
results = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    results.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""
PLAIN_OWNER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@cache
def _possible(prefix: Sequence[str]) -> bool:
    if shutil.which("setpriv") is None:
        return False
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0


def as_other_user(*calls: str, folder: Path, **environment: str) -> list[Result]:
    """Commands, in one process, as a user not in /etc/passwd, who reads everything, and writes where everybody may."""
    if os.name != "posix" or os.geteuid() != 0 or not _possible(OTHER_USER):
        pytest.skip("only root, with setpriv, can become another user")
    return _run(OTHER_USER, calls, folder, environment)


def as_plain_owner(*calls: str, folder: Path, **environment: str) -> list[Result]:
    """Commands, in one process, as the owner of all files of these tests, who is bound by their permissions."""
    if os.name != "posix":
        pytest.skip("Windows has other permissions")
    if os.geteuid() == 0 and not _possible(PLAIN_OWNER):
        pytest.skip("root reads everything, and there is no setpriv that gives that up")
    return _run(PLAIN_OWNER if os.geteuid() == 0 else (), calls, folder, environment)


def with_one_thread(*calls: str, folder: Path, **environment: str) -> list[Result]:
    """Commands, in one process, where no other thread or process can be started."""
    if sys.platform != "linux" or (os.geteuid() == 0 and not _possible(OTHER_USER)):
        pytest.skip("root, without setpriv, has no limit")
    limit = (sys.executable, "-c", LIMIT)
    return _run((*(OTHER_USER if os.geteuid() == 0 else ()), *limit), calls, folder, environment)


def _run(prefix: Sequence[str], calls: Sequence[str], folder: Path, environment: dict[str, str]) -> list[Result]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", CALLS, json.dumps([shlex.split(call) for call in calls])],
        cwd=folder,
        capture_output=True,
        timeout=300,
        env=child_environment(**environment),
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [Result(*result) for result in json.loads(done.stdout)]
