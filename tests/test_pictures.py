"""Which map, which labels, which words."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seqrev import pictures
from seqrev.decoding import Decoded
from seqrev.interpret import Attention, Kind
from seqrev.learning import Frame
from seqrev.model.transformer import AttentionMaps

SOURCE, OUTPUT = [4, 8, 2, 9], [9, 2, 8]  # an answer that ended too early: three steps and <EOS>, of six positions


def known(layers: int, heads: int, rows: int, columns: int) -> NDArray[np.float32]:
    weights = np.random.default_rng(rows * columns).dirichlet(np.ones(columns), size=(layers, heads, rows))
    return weights.astype(np.float32)


MAPS: dict[Kind, NDArray[np.float32]] = {
    "encoder": known(3, 2, 6, 6),
    "decoder": known(2, 2, 4, 4),
    "cross": known(2, 2, 4, 6),
}
ATTENTION = Attention(
    SOURCE,
    Decoded(OUTPUT, True, -1.0),
    AttentionMaps(
        *(tuple(torch.from_numpy(layer)[None] for layer in MAPS[kind]) for kind in ("encoder", "decoder", "cross"))
    ),
)
FRAME = Frame(128, 0.5, SOURCE, known(2, 2, 5, 6))


def shown(figure: Figure) -> list[NDArray[np.float64]]:
    """The maps of a figure: the large one, then the grid; without the colour bar."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def texts(figure: Figure) -> str:
    return "\n".join([*(text.get_text() for text in figure.texts), *(axes.get_title() for axes in figure.axes)])


@pytest.mark.parametrize("kind", MAPS)
def test_the_last_layer_is_large_and_every_head_of_every_layer_is_below(kind: Kind) -> None:
    figure = pictures.draw_attention(ATTENTION, "runs/001", kind)
    large, *small = shown(figure)
    np.testing.assert_allclose(large, MAPS[kind][-1].mean(axis=0))
    np.testing.assert_allclose(small, MAPS[kind].reshape(-1, *large.shape))
    layers = len(MAPS[kind])
    assert f"layer {layers} of {layers}, mean of 2 heads" in texts(figure)
    assert [f"layer {number + 1}" in texts(figure).splitlines() for number in range(4)] == [n < layers for n in range(4)]


@pytest.mark.parametrize("layer", [1, 2])
def test_a_layer_can_be_drawn_alone(layer: int) -> None:
    figure = pictures.draw_attention(ATTENTION, "runs/001", "cross", layer)
    large, *small = shown(figure)
    np.testing.assert_allclose(large, MAPS["cross"][layer - 1].mean(axis=0))
    np.testing.assert_allclose(small, MAPS["cross"][layer - 1])
    assert f"layer {layer}" in texts(figure).splitlines()
    assert f"layer {3 - layer}" not in texts(figure).splitlines()


@pytest.mark.parametrize(("layer", "head"), [(None, 1), (1, 2)])
def test_a_head_can_be_drawn_alone(layer: int | None, head: int) -> None:
    figure = pictures.draw_attention(ATTENTION, "runs/001", "cross", layer, head)
    (large,) = shown(figure)
    np.testing.assert_allclose(large, MAPS["cross"][(layer or 2) - 1, head - 1])
    score = ATTENTION.anti_diagonal(layer or 2)[head]
    assert f"layer {layer or 2} of 2, head {head} of 2" in texts(figure)
    assert f"anti-diagonal mass {score.mass:.2f}, hit {score.hit:.2f}" in texts(figure)


def test_the_title_says_what_was_asked_and_answered() -> None:
    words = texts(pictures.draw_attention(ATTENTION, "runs/001")).splitlines()
    assert words[:2] == ["runs/001: cross-attention", "4 8 2 9 → 9 2 8"]
    assert words[2].startswith("the answer is wrong; anti-diagonal mass")
    assert "anti-diagonal" not in texts(pictures.draw_attention(ATTENTION, "runs/001", "decoder"))


@pytest.mark.parametrize(
    ("kind", "rows", "columns", "row_title", "column_title"),
    [
        ("cross", "9 2 8 <EOS>", "<BOS> 4 8 2 9 <EOS>", "target step\n(token emitted)", "source position (token read)"),
        ("decoder", "9 2 8 <EOS>", "<BOS> 9 2 8", "target step\n(token emitted)", "target step (token read)"),
        (
            "encoder",
            "<BOS> 4 8 2 9 <EOS>",
            "<BOS> 4 8 2 9 <EOS>",
            "source position\n(token that looks)",
            "source position (token looked at)",
        ),
    ],
)
def test_every_kind_has_its_labels(kind: Kind, rows: str, columns: str, row_title: str, column_title: str) -> None:
    axes = pictures.draw_attention(ATTENTION, "runs/001", kind).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == rows.split()
    assert [label.get_text() for label in axes.get_xticklabels()] == columns.split()
    assert (axes.get_ylabel(), axes.get_xlabel()) == (row_title, column_title)


def test_the_guide_is_drawn_for_cross_attention_and_can_be_left_out() -> None:
    def lines(kind: Kind, guide: bool) -> int:
        return len(pictures.draw_attention(ATTENTION, "runs/001", kind, guide=guide).axes[0].get_lines())

    assert [lines(kind, guide=True) for kind in MAPS] == [0, 0, 2]
    assert lines("cross", guide=False) == 0
    left, _ = pictures.draw_attention(ATTENTION, "runs/001").axes[0].get_lines()
    assert np.unique(np.asarray(left.get_xdata(), dtype=np.float64) + 0.5).tolist() == [
        2,
        3,
        4,
    ]  # the columns of 8, 2 and 9


def test_a_frame_has_its_map_and_its_numbers() -> None:
    figure = pictures.draw_frame(FRAME, "runs/001", 2, None, guide=True)
    (large,) = shown(figure)
    np.testing.assert_allclose(large, FRAME.cross[1].mean(axis=0))
    score = FRAME.score(2)
    assert f"step 128    loss 0.50    mass {score.mass:.2f}  hit {score.hit:.2f}" in texts(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["9", "2", "8", "4", "<EOS>"]
    assert len(figure.axes[0].get_lines()) == 2


def test_a_strip_has_every_frame() -> None:
    frames = [FRAME, Frame(1_500, 0.25, SOURCE, known(2, 2, 5, 6)[::-1])]
    figure = pictures.draw_strip(frames, "runs/001", 1, 2)
    np.testing.assert_allclose(shown(figure), [frame.cross[0, 1] for frame in frames])
    assert "step 1,500\nloss 0.25" in texts(figure)
    assert "layer 1 of 2, head 2 of 2" in texts(figure)
