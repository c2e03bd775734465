"""Figures, pages and text: training curves, attention heatmaps, and the files they are saved to."""

import logging
import os
import sys
from contextlib import suppress

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # its import may say that it builds the font cache


def _import_matplotlib() -> None:
    """Import Matplotlib even where ``MPLBACKEND`` names a window that is not installed here: no window is opened.

    A notebook sets it for all programs that it starts, which may have another environment.
    """
    backend = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend  # as Matplotlib does it, which fails


with suppress(Exception):  # that is told where something is drawn, and not before the result is there
    _import_matplotlib()
