"""Pictures of attention, as a Python user asks for them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqrev.api.reverser import Reverser, load
from seqrev.data.dataset import load_split
from seqrev.errors import InputError, UsageError
from seqrev.interpret.heads import report_heads
from seqrev.interpret.snapshots import load_snapshots
from seqrev.runs.folders import Run
from seqrev.workflows.attention import View, draw, draw_over_time, held_out_example, report

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-", "html": b"<!"}


@pytest.fixture
def model(own_run: Run) -> Reverser:
    return load(own_run, "cpu")


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_answer_to_a_sequence_is_drawn(model: Reverser, tmp_path: Path, suffix: str) -> None:
    attention, path = draw(model, [4, 2, 1], out=tmp_path / f"map.{suffix}", arrays=tmp_path / "maps.npz")
    assert attention.source == [4, 2, 1]
    assert attention.answer.output == model.reverse([4, 2, 1])
    assert path == tmp_path / f"map.{suffix}"
    assert path.read_bytes().startswith(MAGIC[suffix])
    with np.load(tmp_path / "maps.npz") as arrays:
        np.testing.assert_array_equal(arrays["cross"][-1], attention.weights())


def test_left_out_it_is_a_test_sequence_and_the_picture_is_numbered_in_the_run(model: Reverser) -> None:
    assert model.run is not None
    paths = []
    for _ in range(2):
        attention, path = draw(model)
        paths.append(path)
        assert attention.source == held_out_example(model)
    assert attention.source in load_split(model.run.data, "test", model.config)
    assert paths == [model.run.path / "attention" / name for name in ("001.png", "002.png")]


def test_a_view_is_another_picture(model: Reverser, tmp_path: Path) -> None:
    views = [View(), View("encoder"), View("decoder"), View(head=1), View(layer=1, head=2), View(guide=False)]
    paths = [draw(model, [4, 2, 1], view, out=tmp_path / f"{number}.png")[1] for number, view in enumerate(views)]
    assert len({path.read_bytes() for path in paths}) == len(views)


def test_a_beam_is_searched(model: Reverser, tmp_path: Path) -> None:
    attention, _ = draw(model, [4, 2, 1], beam=3, out=tmp_path / "map.png")
    assert attention.answer.output == model.decode([[4, 2, 1]], beam=3)[0].output


def test_a_model_that_comes_from_no_run_can_be_drawn_to_a_file(model: Reverser, tmp_path: Path) -> None:
    free = Reverser(model.config, model.model)
    _, path = draw(free, [4, 2, 1], out=tmp_path / "map.png")
    assert path.read_bytes().startswith(MAGIC["png"])
    for call in (lambda: draw(free, [4, 2, 1]), lambda: draw(free), lambda: report(free), lambda: held_out_example(free)):
        with pytest.raises(InputError, match="does not come from a run"):
            call()


def test_what_is_not_there_is_refused_before_anything_is_written(model: Reverser, tmp_path: Path) -> None:
    for view in (View(layer=2), View(head=3), View("encoder", layer=0)):
        with pytest.raises(UsageError, match="There is no"):
            draw(model, [4, 2, 1], view)
    for out, arrays in (("map.jpg", None), ("map.png", "maps.npy")):
        with pytest.raises(UsageError, match="must end in"):
            draw(model, [4, 2, 1], out=tmp_path / out, arrays=None if arrays is None else tmp_path / arrays)
    with pytest.raises(UsageError, match="not in the vocabulary"):
        draw(model, [4, 9])
    assert model.run is not None
    assert not (model.run.path / "attention").exists()
    assert not list(tmp_path.glob("map*"))


def test_how_it_was_learned_is_an_animation(own_run: Run) -> None:
    snapshots, scores, path = draw_over_time(own_run)
    assert [snapshot.step for snapshot in snapshots] == [
        snapshot.step for snapshot in load_snapshots(own_run.snapshots, "reverse")
    ]
    assert [score.mass for score in scores] == [snapshot.score(1).mass for snapshot in snapshots]
    assert path == own_run.path / "attention" / "001.gif"
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) > 1


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_how_it_was_learned_is_a_strip(own_run: Run, tmp_path: Path, suffix: str) -> None:
    snapshots, scores, path = draw_over_time(own_run, View(head=2), tmp_path / f"strip.{suffix}")
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert [score.head for score in scores] == [2] * len(snapshots)


def test_how_it_was_learned_is_refused_where_it_cannot_be_shown(own_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must end in"):
        draw_over_time(own_run, out=tmp_path / "strip.html")
    with pytest.raises(UsageError, match="There is no head 3"):
        draw_over_time(own_run, View(head=3))
    for path in own_run.snapshots.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no snapshots"):
        draw_over_time(own_run)
    assert not (own_run.path / "attention").exists()


def test_what_the_heads_do_is_reported_over_the_test_split(model: Reverser) -> None:
    assert model.run is not None
    found = report(model)
    assert found == report_heads(model.model, load_split(model.run.data, "test", model.config))
    assert found.sequences == found.answered == 30
    kinds = [(head.type, head.layer, head.head) for head in found.heads]
    assert sorted(kinds) == sorted((kind, 1, head) for kind in ("cross", "encoder", "decoder") for head in (1, 2))
