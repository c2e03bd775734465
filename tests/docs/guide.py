"""Runs the pages of the documentation as a reader would. ``python -m tests.docs.guide`` updates the guide.

A block of Python runs after those before it, in one namespace for each page; of a console block every line that begins
with ``$`` runs. In the guide, the output is below the command, or for Python in a text block that follows.
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
from unittest import mock

import torch
from selenium.webdriver.common.keys import Keys

from seqrev import config_files
from tests.browser import Page, chromium
from tests.helpers import child_environment, run_main

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
CHAPTERS = sorted(GUIDE.glob("[1-9]-*.md"))
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", flags=re.DOTALL | re.MULTILINE)


class Reader:
    """Somebody with a clone of the repository, who reads pages and runs what they show."""

    def __init__(self, clone: Path, *, short: bool = False) -> None:
        """``short``: every configuration in the clone ends after four steps."""
        self.clone = clone
        for name in ("seqrev", "configs"):
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        (clone / "images").mkdir()
        if short:
            for path in (clone / "configs").glob("*.yaml"):
                text = re.sub(r"\bsteps: \d+", "steps: 4", path.read_text(encoding="utf-8"))
                path.write_text(re.sub(r"\bwarmup_steps: \d+", "warmup_steps: 1", text), encoding="utf-8")

    def read(self, page: Path) -> str:
        """The page with the outputs of its blocks as they are now.

        Raises:
            AssertionError: a command or a patch failed.
        """
        names: dict[str, Any] = {"__name__": "__main__"}
        run: dict[str, Callable[[str], str]] = {
            "python": lambda code: _python(code, names, page.name),
            "console": self._console,
        }

        def again(match: re.Match[str]) -> str:
            kind, code, _ = match.groups()
            output = run[kind](code)
            if kind == "console":
                return f"```console\n{output}```\n"
            return f"```{kind}\n{code}```\n" + (f"\n```text\n{output}```\n" if output else "")

        with contextlib.chdir(self.clone), mock.patch.object(config_files, "_FOLDER", self.clone / "configs"):
            text = BLOCK.sub(again, page.read_text(encoding="utf-8"))
        # What one page has changed must not reach the next:
        torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
        return text

    def _console(self, text: str) -> str:
        """Every command with what it prints on stdout."""
        commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        return "".join(f"$ {command}\n{self._command(command)}" for command in commands)

    def _command(self, command: str) -> str:
        if "|" in command:
            return self._process(["bash", "-c", command.replace("seqrev", f"{shlex.quote(sys.executable)} -m seqrev")])
        name, *arguments = shlex.split(command, comments=True)
        assert name == "seqrev", command
        result = run_main(*arguments)
        assert result.code == 0, f"{command}\n{result.err}"
        return result.out

    def _process(self, words: list[str]) -> str:
        """What a process prints that uses the package of the clone."""
        environment = child_environment(PYTHONPATH=str(self.clone))
        done = subprocess.run(words, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stderr}"
        return done.stdout


def _python(code: str, names: dict[str, Any], page: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, page, "exec"), names)
    return printed.getvalue()


def _update() -> None:
    """Write the outputs and the pictures of the guide again."""
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(Path(folder))
        for path in CHAPTERS:
            print(path.name)
            path.write_text(reader.read(path), encoding="utf-8")
        with chromium(Path(folder) / "profile") as driver:
            page = Page(driver, reader.clone / "page.html")
            page.resize(1280, 720)
            page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
            driver.save_screenshot(str(reader.clone / "images" / "explorer.png"))
        for picture in (reader.clone / "images").iterdir():
            shutil.copy(picture, GUIDE / "images")


if __name__ == "__main__":
    _update()
