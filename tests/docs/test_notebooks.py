"""The notebooks are those of the pages, their links lead somewhere, and a real kernel runs them in an empty folder."""

import importlib.util
import re
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from tests.docs.guide import CHAPTERS, ROOT
from tests.docs.notebooks import INSTALL, REPOSITORY, hosted, notebook
from tests.kernel import run_cells

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)


def read(chapter: Path) -> NotebookNode:
    return nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)  # type: ignore[no-untyped-call, no-any-return]


def cells(chapter: Path, kind: str) -> list[NotebookNode]:
    return [cell for cell in read(chapter).cells if cell.cell_type == kind]


def printed(cell: NotebookNode) -> str:
    """What a cell wrote on stdout."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


@each_chapter
def test_it_is_that_of_the_page(chapter: Path) -> None:
    """If not: ``python -m tests.docs.notebooks``."""
    assert chapter.with_suffix(".ipynb").read_text(encoding="utf-8") == notebook(chapter)


@each_chapter
def test_the_page_leads_to_it(chapter: Path) -> None:
    assert f"]({hosted(chapter)})" in chapter.read_text(encoding="utf-8")


@each_chapter
def test_links_work_in_a_hosted_notebook(chapter: Path) -> None:
    """None is relative but to a heading, and what is said to be in the repository is there."""
    text = "\n".join(cell.source for cell in cells(chapter, "markdown"))
    repository = [
        f"{REPOSITORY}/blob/main/",
        f"{REPOSITORY}/raw/main/",
        hosted(Path(ROOT / "x.md")).removesuffix("x.ipynb"),
    ]
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        if link.startswith("#"):
            assert f'<a name="{link[1:]}">' in text
            continue
        assert link.startswith("https://"), link
        for beginning in repository:
            if link.startswith(beginning):
                path, _, anchor = link.removeprefix(beginning).partition("#")
                assert (ROOT / path).is_file(), link
                assert not anchor or path.endswith(".md")


def without_links(text: str) -> str:
    """Text with the words of each link, but not its target, nor the name of a heading."""
    return re.sub(r" <a name=.*?</a>", "", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text))


@each_chapter
def test_all_of_the_page_is_in_it(chapter: Path) -> None:
    page = chapter.read_text(encoding="utf-8")
    sources = "\n".join(cell.source for cell in read(chapter).cells)
    assert read(chapter).cells[0].source == INSTALL
    assert "```math" not in sources
    assert sources.count("$$") == 2 * page.count("```math")
    made = without_links(sources + "\n" + "".join(map(printed, cells(chapter, "code"))))
    for line in without_links(page).splitlines():
        assert line.startswith("```") or line.removeprefix("$ ") in made, line


def test_the_first_cell_installs_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment put back afterwards, as in a notebook that is opened anew."""
    monkeypatch.chdir(tmp_path)
    code = TransformerManager().transform_cell(INSTALL)  # type: ignore[no-untyped-call]
    for found, commands in ((importlib.util.find_spec("seqrev"), 0), (None, 1)):
        shell = mock.Mock()
        with mock.patch.dict("os.environ"), mock.patch.object(importlib.util, "find_spec", return_value=found):
            exec(code, {"get_ipython": lambda shell=shell: shell})
        assert shell.run_line_magic.call_count == commands
        assert (tmp_path / "images").is_dir()
    magic, arguments = shell.run_line_magic.call_args.args
    assert magic == "pip"
    assert arguments == f'install --quiet "seqrev @ git+{REPOSITORY}"'


def in_kernel(source: str) -> str:
    """A cell that fails where its command fails, which a notebook does not."""
    return f"{source}\nassert _exit_code == 0" if source.startswith("!") else source


def shown(cell: NotebookNode) -> list[Any]:
    return [sorted(output.data) for output in cell.outputs if output.output_type == "execute_result"]


SLOW = [pytest.param(chapter, marks=pytest.mark.slow, id=chapter.stem) for chapter in CHAPTERS[2:]]  # they train


@pytest.mark.parametrize("chapter", [*(pytest.param(chapter, id=chapter.stem) for chapter in CHAPTERS[:2]), *SLOW])
def test_a_kernel_runs_it_in_an_empty_folder(chapter: Path, tmp_path: Path) -> None:
    code = cells(chapter, "code")
    done = run_cells([in_kernel(cell.source) for cell in code], tmp_path)
    for cell, now in zip(code, done.cells, strict=True):
        assert shown(now) == shown(cell)  # the pictures
        if chapter.name < "3":  # here the outputs are the same everywhere
            assert printed(now) == printed(cell)


def test_a_kernel_runs_commands_as_a_terminal_does(tmp_path: Path) -> None:
    """Of this Python, and without the escape bytes of a terminal."""
    code = cells(CHAPTERS[3], "code")
    some = [INSTALL, *(cell.source for cell in code[1:3])]  # the first map, and its picture
    (decode,) = [cell for cell in code if cell.source == "!seqrev decode --run pretrained 7 7 7 7 7 7 7"]
    done = run_cells([in_kernel(source) for source in [*some, decode.source]], tmp_path)
    assert "picture: images/4829.png" in printed(done.cells[1])
    assert "\x1b" not in printed(done.cells[1])
    assert shown(done.cells[2]) == [["image/png", "text/plain"]]
    assert printed(done.cells[3]).split() == printed(decode).split()
