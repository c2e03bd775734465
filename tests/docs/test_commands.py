"""The commands and the Python blocks of every page run, in the order of the page."""

from pathlib import Path

import pytest

from tests.docs.guide import ROOT, Reader

PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "\n$ seqrev " in page.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_run_in_their_order(page: Path, tmp_path: Path) -> None:
    Reader(tmp_path, short=True).read(page)


def test_the_pages_with_commands_are_found() -> None:
    assert {"README.md", "commands.md", "python.md"} <= {page.name for page in PAGES}
