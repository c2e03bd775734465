"""Runs the chapters of the guide as a reader would. ``python -m tests.guide`` writes their outputs and pictures anew.

A block of Python runs after those before it, in one namespace for each chapter; of a console block every command runs; a
diff is applied to a copy of the package, which the commands after it use. What is printed stands below the command, and for
Python in a block of text that follows.
"""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.browser import Page, chromium
from tests.conftest import child_environment, run_main

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide"
CHAPTERS = sorted(GUIDE.glob("[1-9]-*.md"))
BLOCK = re.compile(r"^```(python|console|diff)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", flags=re.DOTALL | re.MULTILINE)


class Reader:
    """Someone with a clone of the repository, in which the guide is read."""

    def __init__(self, clone: Path) -> None:
        self.clone, self.patched = clone, False
        for name in ("seqrev", "configs"):
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        (clone / "images").mkdir()

    def read(self, chapter: Path) -> str:
        """The chapter with the outputs of its blocks as they were now.

        Raises:
            AssertionError: a command or a patch failed.
        """
        names: dict[str, Any] = {"__name__": "__main__"}
        run: dict[str, Callable[[str], str]] = {
            "python": lambda code: _python(code, names, chapter.name),
            "console": self._console,
            "diff": self._patch,
        }

        def again(match: re.Match[str]) -> str:
            kind, code, _ = match.groups()
            output = run[kind](code)
            if kind == "console":
                return f"```console\n{output}```\n"
            return f"```{kind}\n{code}```\n" + (f"\n```text\n{output}```\n" if output else "")

        with contextlib.chdir(self.clone):
            text = BLOCK.sub(again, chapter.read_text(encoding="utf-8"))
        # What a chapter has changed is not to reach the next:
        torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
        return text

    def _console(self, text: str) -> str:
        """Every command with what it prints on stdout."""
        commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        return "".join(f"$ {command}\n{self._command(command)}" for command in commands)

    def _command(self, command: str) -> str:
        name, *arguments = shlex.split(command)
        assert name == "seqrev", command
        if not self.patched:
            result = run_main(*arguments)
            assert result.code == 0, result.err
            return result.out
        words = [sys.executable, "-m", "seqrev", *arguments]
        environment = child_environment(PYTHONPATH=str(self.clone))
        done = subprocess.run(words, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _patch(self, diff: str) -> str:
        """Edit the package, as ``git apply`` would."""
        subprocess.run(["git", "apply", "-"], cwd=self.clone, input=diff.encode(), check=True)
        self.patched = True
        return ""


def _python(code: str, names: dict[str, Any], chapter: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, chapter, "exec"), names)
    return printed.getvalue()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(Path(folder))
        for path in CHAPTERS:
            print(path.name)
            path.write_text(reader.read(path), encoding="utf-8")
        with chromium(Path(folder) / "profile") as driver:
            page = Page(driver, reader.clone / "map.html")
            page.point(*page.cell("cross-attention", 1, 3, 5, 6))
            page.until(lambda: page.texts(".bk-tooltip-row-value"))
            driver.save_screenshot(str(reader.clone / "images" / "explorer.png"))
        for picture in (reader.clone / "images").iterdir():
            shutil.copy(picture, GUIDE / "images")
