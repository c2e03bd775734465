"""Figures, pages and text: training curves, attention heatmaps, and the files they are saved to."""

import logging

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # its import may say that it builds the font cache
