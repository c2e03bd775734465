import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from seqrev.plotting import curves
from seqrev.plotting.style import THEMES, ThemeName
from tests.helpers import assert_apart

HISTORY: list[dict[str, Any]] = [
    {"event": "train", "step": 1, "loss": 2.5, "lr": 0.001},
    {"event": "train", "step": 10, "loss": 1.5, "lr": 0.003},
    {"event": "validation", "step": 10, "loss": 1.25, "exact_match": 0.25, "mass": 0.125, "hit": 0.375},
    {"event": "train", "step": 20, "loss": 0.5, "lr": 0.0},
    {"event": "validation", "step": 20, "loss": 0.25, "exact_match": 0.75, "mass": 0.5, "hit": 1.0},
]


def panels(metrics: list[dict[str, Any]]) -> dict[str, Axes]:
    return {axes.get_ylabel(): axes for axes in curves.training_curves(metrics, "the title").axes}


def points(line: Line2D) -> list[list[float]]:
    return [[float(x), float(y)] for x, y in np.asarray(line.get_xydata())]


def test_the_training_picture_shows_the_history() -> None:
    shown = panels(HISTORY)
    assert list(shown) == ["loss (nats per token)", "exact match", "anti-diagonal", "learning rate"]
    loss, exact, anti_diagonal, rate = shown.values()
    train, validation = loss.get_lines()
    np.testing.assert_allclose(points(train), [[1, 2.5], [10, 1.5], [20, 0.5]])  # too few to smooth
    assert points(validation) == [[10, 1.25], [20, 0.25]]
    assert loss.get_yscale() == "log"
    assert [points(line) for line in exact.get_lines()] == [[[10, 0.25], [20, 0.75]]]
    assert [points(line) for line in anti_diagonal.get_lines()] == [[[10, 0.125], [20, 0.5]], [[10, 0.375], [20, 1.0]]]
    assert [points(line) for line in rate.get_lines()] == [[[1, 0.001], [10, 0.003], [20, 0.0]]]
    assert rate.get_xlabel() == "step"
    named = curves.training_curves(HISTORY, "the title", alignment="diagonal").axes
    assert [axes.get_ylabel() for axes in named][2] == "diagonal"
    assert rate.get_ylim()[0] == 0
    assert rate.get_ylim()[1] < 0.01
    for axes in (exact, anti_diagonal):
        assert axes.get_ylim()[0] <= 0 < 1 <= axes.get_ylim()[1]
    assert {axes.get_xlim() for axes in shown.values()} == {(0, 20)}


def test_curves_are_named_at_their_ends_in_their_colours() -> None:
    for axes in panels(HISTORY).values():
        named = {text.get_text(): text for text in axes.texts}
        for line in axes.get_lines():
            name = str(line.get_label())
            if name and not name.startswith("_"):
                label = named[name]
                assert isinstance(label, Annotation)
                assert label.get_color() == line.get_color()
                assert label.xy == (1, np.asarray(line.get_ydata())[-1])
    loss = panels(HISTORY)["loss (nats per token)"]
    assert {text.get_text() for text in loss.texts} == {"training", "validation"}


def test_a_single_point_is_named_with_its_value() -> None:
    drawn = panels(HISTORY[:3])  # up to the first validation
    texts = {label: [text.get_text() for text in axes.texts if text.get_text()] for label, axes in drawn.items()}
    assert texts == {
        "loss (nats per token)": ["validation 1.25", "training"],
        "exact match": ["0.25"],
        "anti-diagonal": ["mass 0.125", "hit 0.375"],
        "learning rate": [],
    }
    assert_apart(curves.training_curves(HISTORY[:3], "Training of runs/001", theme="slide"))


def test_metrics_of_an_older_version_are_drawn_without_what_they_lack() -> None:
    old = [{key: value for key, value in row.items() if key not in ("lr", "mass", "hit")} for row in HISTORY]
    assert list(panels(old)) == ["loss (nats per token)", "exact match"]
    assert list(panels([row for row in old if row["event"] == "train"])) == ["loss (nats per token)"]


def test_no_two_texts_of_the_training_picture_touch() -> None:
    close = [{**row, "mass": 0.98, "hit": 1.0} if row["event"] == "validation" else row for row in HISTORY]
    close[-1] = {**close[-1], "loss": 0.5}  # both losses end at the same value
    assert_apart(curves.training_curves(close, "Training of runs/001"))


