"""The pages are complete: their links resolve, all can be found, and docs/code.md lists every file of the package."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.guide import CHAPTERS, ROOT

README = ROOT / "README.md"
INDEX = ROOT / "docs" / "README.md"
CODE = ROOT / "docs" / "code.md"
PAGES = [README, *sorted(ROOT.glob("docs/**/*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
README_LINES = 150


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Local targets of a page, each with its anchor (or an empty string)."""
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", TEXTS[page]):
        yield (page.parent / target).resolve() if target else page, anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


@pytest.mark.parametrize("index", [README, INDEX], ids=["README", "docs"])
def test_every_page_is_linked(index: Path) -> None:
    others = {index, README} | (set(CHAPTERS[1:]) if index == README else set())  # the first chapter leads to the rest
    assert set(PAGES) - others - {target for target, _ in links(index)} == set()


def test_the_readme_is_short() -> None:
    assert len(TEXTS[README].splitlines()) <= README_LINES


def tree(page: Path) -> list[str]:
    """The lines of the package's tree."""
    (lines,) = re.findall(r"^```text\n(seqrev/.*?)^```", TEXTS[page], flags=re.DOTALL | re.MULTILINE)
    return list(lines.splitlines())


def test_the_tree_of_the_readme_is_the_top_of_the_whole_one() -> None:
    assert tree(README) == [line for line in tree(CODE) if not line.startswith("    ")]


def test_the_tree_is_that_of_the_package() -> None:
    listed: list[str] = []
    folders: list[str] = []
    for line in tree(CODE):
        name, _, description = line.strip().partition(" ")
        assert description.strip(), line
        depth = (len(line) - len(line.lstrip())) // 2
        folders = folders[: max(0, depth - 1)]
        folder = "".join(folders)
        if name.endswith("/"):  # the line of a folder is that of its __init__.py
            if depth:
                folders.append(name)
            listed.append("".join(folders) + "__init__.py")
        else:
            listed.append(folder + name)
    package = ROOT / "seqrev"
    files = {
        str(path.relative_to(package)) for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    data = {file for file in files if file.startswith("pretrained/")}
    assert sorted(listed) == sorted(files - data - {"__main__.py", "py.typed"} | {"pretrained/__init__.py"})


def test_every_configuration_is_named_with_the_command_that_uses_it() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        assert path.read_text(encoding="utf-8").startswith(("# seqrev train --config configs/", "# seqrev sweep configs/"))
        assert path.name in "".join(TEXTS.values())
