"""Every kind of figure that the package draws, small, for tests of what is true of all of them."""

import functools
from collections.abc import Callable

from matplotlib.figure import Figure

from seqrev.plotting.attention import draw_attention, draw_snapshot, draw_strip
from seqrev.plotting.causes import draw_influence, draw_patching, draw_path, draw_residual
from seqrev.plotting.curves import Curve, accuracy_by_length, compare_trainings, training_curves
from seqrev.plotting.style import ThemeName
from seqrev.plotting.tables import shaded_table
from tests.plotting.test_attention import ATTENTION, SNAPSHOT
from tests.plotting.test_causes import INFLUENCE, PATCHING, PATH, RESIDUAL
from tests.plotting.test_curves import HISTORY

CURVES = [
    Curve(f"runs/{number:03d}", [1, 10, 20], [1.0, 0.5, 0.25], [(0.2, 1.0), (0.4, 0.6), (0.1, 0.4)], [1.0, 0.75, 0.5])
    for number in range(8)
]
CROWDED = [Curve("many", range(1, 200), [0.5] * 199, [(0.4, 0.6)] * 199)]
TABLE = {"a": [[0.0], [0.25, 0.5], [0.5]], "b": [[0.6], [0.7, 0.9], [1.0]], "c": [[1.0], [], [0.8]]}

FIGURES: dict[str, Callable[[ThemeName], Figure]] = {
    "attention": lambda theme: draw_attention(ATTENTION, "runs/001", theme=theme),
    "head": lambda theme: draw_attention(ATTENTION, "runs/001", "cross", 2, 1, theme=theme),
    "snapshot": lambda theme: draw_snapshot(SNAPSHOT, "runs/001", 2, None, True, theme=theme),
    "strip": lambda theme: draw_strip([SNAPSHOT] * 3, "runs/001", 2, None, theme=theme),
    "training": lambda theme: training_curves(HISTORY, "Training of runs/001", theme=theme),
    "trainings": lambda theme: compare_trainings({"001": HISTORY, "002": HISTORY[:3]}, "2 trainings", theme=theme),
    "by length": lambda theme: accuracy_by_length(CURVES, (1, 10), "exact match", theme=theme),
    "crowded": lambda theme: accuracy_by_length(CROWDED, (1, 10), "exact match", theme=theme),
    "influence": lambda theme: draw_influence(INFLUENCE, "runs/001", theme=theme),
    "patching": lambda theme: draw_patching(PATCHING, "runs/001", theme=theme),
    "path": lambda theme: draw_path(PATH, "runs/001", theme=theme),
    "residual": lambda theme: draw_residual(RESIDUAL, "runs/001", theme=theme),
    "table": lambda theme: shaded_table(TABLE, [1, 10, 100], "exact match", theme=theme),
}


@functools.cache
def drawn(name: str, theme: ThemeName) -> Figure:
    """A figure of which every part was made."""
    figure = FIGURES[name](theme)
    figure.draw_without_rendering()
    return figure