def test_the_training_loss_is_smoothed_by_a_geometric_mean_around_each_step() -> None:
    losses = [4.0, 1.0] * 60  # 120 of them: three to either side
    history = [{"event": "train", "step": step, "loss": loss} for step, loss in enumerate(losses)]
    axes = curves.training_curves(history, "").axes[0]
    (smoothed,) = axes.get_lines()
    ys = np.asarray(smoothed.get_ydata())
    assert ys[3:5].tolist() == pytest.approx([4 ** (4 / 7), 4 ** (3 / 7)])  # 4 of 7 are fours, then 3
    assert ys[0] == pytest.approx(4 ** (2 / 4))
    assert ys[-1] == pytest.approx(4 ** (2 / 4))
    assert len(ys) == 120
    (band,) = axes.collections  # from the smallest to the largest of the seven
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert set(np.round(heights, 9).tolist()) == {1.0, 4.0}


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=200))
def test_the_smoothed_loss_is_within_the_band_and_so_is_every_loss(losses: list[float]) -> None:
    history = [{"event": "train", "step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
    axes = curves.training_curves(history, "").axes[0]
    smoothed = np.asarray(axes.get_lines()[0].get_ydata())
    vertices = np.asarray(axes.collections[0].get_paths()[0].vertices)
    for step, (loss, mean) in enumerate(zip(losses, smoothed, strict=True), start=1):
        heights = vertices[vertices[:, 0] == step, 1]
        assert heights.min() <= loss <= heights.max()
        assert heights.min() * (1 - 1e-9) <= mean <= heights.max() * (1 + 1e-9)


# --- several trainings ------------------------------------------------------------------------------------------------


def test_several_trainings_are_in_one_picture_each_in_one_look() -> None:
    slower = [{**row, "loss": 2 * row["loss"]} for row in HISTORY]
    figure = curves.compare_trainings({"001": HISTORY, "002 $x$": slower, "003": HISTORY[:2]}, "the title")
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "validation loss", "exact match"]
    assert [len(axes.get_lines()) for axes in figure.axes] == [3, 2, 2]
    train, validation, exact = figure.axes
    assert points(validation.get_lines()[1]) == [[10, 2.5], [20, 0.5]]
    assert points(exact.get_lines()[0]) == [[10, 0.25], [20, 0.75]]
    looks = [[(line.get_color(), line.get_marker()) for line in axes.get_lines()] for axes in figure.axes]
    assert len(set(looks[0])) == 3
    assert looks[1] == looks[2] == looks[0][:2]
    assert train.get_yscale() == validation.get_yscale() == "log"
    # At the last step, which is at the edge, there are whole markers:
    assert not any(line.get_clip_on() for axes in figure.axes for line in axes.get_lines())
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["001", r"002 \$x\$", "003"]
    assert_apart(figure)


@pytest.mark.parametrize("theme", THEMES)
def test_many_trainings_still_fit(theme: ThemeName) -> None:
    runs = {f"runs/{number:03d}  train.lr=0.00{number}": HISTORY for number in range(12)}
    assert_apart(curves.compare_trainings(runs, "Training of 12 runs", theme=theme))


# --- accuracy by length -----------------------------------------------------------------------------------------------


def curve(label: str, *exact: float) -> curves.Curve:
    intervals = [(max(0.0, share - 0.1), min(1.0, share + 0.05)) for share in exact]
    return curves.Curve(label, [10 * 2**index for index in range(len(exact))], exact, intervals)


CURVES = [curve("runs/001", 1.0, 0.5, 0.25), curve("runs/002", 1.0, 0.75, 0.5), curve("runs/003", 0.0, 0.0)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_model_is_a_line_with_its_name_over_a_logarithmic_axis(count: int) -> None:
    figure = curves.accuracy_by_length(CURVES[:count], (3, 12), "the title")
    (axes,) = figure.axes
    lines = axes.get_lines()
    assert len(lines) == count
    for line, shown in zip(lines, CURVES, strict=False):
        assert np.array(line.get_xydata()).tolist() == [[*p] for p in zip(shown.lengths, shown.exact_match, strict=True)]
        assert line.get_label() == shown.label
    assert axes.get_xscale() == "log"
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] <= 0 < 1 <= axes.get_ylim()[1]
    assert figure.get_suptitle() == "the title"
    assert "length" in axes.get_xlabel()
    assert "exact match" in axes.get_ylabel()
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["training lengths 3 to 12", *(shown.label for shown in CURVES[:count])]


def test_the_lengths_of_training_are_shaded() -> None:
    (axes,) = curves.accuracy_by_length(CURVES, (3, 12), "").axes
    (span,) = axes.patches
    assert span.get_label() == "training lengths 3 to 12"
    horizontal = span.get_extents().transformed(axes.transData.inverted())
    assert (horizontal.x0, horizontal.x1) == pytest.approx((3, 12))


def intervals(axes: Axes) -> list[dict[float, set[float]]]:
    """Of every curve the ends of the interval at each length, as a bar or as part of a band."""
    found: list[dict[float, set[float]]] = []
    for band, bars in zip(axes.collections[::2], axes.collections[1::2], strict=True):
        assert isinstance(bars, LineCollection)
        ends: dict[float, set[float]] = {}
        for path in (*band.get_paths(), *bars.get_paths()):
            for x, y in np.asarray(path.vertices):
                ends.setdefault(float(x), set()).add(round(float(y), 9))
        found.append(ends)
    return found


def test_every_length_has_its_interval_as_a_bar_in_the_colour_of_its_line() -> None:
    (axes,) = curves.accuracy_by_length(CURVES, (3, 12), "").axes
    for ends, line, shown in zip(intervals(axes), axes.get_lines(), CURVES, strict=True):
        expected = zip(shown.lengths, shown.intervals, strict=True)
        assert ends == {length: {round(end, 9) for end in interval} for length, interval in expected}
        bars = axes.collections[2 * axes.get_lines().index(line) + 1]
        assert to_rgb(np.asarray(bars.get_edgecolor())[0]) == to_rgb(line.get_color())


def test_of_many_lengths_close_ones_are_a_band_and_a_wide_interval_is_no_area() -> None:
    lengths = list(range(1, 461))
    wide = curves.Curve("one", lengths, [1.0] * 460, [(0.2065, 1.0), *[(0.94, 1.0)] * 459])
    figure = curves.accuracy_by_length([wide], (1, 10), "")
    (axes,) = figure.axes
    band, bars = axes.collections
    low = min(float(np.asarray(path.vertices)[:, 1].min()) for path in band.get_paths())
    assert low == pytest.approx(0.94)  # the single sequence of length 1 is not in it
    first = bars.get_paths()[0]
    assert np.asarray(first.vertices).tolist() == [[1, 0.2065], [1, 1.0]]
    assert 5 < len(bars.get_paths()) < 30
    (line,) = axes.get_lines()
    assert len(np.asarray(line.get_xdata())) == 460
    assert line.get_markevery() == 23  # twenty markers, which do not touch
    assert_apart(figure)


def test_the_token_accuracy_is_drawn_below_where_it_is_given() -> None:
    both = curves.Curve("runs/001", [10, 20], [1.0, 0.5], [(0.9, 1.0), (0.4, 0.6)], [1.0, 0.75])
    figure = curves.accuracy_by_length([both, CURVES[1]], (1, 10), "the title")
    exact, tokens = figure.axes
    assert [exact.get_ylabel(), tokens.get_ylabel()] == ["exact match", "token accuracy"]
    assert [points(line) for line in tokens.get_lines()] == [[[10, 1.0], [20, 0.75]]]
    assert tokens.get_lines()[0].get_color() == exact.get_lines()[0].get_color()
    assert len(exact.get_lines()) == 2
    assert_apart(figure)


def test_many_lines_can_be_told_apart() -> None:
    many = [curve(str(number), 0.5) for number in range(30)]
    (axes,) = curves.accuracy_by_length(many, (1, 10), "").axes
    assert len({(line.get_color(), line.get_marker()) for line in axes.get_lines()}) == 30


def test_a_single_length_shows_its_interval_and_no_label_touches_another() -> None:
    figure = curves.accuracy_by_length([curves.Curve("one", [100_000], [1.0], [(0.2065, 1.0)])], (1, 10), "")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert intervals(axes) == [{100_000: {0.2065, 1.0}}]
    left, right = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    boxes = [label.get_window_extent() for tick, label in ticks if left <= tick <= right]
    assert len(boxes) >= 5
    assert all(one.x1 + 5 < other.x0 for one, other in itertools.pairwise(boxes))


def test_lengths_are_named_more_often_than_at_powers_of_ten() -> None:
    figure = curves.accuracy_by_length(
        [curve("runs/001", 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0)], (1, 10), "the title"
    )  # to 10,240
    shown = assert_apart(figure)
    assert {"1", "2", "5", "10", "20", "50", "100", "1,000", "10,000"} <= set(shown)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [r"$\frac$", r"\$x$", "$$", "\x1b[31m\u202e", "a$" * 3_000, "_hidden"])
