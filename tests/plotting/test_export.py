import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from seqrev.errors import InputError, UsageError
from seqrev.plotting import export


def figure() -> Figure:
    figure = Figure(figsize=(5, 4))
    figure.add_subplot().plot([0, 1], [1, 0])
    return figure


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("a.PNG", "png"), ("a.b.svg", "svg"), ("x/a.pdf", "pdf")])
def test_the_suffix_is_the_format(name: str, kind: str) -> None:
    assert export.check_format(Path(name)) == kind


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.png.txt", ".png", "png", "a."])
def test_another_suffix_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"must end in \.png, \.svg, \.pdf"):
        export.check_format(Path(name))


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n\x1a\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_a_figure_is_saved_in_its_format_and_nothing_beside_it(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    export.save_figure(figure(), path)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]
    if suffix == "png":
        pixels = matplotlib.image.imread(io.BytesIO(path.read_bytes()))
        assert min(pixels.shape[:2]) > 400
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10


@pytest.mark.parametrize("name", ["none/a.png", "file/a.png", "folder.png"])
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        export.save_figure(figure(), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_arrays_are_saved_and_need_no_pickle(tmp_path: Path) -> None:
    arrays = {"cross": np.arange(24.0).reshape(2, 3, 4), "source_tokens": np.array(["<BOS>", "4", "<EOS>"])}
    export.save_arrays(arrays, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        assert set(loaded) == set(arrays)
        for name, value in arrays.items():
            assert np.array_equal(loaded[name], value)


def test_arrays_with_another_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.npz"):
        export.save_arrays({}, tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def solid(grey: float) -> Figure:
    figure = Figure(figsize=(1, 0.5), facecolor=str(grey))
    figure.add_axes((0, 0, 1, 1)).set_axis_off()
    return figure


def test_an_animation_has_every_figure_and_pauses_at_the_end(tmp_path: Path) -> None:
    greys = (0.0, 0.4, 1.0)
    export.save_animation(map(solid, greys), tmp_path / "a.gif", seconds=0.5, pause=2.0)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.info["loop"] == 0  # for ever
        frames = [(page.info["duration"], np.asarray(page.convert("L"))) for page in ImageSequence.Iterator(animation)]
    assert [duration for duration, _ in frames] == [500, 500, 2000]
    assert [pixels.shape for _, pixels in frames] == [(50, 100)] * 3
    for grey, (_, pixels) in zip(greys, frames, strict=True):
        assert np.abs(pixels.astype(float) / 255 - grey).max() < 0.02


def test_a_page_is_saved_as_it_is(tmp_path: Path) -> None:
    export.save_page("<p>ü</p>", tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "<p>ü</p>"
    with pytest.raises(UsageError, match=r"must end in \.html"):
        export.save_page("", tmp_path / "a.htm")


def test_an_animation_is_a_gif(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.gif"):
        export.save_animation([solid(0)], tmp_path / "a.png")
