"""The chapters of the guide as notebooks. ``python -m tests.docs.notebooks`` makes them from the pages as they are.

Prose stays as it is, code becomes cells with the outputs of the page, a command a cell that begins with ``!``. A picture
that a chapter draws is shown by a cell; links lead to where a hosted notebook finds them. The same pages give the same
bytes.
"""

import base64
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from tests.docs.guide import BLOCK, CHAPTERS, GUIDE, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY: str = PROJECT["urls"]["Repository"]
Cell = dict[str, Any]  # as in the file
PICTURE = re.compile(r"^!\[([^\]]*)\]\((images/[^)]+)\)\n", flags=re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:]*)(#[^)]*)?\)")
MATH = re.compile(r"^```math\n(.*?)^```\n", flags=re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) (.*)$", flags=re.MULTILINE)
INSTALL = f"""\
# Run this first: it installs seqrev where it is not installed yet, and makes the folder for the pictures.
import importlib.util
import os
import sysconfig
from pathlib import Path

from IPython.display import Image

if importlib.util.find_spec("seqrev") is None:
    %pip install --quiet "seqrev @ git+{REPOSITORY}"
os.environ["PATH"] = sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"]  # where !seqrev is
os.environ["NO_COLOR"] = "1"  # a notebook is no terminal: progress as lines
Path("images").mkdir(exist_ok=True)"""


def hosted(chapter: Path) -> str:
    """The address that opens a chapter as a notebook, with nothing to install."""
    path = chapter.with_suffix(".ipynb").relative_to(ROOT).as_posix()
    return REPOSITORY.replace("https://github.com", "https://colab.research.google.com/github") + f"/blob/main/{path}"


def notebook(chapter: Path) -> str:
    """A chapter as the text of a notebook."""
    text = chapter.read_text(encoding="utf-8")
    cells, end = [_code(INSTALL)], 0
    for match in BLOCK.finditer(text):
        cells += _prose(text[end : match.start()], chapter)
        cells += _run(*match.groups())
        end = match.end()
    cells += _prose(text[end:], chapter)
    made = nbformat.from_dict(  # type: ignore[no-untyped-call]  # nbformat does not annotate it
        {
            "cells": [{"id": f"{chapter.stem}-{number}", "metadata": {}, **cell} for number, cell in enumerate(cells)],
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )
    nbformat.validate(made)
    return f"{nbformat.writes(made)}\n"  # type: ignore[no-untyped-call]


def _code(code: str, *outputs: Cell) -> Cell:
    return {"cell_type": "code", "source": code.strip("\n"), "outputs": list(outputs), "execution_count": None}


def _run(kind: str, code: str, printed: str | None) -> Iterator[Cell]:
    """A cell of Python, or one for each command."""
    blocks = [(code, printed)]
    if kind == "console":
        commands = [part.partition("\n") for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]]
        blocks = [(f"!{command}", output) for command, _, output in commands]
    for source, output in blocks:
        yield _code(source, *([{"output_type": "stream", "name": "stdout", "text": output}] if output else []))


def _prose(text: str, chapter: Path) -> Iterator[Cell]:
    """A cell for each section and picture."""
    parts = PICTURE.split(text)  # text, and for each picture its description, its path and the text after it
    yield from _sections(parts[0], chapter)
    for alt, path, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        yield _picture(alt, path, chapter)
        yield from _sections(after, chapter)


def _picture(alt: str, path: str, chapter: Path) -> Cell:
    """What the reader's code has drawn; where it is a screenshot, that of the page."""
    if path not in "".join(match[2] for match in BLOCK.finditer(chapter.read_text(encoding="utf-8"))):
        return _markdown(f"![{alt}]({path})", chapter)
    content = base64.b64encode((GUIDE / path).read_bytes()).decode()
    data = {"image/png": content, "text/plain": "<IPython.core.display.Image object>"}
    shown = {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}
    return _code(f'Image("{path}", alt="{alt}")', shown)


def _sections(text: str, chapter: Path) -> Iterator[Cell]:
    for section in re.split(r"^(?=#+ )", text, flags=re.MULTILINE):
        if section.strip():
            yield _markdown(section.strip("\n"), chapter)


def _markdown(text: str, chapter: Path) -> Cell:
    wanted = set(re.findall(r"\]\(#([^)]*)\)", chapter.read_text(encoding="utf-8")))
    text = MATH.sub(r"$$\n\1$$\n", f"{text}\n").rstrip("\n")
    text = LINK.sub(lambda match: _link(match, chapter), text)
    return {"cell_type": "markdown", "source": HEADING.sub(lambda match: _heading(match, wanted), text)}


def _link(match: re.Match[str], chapter: Path) -> str:
    """Other chapters are opened as notebooks; the rest is shown by the repository, and so is a place in another chapter."""
    picture, words, target, anchor = match.groups(default="")
    if target:
        path = (chapter.parent / target).resolve()
        kind = "raw" if picture else "blob"
        place = f"{REPOSITORY}/{kind}/main/{path.relative_to(ROOT).as_posix()}{anchor}"
        target = hosted(path) if path in CHAPTERS and not anchor else place
    return f"{picture}[{words}]({target or anchor})"


def _heading(match: re.Match[str], wanted: set[str]) -> str:
    """A heading to which the chapter links gets a name: by themselves, notebooks name headings each in their own way."""
    slug = re.sub(r"[^\w\- ]", "", match[2].lower()).replace(" ", "-")
    return match[0] + (f' <a name="{slug}"></a>' if slug in wanted else "")


def write_notebooks() -> None:
    """All chapters, each beside its page."""
    for chapter in CHAPTERS:
        chapter.with_suffix(".ipynb").write_text(notebook(chapter), encoding="utf-8")


if __name__ == "__main__":
    write_notebooks()
