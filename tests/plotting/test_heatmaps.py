"""Heatmaps: the weights are read back out of the drawn figure."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image

from seqrev.plotting.heatmaps import AxisLabels, LabelledMap, Map, attention_figure, snapshots_figure
from seqrev.plotting.style import PALETTE
from tests.helpers import assert_apart

# Neither square nor symmetric: three steps over five positions.
KNOWN = np.array([[0.05, 0.1, 0.2, 0.65, 0.0], [0.9, 0.04, 0.03, 0.02, 0.01], [0.0, 0.5, 0.0, 0.25, 0.25]])
ROWS = AxisLabels("target step", "token emitted", ["2", "8", "<EOS>"], 1)
COLUMNS = AxisLabels("source position", "token read", ["<BOS>", "4", "8", "2", "<EOS>"])


def pixels(figure: Figure) -> NDArray[np.float64]:
    """The drawn figure, ``[height, width, rgb]``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        colours: NDArray[np.float64] = np.asarray(image.convert("RGB")) / 255
    return colours


def colour_at(picture: NDArray[np.float64], image: AxesImage, row: int, column: int) -> NDArray[np.float64]:
    """The colour drawn in the middle of a cell of a map."""
    figure, axes = image.get_figure(root=True), image.axes
    assert figure is not None
    assert axes is not None
    left, right, bottom, top = image.get_extent()
    weights = image.get_array()
    assert weights is not None
    rows, columns = weights.shape[:2]
    middle = (left + (right - left) * (column + 0.5) / columns, top + (bottom - top) * (row + 0.5) / rows)
    x, y = figure.transFigure.inverted().transform(axes.transData.transform(middle))
    height, width = picture.shape[:2]
    colour: NDArray[np.float64] = picture[int((1 - y) * height), int(x * width)]
    return colour


def check_colours(picture: NDArray[np.float64], image: AxesImage, weights: Map) -> None:
    for (row, column), value in np.ndenumerate(weights):
        np.testing.assert_allclose(
            colour_at(picture, image, row, column),
            colormaps[PALETTE](float(value))[:3],
            atol=0.02,
            err_msg=f"{row} {column}",
        )


def box_of(image: AxesImage) -> Bbox:
    """The box of a map, as shares of the figure."""
    figure = image.get_figure(root=True)
    assert figure is not None
    return image.get_window_extent().transformed(figure.transFigure.inverted())


def maps_of(figure: Figure) -> list[AxesImage]:
    """The large map, then the small ones."""
    return [image for axes in figure.axes for image in axes.get_images()]


def grid_of(layers: int, heads: int, rows: int = 3, columns: int = 5) -> Map:
    return np.random.default_rng(0).dirichlet(np.ones(columns), size=(layers, heads, rows))


def ticks(axes: Axes, rows: bool) -> dict[str, float]:
    """The labels of an axis and their coordinates."""
    axis = axes.yaxis if rows else axes.xaxis
    return {label.get_text(): tick for tick, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)}


def known(guide: tuple[int, ...] = ()) -> LabelledMap:
    return LabelledMap(KNOWN, ROWS, COLUMNS, "caption", guide)


@pytest.mark.parametrize("guide", [(), (3, 2)], ids=["plain", "guided"])
def test_every_cell_has_the_colour_of_its_weight_at_its_labels(guide: tuple[int, ...]) -> None:
    figure = attention_figure(known(guide), ["title"])
    (axes,) = figure.axes
    (bar,) = axes.child_axes
    check_colours(pixels(figure), axes.get_images()[0], KNOWN)
    assert ticks(axes, rows=True) == {"2": 1, "8": 2, "<EOS>": 3}
    assert ticks(axes, rows=False) == {"<BOS>": 0, "4": 1, "8": 2, "2": 3, "<EOS>": 4}
    assert list(axes.get_images()[0].get_extent()) == [-0.5, 4.5, 3.5, 0.5]  # so that each cell is at its number
    assert axes.transData.transform((0, 1))[1] > axes.transData.transform((0, 3))[1]  # the first step is above
    assert axes.transData.transform((0, 1))[0] < axes.transData.transform((4, 1))[0]  # <BOS> is on the left
    assert axes.get_xlabel() == "source position (token read)"
    assert axes.get_ylabel() == "target step\n(token emitted)"
    assert bar.get_ylim() == (0, 1)
    assert bar.get_ylabel() == "attention weight"


