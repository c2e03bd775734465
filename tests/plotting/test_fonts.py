"""Names of folders in any script: no box in the place of a letter, and no warning, which would be an error here."""

import io
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from seqrev.plotting import fonts
from seqrev.plotting.attention import draw_attention
from seqrev.plotting.curves import training_curves
from seqrev.plotting.fonts import FAMILY, drawable, families
from tests.helpers import assert_apart
from tests.plotting.test_attention import ATTENTION
from tests.plotting.test_curves import HISTORY

NAME = "runs/漢字 €→ 🦊"


@pytest.fixture(autouse=True)
def _only_our_own_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    listed = font_manager.fontManager.ttflist
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [font for font in listed if font.name.startswith("DejaVu")])
    fonts._family_with.cache_clear()
    yield
    fonts._family_with.cache_clear()


@pytest.fixture
def installed(tmp_path: Path) -> None:
    """A font with 漢 and 字, as solid squares; before it in the list one that is gone."""
    pen = TTGlyphPen(None)
    for step, corner in enumerate([(0, 0), (0, 1000), (1000, 1000), (1000, 0)]):
        (pen.lineTo if step else pen.moveTo)(corner)
    pen.closePath()
    builder = FontBuilder(unitsPerEm=1000)
    names = [".notdef", "solid"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord("漢"): "solid", ord("字"): "solid"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "solid": pen.glyph()})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Solid Sans", "styleName": "Regular", "psName": "SolidSans"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "solid.ttf")
    font_manager.fontManager.addfont(tmp_path / "solid.ttf")
    font_manager.fontManager.ttflist.append(
        font_manager.FontEntry(fname=str(tmp_path / "gone.ttf"), name="A Sans", weight=400)
    )


def titled(name: str) -> Figure:
    return training_curves(HISTORY, f"Training of {name}")


def saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def test_letters_that_no_font_has_are_written_out() -> None:
    assert drawable(NAME) == r"runs/\u6f22\u5b57 €→ \U0001f98a"
    assert drawable("one\ntwo\x1b") == "one\ntwo\\x1b"
    assert r"Training of runs/\u6f22\u5b57 €→ \U0001f98a" in assert_apart(titled(NAME))
    assert any(r"\u6f22\u5b57" in text for text in assert_apart(draw_attention(ATTENTION, NAME)))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_letters_of_another_font_are_drawn_with_it(kind: str) -> None:
    assert drawable(NAME) == r"runs/漢字 €→ \U0001f98a"
    assert families(NAME) == [FAMILY, "Solid Sans"]
    figure = titled("runs/漢字")
    content = saved(figure, kind)
    assert kind == "png" or re.search(b"Solid ?Sans", content)
    assert "Training of runs/漢字" in assert_apart(figure)
    assert any("runs/漢字" in text for text in assert_apart(draw_attention(ATTENTION, "runs/漢字")))


@pytest.mark.usefixtures("installed")
def test_other_pictures_neither_open_another_font_nor_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    letters = fonts._letters

    def record(path: str) -> Set[int]:
        opened.append(path)
        return letters(path)

    monkeypatch.setattr(fonts, "_letters", record)
    for name in ("runs/001", "Läufe/Привет → 1"):
        assert b"Solid Sans" not in saved(titled(name), "svg")
    assert {Path(path).name for path in opened} == {"DejaVuSans.ttf"}
