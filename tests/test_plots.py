import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from seqrev import plots
from seqrev.errors import InputError, UsageError

HISTORY: list[dict[str, Any]] = [
    {"event": "train", "step": 1, "loss": 2.5},
    {"event": "train", "step": 10, "loss": 1.5},
    {"event": "validation", "step": 10, "loss": 1.25, "exact_match": 0.25},
    {"event": "train", "step": 20, "loss": 0.5},
    {"event": "validation", "step": 20, "loss": 0.25, "exact_match": 0.75},
]


def weights(heads: int, rows: int = 3, columns: int = 4) -> NDArray[np.float64]:
    return np.random.default_rng(0).dirichlet(np.ones(columns), size=(heads, rows))


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("a.PNG", "png"), ("a.b.svg", "svg"), ("x/a.pdf", "pdf")])
def test_the_suffix_is_the_format(name: str, kind: str) -> None:
    assert plots.check_format(Path(name)) == kind


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.png.txt", ".png", "png", "a."])
def test_another_suffix_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"must end in \.png, \.svg, \.pdf"):
        plots.check_format(Path(name))


def test_the_loss_curve_shows_the_history() -> None:
    above, below = plots.loss_curve(HISTORY, "the title").axes
    raw, train, validation = above.get_lines()
    assert np.array_equal(np.array(raw.get_xydata()), [[1, 2.5], [10, 1.5], [20, 0.5]])
    np.testing.assert_allclose(np.array(train.get_xydata()), [[1, 2.5], [10, 1.5], [20, 0.5]])  # too few to smooth
    assert np.array_equal(np.array(validation.get_xydata()), [[10, 1.25], [20, 0.25]])
    assert [train.get_label(), validation.get_label()] == ["training (bold: smoothed)", "validation"]
    assert above.get_yscale() == "log"
    (exact,) = below.get_lines()
    assert np.array_equal(np.array(exact.get_xydata()), [[10, 0.25], [20, 0.75]])
    assert below.get_ylim()[0] <= 0 < 1 <= below.get_ylim()[1]
    assert "step" in below.get_xlabel()
    assert above.get_ylabel()


