"""The code of the guide runs, and prints what the guide shows. The slow test uses the full trainings."""

import re
from pathlib import Path

import pytest

from tests.docs.guide import CHAPTERS, GUIDE, Reader

NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")
WIDTH = re.compile(" {2,}")  # of a column, which a minus sign makes wider


def pictures(chapter: Path) -> set[str]:
    return set(re.findall(r"\]\(images/([^)]+)\)", chapter.read_text(encoding="utf-8")))


def assert_same_story(new: str, old: str, within: float) -> None:
    """The same words, and the same numbers but for another processor's rounding."""
    words = [WIDTH.sub("  ", NUMBER.sub("#", text)) for text in (new, old)]
    assert words[0] == words[1]
    numbers = ([float(word.replace(",", "")) for word in NUMBER.findall(text)] for text in (new, old))
    for one, other in zip(*numbers, strict=True):
        assert one == pytest.approx(other, abs=within)


def test_every_block_runs(tmp_path: Path) -> None:
    reader = Reader(tmp_path, short=True)
    for chapter in CHAPTERS:
        text = reader.read(chapter)
        shown = chapter.read_text(encoding="utf-8")
        if chapter.name < "3":  # the first two chapters train nothing: their outputs are the same everywhere
            assert text == shown
        if chapter.name > "4":  # these tell of a model that is part of the package; the fourth, until it trains others
            assert_same_story(text.partition("## Exercise:")[0], shown.partition("## Exercise:")[0], within=0.02)
        drawn = {path.name for path in (tmp_path / "images").iterdir()}
        assert pictures(chapter) - drawn <= {"explorer.png"}  # a screenshot of the page


def test_every_picture_is_shown() -> None:
    shown = set().union(*map(pictures, CHAPTERS))
    assert shown == {path.name for path in (GUIDE / "images").iterdir()}


@pytest.mark.slow
def test_the_outputs_are_those_of_full_trainings(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for chapter in CHAPTERS:
        old, new = (
            re.sub(r"in \d+ s$", "", text, flags=re.MULTILINE)
            for text in (chapter.read_text(encoding="utf-8"), reader.read(chapter))
        )
        assert_same_story(new, old, within=0.1)
