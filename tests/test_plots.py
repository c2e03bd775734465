import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
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
    train, validation = above.get_lines()
    assert np.array_equal(np.array(train.get_xydata()), [[1, 2.5], [10, 1.5], [20, 0.5]])
    assert np.array_equal(np.array(validation.get_xydata()), [[10, 1.25], [20, 0.25]])
    assert [train.get_label(), validation.get_label()] == ["training", "validation"]
    assert above.get_yscale() == "log"
    (exact,) = below.get_lines()
    assert np.array_equal(np.array(exact.get_xydata()), [[10, 0.25], [20, 0.75]])
    assert below.get_ylim()[0] <= 0 < 1 <= below.get_ylim()[1]
    assert "step" in below.get_xlabel()
    assert above.get_ylabel()


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