def test_the_training_loss_is_smoothed_by_a_geometric_mean_around_each_step() -> None:
    losses = [4.0, 1.0] * 60  # 120 of them: three to either side
    history = [{"event": "train", "step": step, "loss": loss} for step, loss in enumerate(losses)]
    raw, smoothed, _ = plots.loss_curve(history, "").axes[0].get_lines()
    assert np.asarray(raw.get_ydata()).tolist() == losses
    ys = np.asarray(smoothed.get_ydata())
    assert ys[3:5].tolist() == pytest.approx([4 ** (4 / 7), 4 ** (3 / 7)])  # 4 of 7 are fours, then 3
    assert ys[0] == pytest.approx(4 ** (2 / 4))
    assert ys[-1] == pytest.approx(4 ** (2 / 4))
    assert len(ys) == 120


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 8])
def test_the_maps_are_the_mean_and_every_head(heads: int) -> None:
    maps = weights(heads)
    figure = plots.attention_maps(maps, ["2", "1", "<EOS>"], ["<BOS>", "1", "2", "<EOS>"], "the title")
    images = [image for axes in figure.axes for image in axes.get_images()]
    shown = [np.array(image.get_array()) for image in images]
    expected = [maps[0]] if heads == 1 else [maps.mean(axis=0), *maps]
    assert len(shown) == len(expected)
    for one, other in zip(shown, expected, strict=True):
        assert np.array_equal(one, other)
    assert {image.get_clim() for image in images} == {(0.0, 1.0)}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["2", "1", "<EOS>"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["<BOS>", "1", "2", "<EOS>"]


@pytest.mark.parametrize("head", [1, 2, 3])
def test_one_head_can_be_drawn_alone(head: int) -> None:
    maps = weights(3)
    figure = plots.attention_maps(maps, ["2", "1", "<EOS>"], ["<BOS>", "1", "2", "<EOS>"], "the title", head)
    (image,) = [image for axes in figure.axes for image in axes.get_images()]
    assert np.array_equal(np.array(image.get_array()), maps[head - 1])
    assert f"head {head} of 3" in figure.axes[0].get_title()


def test_a_long_sequence_is_numbered_instead_of_named() -> None:
    labels = [f"label{number}" for number in range(40)]
    figure = plots.attention_maps(weights(2, 40, 40), labels, labels, "the title")
    assert not any("label" in tick.get_text() for tick in figure.axes[0].get_xticklabels())
    width, height = figure.get_size_inches()
    assert max(width, height) < 40


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n\x1a\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_a_figure_is_saved_in_its_format_and_nothing_beside_it(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    plots.save_figure(plots.loss_curve(HISTORY, "the title"), path)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]
    if suffix == "png":
        pixels = matplotlib.image.imread(io.BytesIO(path.read_bytes()))
        assert min(pixels.shape[:2]) > 400
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10


@pytest.mark.parametrize("place", ["none/a.png", "file/a.png", "folder.png"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        plots.save_figure(plots.loss_curve(HISTORY, "the title"), tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_arrays_are_saved_and_need_no_pickle(tmp_path: Path) -> None:
    arrays = {"cross": weights(2), "source_tokens": np.array(["<BOS>", "4", "<EOS>"])}
    plots.save_arrays(arrays, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        assert set(loaded) == set(arrays)
        for name, value in arrays.items():
            assert np.array_equal(loaded[name], value)


def test_arrays_with_another_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.npz"):
        plots.save_arrays({}, tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


# --- accuracy by length -----------------------------------------------------------------------------------------------


def curve(label: str, *exact: float) -> plots.Curve:
    intervals = [(max(0.0, share - 0.1), min(1.0, share + 0.05)) for share in exact]
    return plots.Curve(label, [10 * 2**place for place in range(len(exact))], exact, intervals)


CURVES = [curve("runs/001", 1.0, 0.5, 0.25), curve("runs/002", 1.0, 0.75, 0.5), curve("runs/003", 0.0, 0.0)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_model_is_a_line_with_its_name_over_a_logarithmic_axis(count: int) -> None:
    (axes,) = plots.accuracy_by_length(CURVES[:count], (3, 12), "the title").axes
    lines = axes.get_lines()
    assert len(lines) == count
    for line, shown in zip(lines, CURVES, strict=False):
        assert np.array(line.get_xydata()).tolist() == [[*p] for p in zip(shown.lengths, shown.exact_match, strict=True)]
        assert line.get_label() == shown.label
    assert axes.get_xscale() == "log"
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] <= 0 < 1 <= axes.get_ylim()[1]
    assert axes.get_title() == "the title"
    assert "length" in axes.get_xlabel()
    assert "exact match" in axes.get_ylabel()
    legend = axes.get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["training lengths 3 to 12", *(shown.label for shown in CURVES[:count])]


def test_the_lengths_of_training_are_shaded() -> None:
    (axes,) = plots.accuracy_by_length(CURVES, (3, 12), "").axes
    (span,) = axes.patches
    assert span.get_label() == "training lengths 3 to 12"
    horizontal = span.get_extents().transformed(axes.transData.inverted())
    assert (horizontal.x0, horizontal.x1) == pytest.approx((3, 12))


def test_every_line_lies_in_a_band_of_its_colour_and_interval() -> None:
    (axes,) = plots.accuracy_by_length(CURVES, (3, 12), "").axes
    assert len(axes.collections) == 3
    for band, line, shown in zip(axes.collections, axes.get_lines(), CURVES, strict=True):
        corners = {(float(x), round(float(y), 9)) for path in band.get_paths() for x, y in np.asarray(path.vertices)}
        for length, interval in zip(shown.lengths, shown.intervals, strict=True):
            assert {(length, round(end, 9)) for end in interval} <= corners
        assert to_rgb(np.asarray(band.get_facecolor())[0]) == to_rgb(line.get_color())


def test_many_lines_can_be_told_apart() -> None:
    curves = [curve(str(number), 0.5) for number in range(30)]
    (axes,) = plots.accuracy_by_length(curves, (1, 10), "").axes
    assert len({(line.get_color(), line.get_marker()) for line in axes.get_lines()}) == 30


def test_accuracy_by_length_can_be_saved(tmp_path: Path) -> None:
    plots.save_figure(plots.accuracy_by_length(CURVES, (1, 10), "the title"), tmp_path / "a.png")
    assert min(matplotlib.image.imread(tmp_path / "a.png").shape[:2]) > 300
