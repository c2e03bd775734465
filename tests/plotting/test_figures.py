"""What is true of every figure in every theme: no setting of a user reaches it, and files are what journals take."""

import io
import re
import threading
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from seqrev.errors import UsageError
from seqrev.plotting import export
from seqrev.plotting.curves import training_curves
from seqrev.plotting.figures import applied
from seqrev.plotting.style import THEMES, ThemeName
from tests.helpers import PATIENCE, assert_apart
from tests.plotting.pictures import FIGURES, drawn
from tests.plotting.test_curves import HISTORY

OURS: dict[Any, Any] = dict(matplotlib.rcParamsDefault) | dict(THEMES["paper"].settings())
SWITCHES = {name: not value for name, value in OURS.items() if isinstance(value, bool)}  # text.usetex among them
HOSTILE: dict[Any, Any] = SWITCHES | {
    "axes.edgecolor": "red",
    "axes.facecolor": "pink",
    "axes.formatter.limits": (0, 0),
    "axes.grid.axis": "x",
    "axes.labelsize": 30,
    "axes.linewidth": 9,
    "axes.prop_cycle": cycler(color="ry"),
    "axes.titlelocation": "left",
    "figure.constrained_layout.w_pad": 1.0,
    "figure.dpi": 31,
    "figure.facecolor": "green",
    "figure.figsize": (1, 1),
    "figure.titlesize": 50,
    "font.family": ["monospace"],
    "font.size": 40,
    "font.weight": "bold",
    "grid.linewidth": 9,
    "image.cmap": "magma",
    "image.interpolation": "bilinear",
    "image.interpolation_stage": "rgba",
    "image.origin": "lower",
    "legend.fontsize": 40,
    "lines.dash_capstyle": "round",
    "lines.linestyle": ":",
    "lines.linewidth": 12,
    "lines.marker": "x",
    "lines.markersize": 20,
    "mathtext.fontset": "cm",
    "patch.edgecolor": "red",
    "patch.linewidth": 8,
    "path.sketch": (1, 100, 2),
    "pdf.fonttype": 3,
    "savefig.bbox": "tight",
    "savefig.dpi": 20,
    "savefig.facecolor": "yellow",
    "savefig.format": "pdf",
    "savefig.pad_inches": 2,
    "svg.fonttype": "path",
    "svg.hashsalt": "another",
    "text.color": "red",
    "text.latex.preamble": r"\nonsense",
    "xaxis.labellocation": "left",
    "xtick.color": "red",
    "xtick.direction": "in",
    "xtick.labelsize": 30,
    "xtick.major.size": 20,
    "ytick.major.pad": 20,
}


def saved(figure: Figure, folder: Path, kind: str) -> bytes:
    path = folder / f"picture.{kind}"
    export.save_figure(figure, path)
    return path.read_bytes()


TIGHT: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.1}


def shown(figure: Figure) -> bytes:
    """As a notebook shows a figure."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=100, facecolor=figure.get_facecolor(), **TIGHT)
    return buffer.getvalue()


def test_the_hostile_settings_are_no_defaults() -> None:
    assert len(SWITCHES) > 50
    assert [name for name, value in HOSTILE.items() if OURS[name] == value] == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", FIGURES)
def test_no_setting_of_a_user_reaches_a_picture(name: str, theme: ThemeName, tmp_path: Path) -> None:
    kinds = ("png", "svg", "pdf") if theme == "paper" else ("png",)
    expected = [saved(FIGURES[name](theme), tmp_path, kind) for kind in kinds], shown(FIGURES[name](theme))
    with matplotlib.rc_context(HOSTILE):
        before = dict(matplotlib.rcParams)
        assert [saved(FIGURES[name](theme), tmp_path, kind) for kind in kinds] == expected[0]
        figure = FIGURES[name](theme)
        assert dict(matplotlib.rcParams) == before  # nor do we change theirs
        picture = Image.open(io.BytesIO(shown(figure)))
    assert np.array_equal(np.asarray(picture), np.asarray(Image.open(io.BytesIO(expected[1]))))


@pytest.mark.parametrize("name", FIGURES)
def test_the_words_of_an_svg_are_text(name: str, tmp_path: Path) -> None:
    svg = saved(FIGURES[name]("paper"), tmp_path, "svg").decode()
    words = " ".join(re.findall(r"<text[^>]*>([^<]+)</text>", svg))
    title = {"attention": "cross-attention", "head": "head 1 of 2", "snapshot": "step 128", "strip": "step 128"}
    assert title.get(name, FIGURES[name]("paper").get_suptitle().partition("\n")[0]) in words
    assert "DejaVu Sans" in svg
    assert "<dc:date>" not in svg


@pytest.mark.parametrize("name", FIGURES)
def test_the_fonts_of_a_pdf_are_truetype(name: str, tmp_path: Path) -> None:
    pdf = saved(FIGURES[name]("paper"), tmp_path, "pdf")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", FIGURES)
def test_no_two_texts_touch_in_any_theme(name: str, theme: ThemeName) -> None:
    assert_apart(FIGURES[name](theme))


@pytest.mark.parametrize("name", FIGURES)
def test_every_word_can_be_read_from_the_back_where_the_picture_fills_a_slide(name: str) -> None:
    points = {}
    for theme in ("paper", "slide"):
        figure = drawn(name, theme)
        words = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        points[theme] = min(words) / max(figure.get_size_inches() / (13.33, 7.5))
    assert points["slide"] >= max(12, points["paper"])


def test_another_theme_is_refused() -> None:
    with pytest.raises(UsageError, match="no theme 'neon'; paper, slide, dark were expected"):
        training_curves(HISTORY, "", theme="neon")  # type: ignore[arg-type]


def test_two_threads_that_draw_leave_the_settings_as_they_were() -> None:
    """Whichever of them is the first to begin, and the first to end."""
    before, inside, leave = dict(matplotlib.rcParams), threading.Event(), threading.Event()

    def other() -> None:
        inside.set()
        with applied(THEMES["dark"]):
            leave.wait(PATIENCE)

    thread = threading.Thread(target=other)
    with applied(THEMES["paper"]):
        thread.start()
        assert inside.wait(PATIENCE)
        with applied(THEMES["slide"]):  # a figure within a figure
            assert matplotlib.rcParams["font.size"] == THEMES["slide"].medium
        time.sleep(0.1)  # so that the other thread would be inside, if it could
    leave.set()
    thread.join(PATIENCE)
    assert dict(matplotlib.rcParams) == before
