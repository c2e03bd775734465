"""Figures, pages and text: training curves, attention heatmaps, and the files they are saved to."""

import logging
import os
from contextlib import suppress

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # its import may say that it builds the font cache


def _import_matplotlib() -> None:
    """Import Matplotlib even where ``MPLBACKEND`` names a window that is not installed here: no window is opened.

    A notebook sets it for all its children; they may have another environment.
    """
    try:
        import matplotlib
    except ValueError:
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            import matplotlib  # noqa: F401
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend


with suppress(OSError, ValueError):  # which is told where something is drawn, and not before the result is there
    _import_matplotlib()