def test_the_grid_has_every_head_in_the_row_of_its_layer() -> None:
    maps = grid_of(2, 3)
    figure = attention_figure(known((3, 2)), ["title"], maps)
    picture = pixels(figure)
    large, *small = maps_of(figure)
    check_colours(picture, large, KNOWN)
    assert len(small) == 6
    boxes = [box_of(image) for image in small]
    for index, image in enumerate(small):
        check_colours(picture, image, maps[index // 3, index % 3])
    assert boxes[0].x0 < boxes[1].x0 < boxes[2].x0
    assert boxes[0].y0 == pytest.approx(boxes[2].y0)
    assert boxes[0].y0 > boxes[3].y1
    assert {image.get_clim() for image in (large, *small)} == {(0.0, 1.0)}


def test_the_grid_names_its_heads_above_and_its_layers_beside_them() -> None:
    figure = attention_figure(known(), ["title"], grid_of(2, 3), first_layer=4)
    figure.draw_without_rendering()
    grid = figure.axes[1]
    assert not grid.patches  # the guide is in the large map only
    boxes = {index: image.get_window_extent() for index, image in enumerate(maps_of(figure)[1:])}
    names = {label.get_text(): label.get_window_extent() for label in (*grid.get_xticklabels(), *grid.get_yticklabels())}
    assert set(names) == {"head 1", "head 2", "head 3", "layer 4", "layer 5"}
    for name, index in (("head 1", 0), ("head 3", 2)):
        assert boxes[index].x0 < names[name].x0 < names[name].x1 < boxes[index].x1
        assert names[name].y0 > boxes[index].y1
    for name, index in (("layer 4", 0), ("layer 5", 3)):
        assert boxes[index].y0 < names[name].y0 < names[name].y1 < boxes[index].y1
        assert names[name].x1 < boxes[index].x0


@pytest.mark.parametrize(("length", "layers", "heads"), [(4, 1, 1), (10, 2, 4), (50, 4, 8), (200, 2, 4)])
def test_cells_are_squares(length: int, layers: int, heads: int) -> None:
    figure = case(length, layers, heads)
    figure.draw_without_rendering()
    for image in maps_of(figure):
        box = image.get_window_extent()
        assert box.width / (length + 2) == pytest.approx(box.height / (length + 1), rel=1e-3)


def test_the_guide_frames_the_cells_of_the_alignment() -> None:
    (frame,) = attention_figure(known((3, 2)), ["title"]).axes[0].patches
    assert isinstance(frame, Polygon)
    left = [[2.5, 0.5], [2.5, 1.5], [1.5, 1.5], [1.5, 2.5]]
    right = [[3.5, 0.5], [3.5, 1.5], [2.5, 1.5], [2.5, 2.5]]
    assert frame.get_xy().tolist() == [*left, *right[::-1], left[0]]
    assert not attention_figure(known(), ["title"]).axes[0].patches


def test_frames_that_do_not_touch_are_not_joined_by_lines() -> None:
    upper, lower = attention_figure(known((3, 1)), ["title"]).axes[0].patches
    assert isinstance(upper, Polygon)
    assert isinstance(lower, Polygon)
    assert upper.get_xy().tolist() == [[2.5, 0.5], [2.5, 1.5], [3.5, 1.5], [3.5, 0.5], [2.5, 0.5]]
    assert lower.get_xy().tolist() == [[0.5, 1.5], [0.5, 2.5], [1.5, 2.5], [1.5, 1.5], [0.5, 1.5]]


def case(length: int, layers: int, heads: int, symbols: int = 10, name: str = "runs/001") -> Figure:
    """The figure of a sequence as long as this, with everything that a figure can have."""
    sequence = [str(number * 7 % symbols) for number in range(length)]
    grid = grid_of(layers, heads, length + 1, length + 2)
    large = LabelledMap(
        grid.mean(axis=(0, 1)),
        AxisLabels("target step", "token emitted", [*sequence[::-1], "<EOS>"], 1),
        AxisLabels("source position", "token read", ["<BOS>", *sequence, "<EOS>"]),
        f"layer {layers} of {layers}, mean of {heads} heads",
        list(range(length, 0, -1)),
    )
    title = [f"{name}: cross-attention", " ".join(sequence), "the answer is right; anti-diagonal mass 0.94, hit 1.00"]
    return attention_figure(large, title, grid, footer="step 1  loss 2.5")


@pytest.mark.parametrize("length", [1, 4, 10, 20, 35, 36, 50, 200])
@pytest.mark.parametrize(
    ("layers", "heads", "symbols"), [(1, 1, 10), (2, 4, 10), (6, 8, 1_000)], ids=["one", "small", "busy"]
)
def test_no_two_texts_touch(length: int, layers: int, heads: int, symbols: int) -> None:
    texts = assert_apart(case(length, layers, heads, symbols))
    assert ("<BOS>" in texts) is (length < 34)  # where there is no room for tokens, positions are numbered


@pytest.mark.parametrize(
    "name", ["/home/somebody/" + "a-long-folder/" * 9 + "runs/001", "W" * 300, "$1" * 100, "\x1b[31m$x$\n" * 30]
)
@pytest.mark.parametrize("length", [1, 10])
def test_long_names_are_cut_in_the_middle(length: int, name: str) -> None:
    title = next(text for text in assert_apart(case(length, 2, 4, name=name)) if "cross-attention" in text)
    first = title.split("\n")[0].replace(r"\$", "$")
    shown = name.replace("\x1b", r"\x1b").replace("\n", " ")
    assert first.startswith(shown[:10])
    assert "…" in first
    assert first.endswith(f"{shown[-8:]}: cross-attention")


def test_many_heads_still_fit() -> None:
    assert_apart(case(4, 1, 32))
    assert_apart(case(4, 12, 12))


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (1, 122), (3, 122), (122, 3), (20, 100), (300, 3), (301, 300)])
@pytest.mark.parametrize("grid", [True, False])
def test_long_and_thin_maps_still_fit(rows: int, columns: int, grid: bool) -> None:
    maps = grid_of(2, 2, rows, columns)
    emitted = AxisLabels("target step", "token emitted", ["8"] * (rows - 1) + ["<EOS>"], 1)
    read = AxisLabels("source position", "token read", ["<BOS>", *["8"] * (columns - 2), "<EOS>"])
    large = LabelledMap(maps[0, 0], emitted, read, "layer 2 of 2, mean of 2 heads", [0] * (rows - 1))
    assert_apart(attention_figure(large, ["the title"], maps if grid else None))