def test_a_name_is_drawn_as_it_is(name: str) -> None:
    curve = curves.Curve(name, [1, 2], [0.5, 1.0], [(0.4, 0.6), (0.9, 1.0)])
    for figure in (
        curves.accuracy_by_length([curve], (1, 2), name),
        curves.training_curves([{"event": "train", "step": 1, "loss": 1.0, "lr": 0.1}], f"{name}: x"),
    ):
        figure.savefig(io.BytesIO(), format="svg")


def test_long_names_leave_room_for_the_curves() -> None:
    names = [f"/home/somebody/{'a-long-folder/' * 9}runs/{number:03d}" for number in range(12)]
    figure = curves.accuracy_by_length(
        [curves.Curve(name, [20, 50], [1, 0.5], [(0.9, 1), (0, 1)]) for name in names], (1, 10), "t"
    )
    figure.draw_without_rendering()  # it warns where the curves are left none
    (axes,) = figure.axes
    assert axes.get_position().height > 0.4
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name[-8:] for name in shown[1:]] == [f"runs/{number:03d}" for number in range(12)]


@given(st.lists(st.text("abc", min_size=1, max_size=40), min_size=1, max_size=9))
def test_a_legend_has_the_first_words_whole(words: list[str]) -> None:
    shown = curves.in_legend(words).split()
    left_out = shown[-1] == "…"
    kept = shown[: len(shown) - left_out]
    assert kept == words[: len(kept)]
    assert kept
    assert left_out == (len(" ".join(words)) > 59) == (len(kept) < len(words))
    assert len(" ".join(shown)) <= 59
    assert not left_out or len(" ".join([*kept, words[len(kept)], "…"])) > 59
