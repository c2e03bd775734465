"""Figures that are drawn in a theme over Matplotlib's own defaults, whatever a user's settings say."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import Any, ParamSpec, cast

import matplotlib
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from seqrev.plotting.fonts import families
from seqrev.plotting.style import Theme, ThemeName, find_theme

PIXELS, SHOWN_PIXELS = 160, 96  # per inch, of a picture in a notebook: of its file, and on the page
P = ParamSpec("P")
_DEFAULTS: dict[Any, Any] = {name: value for name, value in dict.items(matplotlib.rcParamsDefault) if name != "backend"}
_ONE_AT_A_TIME = RLock()  # which a thread may take again: figures are drawn within figures


class ThemedFigure(Figure):
    """A figure that keeps its theme: whoever draws or saves it, and when, as a notebook does, gets the same picture."""

    def __init__(self, theme: Theme, **options: Any) -> None:
        """``options``: those of ``Figure``."""
        self.theme = theme
        super().__init__(**options)

    def draw(self, renderer: RendererBase) -> None:
        """Draw it; what is only made now, as ticks are, looks like the rest."""
        with applied(self.theme):
            self._find_fonts()
            super().draw(renderer)

    def get_tightbbox(self, *args: Any, **options: Any) -> Bbox:
        """As that of ``Figure``; it makes ticks, too."""
        with applied(self.theme):
            self._find_fonts()
            return super().get_tightbbox(*args, **options)

    def savefig(self, *args: Any, **options: Any) -> None:
        """As that of ``Figure``."""
        with applied(self.theme):
            super().savefig(*args, **options)

    def _find_fonts(self) -> None:
        for text in self.findobj(Text):
            if isinstance(text, Text) and not text.get_text().isascii():
                text.set_fontfamily(families(text.get_text()))

    def __repr__(self) -> str:
        width, height = self.get_size_inches()
        return f"<{type(self).__name__}: {width:.1f} x {height:.1f} inches>"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return notebook_png(self)


def notebook_png(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """A figure as a notebook shows it: a PNG, and its size on the page, smaller so that it is sharp on a fine screen."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PIXELS)
    width, height = (round(SHOWN_PIXELS * inches) for inches in figure.get_size_inches())
    return buffer.getvalue(), {"width": width, "height": height}


@contextmanager
def applied(theme: Theme) -> Iterator[None]:
    """Within it, Matplotlib has its own defaults and the theme; neither rc file nor style is heard.

    One thread after the other: the settings are those of the process, and whoever came last into the block and left it last
    would put back what the other one had set.
    """
    settings: dict[Any, Any] = {**_DEFAULTS, **theme.settings()}
    with _ONE_AT_A_TIME, matplotlib.rc_context(settings):
        yield


def themed(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the theme that the keyword argument ``theme`` of the function names, or else in the first, ``paper``."""

    @wraps(draw)
    def draw_in_theme(*args: P.args, **options: P.kwargs) -> Figure:
        with applied(find_theme(cast(Theme | ThemeName, options.get("theme", "paper")))):
            return draw(*args, **options)

    return draw_in_theme
