"""What the guide shows is what its code does. The slow test reads it with the trainings as they stand there."""

import re
from pathlib import Path

import pytest

from tests.guide import CHAPTERS, GUIDE, Reader
from tests.test_readme import shorten_trainings

NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Someone who has little time: every training has four steps."""
    clone = tmp_path_factory.mktemp("clone")
    reader = Reader(clone)
    shorten_trainings(clone / "configs")
    return reader


def pictures(chapter: Path) -> set[str]:
    return set(re.findall(r"\]\(images/([^)]+)\)", chapter.read_text()))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_every_block_runs(reader: Reader, chapter: Path) -> None:
    text = reader.read(chapter)
    if chapter.name < "3":  # the first two chapters train nothing: their outputs are the same everywhere
        assert text == chapter.read_text()
    drawn = {path.name for path in (reader.clone / "images").iterdir()}
    assert pictures(chapter) - drawn <= {"explorer.png"}  # a photograph of a page


def test_every_picture_is_shown() -> None:
    shown = set().union(*map(pictures, CHAPTERS))
    assert shown == {path.name for path in (GUIDE / "images").iterdir()}


@pytest.mark.slow
def test_the_outputs_are_those_of_whole_trainings(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for chapter in CHAPTERS:
        old, new = (
            re.sub(r"in \d+ s$", "", text, flags=re.MULTILINE) for text in (chapter.read_text(), reader.read(chapter))
        )
        assert NUMBER.sub("#", new) == NUMBER.sub("#", old)
        numbers = ([float(word.replace(",", "")) for word in NUMBER.findall(text)] for text in (new, old))
        for one, other in zip(*numbers, strict=True):
            assert one == pytest.approx(other, abs=0.1)
