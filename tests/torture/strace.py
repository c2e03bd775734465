"""A child under ``strace``, from the first instruction of what is asked of it."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.torture.shim import Call

SYSCALLS = ("openat", "mkdir", "rename", "fsync", "unlink", "unlinkat", "rmdir", "write", "getdents64", "newfstatat")


class Traced(NamedTuple):
    """How the child ended, and what it called."""

    code: int
    """Its exit code; below 0: the signal that it died of."""
    lines: list[str]
    """Of strace, a call each."""

    def calls(self, under: Path) -> list[Call]:
        """The calls that change something in a folder, in the shim's words."""
        found = [_parse(line) for line in self.lines]
        return [call for call in found if call is not None and call.path.startswith(str(under))]


def traced(act: Callable[[], object], *options: str) -> Traced:
    """Run ``act`` in a forked child, its calls traced; its exit code is 0, or 3 after an exception of ours, else 4."""
    gate, opener = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(gate, 1)
        code = 4
        try:
            act()
            code = 0
        except Exception as error:
            code = 3 if type(error).__module__ == "seqrev.errors" else 4
        finally:
            os._exit(code)
    with tempfile.NamedTemporaryFile() as log:
        command = ["strace", "-qq", "-y", "-e", f"trace={','.join(SYSCALLS)}", *options, "-o", log.name, "-p", str(child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
            while "TracerPid:\t0" in Path(f"/proc/{child}/status").read_text() and tracer.poll() is None:
                time.sleep(0.002)
            os.write(opener, b"x")
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            _, problem = tracer.communicate()
        os.close(gate)
        os.close(opener)
        if tracer.returncode and code == 0 and not (lines := Path(log.name).read_text()):
            raise OSError(f"strace: {problem.decode()}{lines}")
        return Traced(code, [line for line in Path(log.name).read_text().splitlines() if "(" in line])


def unusable() -> str:
    """Why strace cannot be used here; empty: it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        lines = traced(lambda: Path("/").stat()).lines
    except OSError as error:
        return str(error).strip()
    return "" if lines else "strace sees nothing"


def _parse(line: str) -> Call | None:
    """``openat(AT_FDCWD</x>, "/a", O_WRONLY|O_CREAT…) = 3``; None: it changes nothing."""
    name, _, rest = line.partition("(")
    rest = rest.partition("<unfinished")[0] if "<unfinished" in rest else rest
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
    folder = re.match(r"[A-Z_0-9]+<([^>]*)>", rest)
    where = f"{folder[1]}/{strings[0]}" if folder and strings and not strings[0].startswith("/") else "".join(strings[:1])
    match name:
        case "openat" if "O_CREAT" in rest:
            return Call("create", where)
        case "write" | "fsync" if folder:
            return Call(name, folder[1])
        case "mkdir" | "unlink" | "rmdir":
            return Call(name, where)
        case "unlinkat":
            return Call("rmdir" if "AT_REMOVEDIR" in rest else "unlink", where)
        case "rename":
            return Call(name, strings[0], strings[1])
        case _:
            return None
