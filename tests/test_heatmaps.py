"""Heatmaps: what was put in is read back out of the drawn picture."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image

from seqrev.heatmaps import PALETTE, Labels, Map, attention_figure, frames_figure
from tests.conftest import assert_apart

# Neither square nor symmetric: three steps that look at five positions.
KNOWN = np.array([[0.05, 0.1, 0.2, 0.65, 0.0], [0.9, 0.04, 0.03, 0.02, 0.01], [0.0, 0.5, 0.0, 0.25, 0.25]])
ROWS = Labels("target step", "token emitted", ["2", "8", "<EOS>"], 1)
COLUMNS = Labels("source position", "token read", ["<BOS>", "4", "8", "2", "<EOS>"])


def pixels(figure: Figure) -> NDArray[np.float64]:
    """The drawn picture, ``[height, width, rgb]``."""
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


def place_of(image: AxesImage) -> Bbox:
    """Where a map stands, as shares of the figure."""
    figure = image.get_figure(root=True)
    assert figure is not None
    return image.get_window_extent().transformed(figure.transFigure.inverted())


def small_maps(figure: Figure) -> list[AxesImage]:
    *_, canvas = figure.axes
    return list(canvas.get_images())


def grid_of(layers: int, heads: int, rows: int = 3, columns: int = 5) -> Map:
    return np.random.default_rng(0).dirichlet(np.ones(columns), size=(layers, heads, rows))


NO_GRID = grid_of(0, 0)


def tick_places(axes: Axes, rows: bool) -> dict[str, float]:
    """Where the labels of an axis stand, in its data."""
    axis = axes.yaxis if rows else axes.xaxis
    return {label.get_text(): tick for tick, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)}


@pytest.mark.parametrize("guide", [(), (3, 2)], ids=["plain", "guided"])
def test_every_cell_has_the_colour_of_its_weight_at_its_labels(guide: tuple[int, ...]) -> None:
    figure = attention_figure(KNOWN, NO_GRID, ROWS, COLUMNS, ["title"], "caption", guide)
    axes, bar, _ = figure.axes
    check_colours(pixels(figure), axes.get_images()[0], KNOWN)
    assert tick_places(axes, rows=True) == {"2": 0, "8": 1, "<EOS>": 2}
    assert tick_places(axes, rows=False) == {"<BOS>": 0, "4": 1, "8": 2, "2": 3, "<EOS>": 4}
    assert axes.transData.transform((0, 0))[1] > axes.transData.transform((0, 2))[1]  # the first step is above
    assert axes.transData.transform((0, 0))[0] < axes.transData.transform((4, 0))[0]  # <BOS> is on the left
    assert axes.get_xlabel() == "source position (token read)"
    assert axes.get_ylabel() == "target step\n(token emitted)"
    assert bar.get_ylim() == (0, 1)
    assert bar.get_ylabel() == "attention weight"


def test_the_grid_has_every_head_in_the_row_of_its_layer() -> None:
    maps = grid_of(2, 3)
    figure = attention_figure(KNOWN, maps, ROWS, COLUMNS, ["title"], "caption", (3, 2), layers=(1, 2))
    picture = pixels(figure)
    large, small = figure.axes[0].get_images()[0], small_maps(figure)
    check_colours(picture, large, KNOWN)
    assert len(small) == 6
    places = [place_of(image) for image in small]
    for index, image in enumerate(small):
        check_colours(picture, image, maps[index // 3, index % 3])
    assert not figure.axes[-1].get_lines()  # the guide is in the large map only
    assert places[0].x0 < places[1].x0 < places[2].x0
    assert places[0].y0 == pytest.approx(places[2].y0)
    assert places[0].y0 > places[3].y1
    titles = {text.get_text(): text.get_position() for text in figure.texts}
    for name, place in (("head 1", places[0]), ("head 3", places[2])):
        assert place.x0 < titles[name][0] < place.x1
        assert titles[name][1] > place.y1
    for name, place in (("layer 1", places[0]), ("layer 2", places[3])):
        assert place.y0 < titles[name][1] < place.y1
    assert {image.get_clim() for image in (large, *small)} == {(0.0, 1.0)}


def test_the_guide_frames_the_cells_where_a_perfect_model_looks() -> None:
    figure = attention_figure(KNOWN, NO_GRID, ROWS, COLUMNS, ["title"], "caption", (3, 1))
    left, right = (np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].get_lines())
    assert left == [[2.5, -0.5], [2.5, 0.5], [0.5, 0.5], [0.5, 1.5]]
    assert right == [[3.5, -0.5], [3.5, 0.5], [1.5, 0.5], [1.5, 1.5]]
    assert not attention_figure(KNOWN, NO_GRID, ROWS, COLUMNS, ["title"], "caption").axes[0].get_lines()


def case(length: int, layers: int, heads: int, symbols: int = 10) -> Figure:
    """The picture of a sequence as long as this, with everything that a picture can have."""
    sequence = [str(number * 7 % symbols) for number in range(length)]
    rows = Labels("target step", "token emitted", [*sequence[::-1], "<EOS>"], 1)
    columns = Labels("source position", "token read", ["<BOS>", *sequence, "<EOS>"])
    grid = grid_of(layers, heads, length + 1, length + 2)
    title = ["runs/001: cross-attention", " ".join(sequence), "the answer is right; anti-diagonal mass 0.94, hit 1.00"]
    guide = list(range(length, 0, -1))
    caption = f"layer {layers} of {layers}, mean of {heads} heads"
    return attention_figure(
        grid.mean(axis=(0, 1)), grid, rows, columns, title, caption, guide, range(1, layers + 1), "step 1  loss 2.5"
    )


@pytest.mark.parametrize("length", [1, 4, 20, 35, 36, 200])
@pytest.mark.parametrize(("layers", "heads", "symbols"), [(2, 4, 10), (4, 8, 1_000)], ids=["small", "busy"])
def test_no_two_texts_touch(length: int, layers: int, heads: int, symbols: int) -> None:
    texts = assert_apart(case(length, layers, heads, symbols))
    assert ("<BOS>" in texts) is (length < 34)  # where there is no room for tokens, positions are numbered


def test_many_heads_and_one_long_row_still_fit() -> None:
    assert_apart(case(4, 1, 32))
    one_row = Labels("target step", "token emitted", ["<EOS>"], 1)
    columns = Labels("source position", "token read", ["<BOS>", *"4829" * 30, "<EOS>"])
    assert_apart(
        attention_figure(grid_of(1, 1, 1, 122)[0, 0], grid_of(1, 2, 1, 122), one_row, columns, ["t"], "c", (), (1,))
    )


def test_a_long_sequence_is_numbered_from_its_first_position() -> None:
    axes = case(200, 1, 2).axes[0]
    assert axes.get_xlabel() == "source position"
    for rows, first in ((True, 1), (False, 0)):
        places = tick_places(axes, rows)
        assert len(places) == 10
        assert all(place == int(name) - first for name, place in places.items())


def test_a_thin_line_is_not_lost_where_cells_are_as_small_as_pixels() -> None:
    line = np.eye(201, 202)[:, ::-1]
    labels = (Labels("", "", ["1"] * 201), Labels("", "", ["1"] * 202))
    figure = attention_figure(line, np.tile(line, (1, 8, 1, 1)), *labels, [], "", layers=(1,))
    picture = pixels(figure)
    for image in small_maps(figure):
        seen = [colour_at(picture, image, place, 201 - place)[1] for place in range(5, 195)]
        assert np.mean(seen) > colormaps[PALETTE](0.3)[1]
        assert colour_at(picture, image, 50, 50)[1] < 0.05


def test_a_strip_has_every_map_with_its_words_below() -> None:
    maps = list(grid_of(1, 10)[0])
    figure = frames_figure(maps, [f"step {number}\nloss 2.5\nmass 0.12  hit 0.10" for number in range(10)], ["the title"])
    picture = pixels(figure)
    images = small_maps(figure)
    for image, weights in zip(images, maps, strict=True):
        check_colours(picture, image, weights)
    words = {text.get_text().split("\n")[0]: text.get_position() for text in figure.texts}
    for number, image in enumerate(images):
        place, (x, y) = place_of(image), words[f"step {number}"]
        assert place.x0 < x < place.x1
        assert 0 < place.y0 - y < 0.1
    assert len(assert_apart(figure)) == 11


@pytest.mark.parametrize(("maps", "rows"), [(8, [8]), (9, [5, 4]), (22, [8, 8, 6])])
def test_a_strip_has_at_most_eight_maps_in_a_row_and_rows_of_like_length(maps: int, rows: list[int]) -> None:
    images = small_maps(frames_figure([np.eye(3)] * maps, ["step"] * maps, ["the title"]))
    heights = [round(place_of(image).y0, 6) for image in images]
    assert [heights.count(height) for height in sorted(set(heights), reverse=True)] == rows
