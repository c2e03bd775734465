"""What was seen, as a notebook shows it."""

import struct
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from seqrev.api.attention import Page, SeenAttention
from seqrev.api.reverser import load
from seqrev.errors import InputError, UsageError
from seqrev.runs.folders import Run

MAGIC = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def seen(trained_run: Run) -> SeenAttention:
    return load(trained_run, "cpu").attention([4, 2, 1])


def test_the_plot_is_a_figure_of_the_maps_that_are_asked_for(seen: SeenAttention, tmp_path: Path) -> None:
    whole, one = seen.plot(), seen.plot("decoder", layer=1, head=2, guide=False)
    assert isinstance(whole, Figure)
    assert "cross-attention" in whole.get_suptitle()
    assert seen.name.endswith("/runs/001")
    assert "/runs/001: " in whole.get_suptitle()  # a long path is cut in its middle
    assert "decoder self-attention" in one.get_suptitle()
    assert len(one.axes) == 1 < len(whole.axes)
    whole.savefig(tmp_path / "map.pdf")
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "wrong", [{"kind": "cros"}, {"layer": 2}, {"layer": 0}, {"head": 3}, {"layer": "1"}, {"head": 1.0}], ids=str
)
def test_a_map_that_is_not_there_is_refused(seen: SeenAttention, wrong: dict[str, Any]) -> None:
    for draw in (seen.plot, seen.page):
        with pytest.raises(UsageError):
            draw(**wrong)


def test_a_notebook_shows_the_picture_twice_as_fine_as_it_is_wide(seen: SeenAttention) -> None:
    content, shown = seen._repr_png_()
    assert content.startswith(MAGIC)
    width, height = struct.unpack(">II", content[16:24])
    inches = seen.plot().get_size_inches()
    assert (shown["width"], shown["height"]) == (round(96 * inches[0]), round(96 * inches[1]))
    assert width / shown["width"] == pytest.approx(160 / 96, abs=0.01)
    assert height / shown["height"] == pytest.approx(160 / 96, abs=0.01)
    assert repr(seen.plot(theme="dark")).startswith("<ThemedFigure: ")


def test_the_page_is_text_that_says_so_and_is_shown_in_a_frame(seen: SeenAttention, tmp_path: Path) -> None:
    page = seen.page("encoder", 1, 1)
    assert isinstance(page, str)
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert repr(page) == f"<Page: {len(page):,} characters of HTML; save it with .save('map.html')>"
    path = page.save(tmp_path / "map.html")
    assert path.read_text(encoding="utf-8") == page
    with pytest.raises(UsageError, match="html"):
        page.save(tmp_path / "map.png")
    with pytest.raises(InputError):
        page.save(tmp_path / "nowhere" / "map.html")


def test_a_page_of_a_model_that_was_changed_has_the_maps_of_its_answer(trained_run: Run) -> None:
    """The model as it is would give another answer, also after the end of the change."""
    model = load(trained_run, "cpu")
    with model.ablate("cross.1.1"):
        changed = model.attention([4, 2, 1])
    assert '"recorded":' in changed.page()
    assert '"stages":' in model.attention([4, 2, 1]).page()


def test_the_frame_holds_the_page_and_cannot_be_left() -> None:
    shown = Page('<p title="a">x</p>')._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;p title=&quot;a&quot;&gt;x&lt;/p&gt;" ')