def test_figures_that_differ_in_their_numbers_only_have_one_layout() -> None:
    boxes = []
    for footer in ("step 1    loss 2.5", "step 32,000    loss 0.00012"):
        figure = attention_figure(known(), ["title"], footer=footer)
        figure.draw_without_rendering()
        boxes.append((figure.get_size_inches().tolist(), figure.axes[0].get_position().bounds))
    assert boxes[0] == boxes[1]


@pytest.mark.parametrize("length", [35, 50, 200])
def test_a_long_sequence_is_numbered_by_position(length: int) -> None:
    axes = case(length, 1, 2).axes[0]
    assert axes.get_xlabel() == "source position"
    for rows, first, last in ((True, 1, length + 1), (False, 0, length + 1)):
        shown = {name: tick for name, tick in ticks(axes, rows).items() if first <= tick <= last}
        assert 5 <= len(shown) <= 13
        assert all(tick == int(name) for name, tick in shown.items())


def test_a_thin_line_is_not_lost_where_cells_are_as_small_as_pixels() -> None:
    line = np.eye(201, 202)[:, ::-1]
    large = LabelledMap(line, AxisLabels("", "", ["1"] * 201), AxisLabels("", "", ["1"] * 202), "")
    figure = attention_figure(large, [], np.tile(line, (1, 8, 1, 1)))
    picture = pixels(figure)
    for image in maps_of(figure)[1:]:
        seen = [colour_at(picture, image, row, 201 - row)[1] for row in range(5, 195)]
        assert np.mean(seen) > colormaps[PALETTE](0.3)[1]
        assert colour_at(picture, image, 50, 50)[1] < 0.05


def test_a_strip_has_every_map_with_its_caption_below() -> None:
    maps = list(grid_of(1, 10)[0])
    captions = [f"step {number}\nloss 2.5\nmass 0.12  hit 0.10" for number in range(10)]
    figure = snapshots_figure(maps, captions, ["the title"])
    picture = pixels(figure)
    images = maps_of(figure)
    figure.draw_without_rendering()
    for image, weights, axes, caption in zip(images, maps, figure.axes, captions, strict=True):
        check_colours(picture, image, weights)
        assert axes.get_xlabel() == caption
        box, text = image.get_window_extent(), axes.xaxis.label.get_window_extent()
        assert text.y1 < box.y0
        assert (text.x0 + text.x1) / 2 == pytest.approx((box.x0 + box.x1) / 2, abs=1)
    assert len(assert_apart(figure)) == 11


@pytest.mark.parametrize("rows", [1, 3, 11, 101])
@pytest.mark.parametrize("count", [1, 2, 22])
def test_no_two_texts_of_a_strip_touch(rows: int, count: int) -> None:
    captions = [f"step {2**number:,}\nloss 0.0012\nmass 0.12  hit 0.10" for number in range(count)]
    title = ["runs/001: cross-attention in training", "4 " * 100]
    assert_apart(snapshots_figure([np.eye(rows, rows + 1)] * count, captions, title))


@pytest.mark.parametrize(("maps", "rows"), [(8, [8]), (9, [5, 4]), (22, [8, 8, 6])])
def test_a_strip_has_at_most_eight_maps_in_a_row_and_rows_of_like_length(maps: int, rows: list[int]) -> None:
    figure = snapshots_figure([np.eye(3)] * maps, ["step"] * maps, ["the title"])
    figure.draw_without_rendering()
    heights = [round(box_of(image).y0, 3) for image in maps_of(figure)]
    assert [heights.count(height) for height in sorted(set(heights), reverse=True)] == rows
