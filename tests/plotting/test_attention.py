"""Which map, which labels, which words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from seqrev.config import ModelConfig
from seqrev.errors import UsageError
from seqrev.inference.search import Hypothesis
from seqrev.interpret.attention import Attention
from seqrev.interpret.attention_kinds import Kind
from seqrev.interpret.snapshots import AttentionSnapshot, load_snapshots
from seqrev.model.transformer import AttentionMaps
from seqrev.plotting.attention import draw_attention, draw_page, draw_snapshot, draw_strip, visibly_different
from seqrev.runs.finding import pretrained_run

SOURCE, OUTPUT = [4, 8, 2, 9], [9, 2, 8]  # an answer that ended too early: three steps and <EOS>, of six positions


def known(layers: int, heads: int, rows: int, columns: int) -> NDArray[np.float32]:
    weights = np.random.default_rng(rows * columns).dirichlet(np.ones(columns), size=(layers, heads, rows))
    return weights.astype(np.float32)


MAPS: dict[Kind, NDArray[np.float32]] = {
    "encoder": known(3, 2, 6, 6),
    "decoder": known(2, 2, 4, 4),
    "cross": known(2, 2, 4, 6),
}


def attention(source: list[int], output: list[int], maps: dict[Kind, NDArray[np.float32]]) -> Attention:
    layers = [tuple(torch.from_numpy(layer)[None] for layer in maps[kind]) for kind in ("encoder", "decoder", "cross")]
    config = ModelConfig(d_model=8, heads=2, encoder_layers=3, decoder_layers=2)
    return Attention(config, "reverse", source, Hypothesis(output, True, -1.0), AttentionMaps(*layers))


ATTENTION = attention(SOURCE, OUTPUT, MAPS)
SNAPSHOT = AttentionSnapshot(128, 0.5, SOURCE, SOURCE[::-1], known(2, 2, 5, 6), "reverse")


def shown(figure: Figure) -> list[NDArray[np.float64]]:
    """The maps of a figure: the large one, then the grid; without the colour bar."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def texts(figure: Figure) -> str:
    """Everything that is written in a figure, apart from the labels of the large map."""
    drawn = [*figure.texts, *(text for axes in figure.axes for text in (axes.title, axes.xaxis.label))]
    drawn += [label for axes in figure.axes[1:] for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return "\n".join(text.get_text() for text in drawn)


@pytest.mark.parametrize("kind", MAPS)
def test_the_last_layer_is_large_and_every_head_of_every_layer_is_below(kind: Kind) -> None:
    figure = draw_attention(ATTENTION, "runs/001", kind)
    large, *small = shown(figure)
    np.testing.assert_allclose(large, MAPS[kind][-1].mean(axis=0))
    np.testing.assert_allclose(small, MAPS[kind].reshape(-1, *large.shape))
    layers = len(MAPS[kind])
    assert f"layer {layers} of {layers}, mean of 2 heads" in texts(figure)
    assert [f"layer {number + 1}" in texts(figure).splitlines() for number in range(4)] == [n < layers for n in range(4)]


@pytest.mark.parametrize("layer", [1, 2])
def test_a_layer_can_be_drawn_alone(layer: int) -> None:
    figure = draw_attention(ATTENTION, "runs/001", "cross", layer)
    large, *small = shown(figure)
    np.testing.assert_allclose(large, MAPS["cross"][layer - 1].mean(axis=0))
    np.testing.assert_allclose(small, MAPS["cross"][layer - 1])
    assert f"layer {layer}" in texts(figure).splitlines()
    assert f"layer {3 - layer}" not in texts(figure).splitlines()


@pytest.mark.parametrize(("layer", "head"), [(None, 1), (1, 2)])
def test_a_head_can_be_drawn_alone(layer: int | None, head: int) -> None:
    figure = draw_attention(ATTENTION, "runs/001", "cross", layer, head)
    (large,) = shown(figure)
    np.testing.assert_allclose(large, MAPS["cross"][(layer or 2) - 1, head - 1])
    score = ATTENTION.anti_diagonal(layer or 2)[head]
    assert f"layer {layer or 2} of 2, head {head} of 2" in texts(figure)
    assert f"anti-diagonal mass {score.mass:.2f}, hit {score.hit:.2f}" in texts(figure)


def test_the_title_says_what_was_asked_and_answered() -> None:
    words = texts(draw_attention(ATTENTION, "runs/001")).splitlines()
    assert words[:2] == ["runs/001: cross-attention", "4 8 2 9 → 9 2 8"]
    assert words[2].startswith("the answer is wrong; anti-diagonal mass")
    assert "anti-diagonal" not in texts(draw_attention(ATTENTION, "runs/001", "decoder"))


@pytest.mark.parametrize(
    ("kind", "rows", "columns", "row_title", "column_title"),
    [
        ("cross", "9 2 8 <EOS>", "<BOS> 4 8 2 9 <EOS>", "target step\n(token emitted)", "source position (token read)"),
        ("decoder", "9 2 8 <EOS>", "<BOS> 9 2 8", "target step\n(token emitted)", "target step (token read)"),
        (
            "encoder",
            "<BOS> 4 8 2 9 <EOS>",
            "<BOS> 4 8 2 9 <EOS>",
            "source position\n(query token)",
            "source position (key token)",
        ),
    ],
)
def test_every_kind_has_its_labels(kind: Kind, rows: str, columns: str, row_title: str, column_title: str) -> None:
    axes = draw_attention(ATTENTION, "runs/001", kind).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == rows.split()
    assert [label.get_text() for label in axes.get_xticklabels()] == columns.split()
    assert (axes.get_ylabel(), axes.get_xlabel()) == (row_title, column_title)


def test_the_guide_is_drawn_for_cross_attention_and_can_be_left_out() -> None:
    def frames(kind: Kind, guide: bool) -> int:
        return len(draw_attention(ATTENTION, "runs/001", kind, guide=guide).axes[0].patches)

    assert [frames(kind, guide=True) for kind in MAPS] == [0, 0, 1]
    assert frames("cross", guide=False) == 0
    (frame,) = draw_attention(ATTENTION, "runs/001").axes[0].patches
    assert isinstance(frame, Polygon)
    assert np.unique(frame.get_xy()[:6, 0] + 0.5).tolist() == [2, 3, 4]  # the columns of 8, 2 and 9


def test_a_long_sequence_is_shortened_on_both_sides_of_the_arrow() -> None:
    long = attention([4] * 100, [4] * 100, {**MAPS, "cross": known(2, 2, 101, 102)})
    line = texts(draw_attention(long, "runs/001")).splitlines()[1]
    source, output = line.split(" → ")
    assert source == output
    assert source.startswith("4 4 4")
    assert source.endswith("4 …")


def test_a_snapshot_has_its_map_and_its_numbers() -> None:
    figure = draw_snapshot(SNAPSHOT, "runs/001", 2, None, guide=True)
    (large,) = shown(figure)
    np.testing.assert_allclose(large, SNAPSHOT.cross[1].mean(axis=0))
    score = SNAPSHOT.score(2)
    assert f"step 128    loss 0.50    mass {score.mass:.2f}  hit {score.hit:.2f}" in texts(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["9", "2", "8", "4", "<EOS>"]
    assert len(figure.axes[0].patches) == 1


def test_a_strip_has_every_snapshot() -> None:
    snapshots = [SNAPSHOT, AttentionSnapshot(1_500, 0.25, SOURCE, SOURCE[::-1], known(2, 2, 5, 6)[::-1], "reverse")]
    figure = draw_strip(snapshots, "runs/001", 1, 2)
    np.testing.assert_allclose(shown(figure), [snapshot.cross[0, 1] for snapshot in snapshots])
    assert "step 1,500\nloss 0.25" in texts(figure)
    assert "layer 1 of 2, head 2 of 2" in texts(figure)


def test_a_page_without_a_model_has_what_was_recorded() -> None:
    html = draw_page(ATTENTION, "runs/001", [])
    assert "<h1>runs/001: reverse</h1>" in html
    assert '"recorded":{"emitted":["9","2","8","\\u003cEOS>"]' in html


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no layer 3"):
        draw_attention(ATTENTION, "runs/001", "cross", 3)
    with pytest.raises(UsageError, match="There is no head 3"):
        draw_page(ATTENTION, "runs/001", [], "cross", 2, 3)


def test_an_animation_has_the_first_the_last_and_what_differs_visibly() -> None:
    maps = [0.0, 0.01, 0.02, 0.2, 0.21, 0.6, 0.61]
    snapshots = [replace(SNAPSHOT, step=number, cross=np.full((1, 1, 5, 6), value)) for number, value in enumerate(maps)]
    assert [one.step for one in visibly_different(snapshots, 1, None)] == [0, 3, 5, 6]
    assert [one.step for one in visibly_different(snapshots[:1], 1, 1)] == [0]
    assert [one.step for one in visibly_different(snapshots[:2], 1, 1)] == [0, 1]


def test_the_animation_of_the_model_that_ships_does_not_stand_still() -> None:
    snapshots = load_snapshots(pretrained_run(Path("runs")).snapshots, "reverse")
    chosen = visibly_different(snapshots, 2, None)
    assert [one.step for one in chosen[:3]] == [1, 32, 48]
