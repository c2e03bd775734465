"""Experiments as figures: labels, axes and scales, on cases that are neither square nor symmetric."""

from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seqrev.inference.search import Hypothesis
from seqrev.interpret.influence import Influence
from seqrev.interpret.patching import Map, Patching, PathPatching
from seqrev.interpret.residual import ResidualReading
from seqrev.plotting.causes import draw_influence, draw_patching, draw_path, draw_residual
from seqrev.plotting.style import THEMES, ThemeName
from tests.helpers import assert_apart
from tests.interpret.models import FIRST_HEAD, SECOND_HEAD, attention_of


def patched(kind: str, rows: int) -> Map:
    """Of three symbols of the source, or four tokens of the answer."""
    positions = 5 if "encoder" in kind else 4
    recovery = np.linspace(0, 0.95, rows * positions, dtype=np.float32).reshape(rows, positions)
    names = [f"{kind}.{row}" if "residual" in kind else f"{kind}.1.{row + 1}" for row in range(rows)]
    return Map(names, recovery.max(axis=1), recovery, np.zeros((rows, positions, 4), np.float32))


SEEN = attention_of([4, 8, 2], Hypothesis([2, 8, 4], True, -0.1), np.array([FIRST_HEAD, SECOND_HEAD]))
INFLUENCE = Influence(SEEN, np.array([[0, 0, 0.9], [0, 0.5, 0], [1, 0, 0], [0, 0, 0]]))
ROWS = {"residual.encoder": 3, "residual.decoder": 3, "encoder": 2, "decoder": 2, "cross": 2}
PATCHING = Patching(
    *([4, 8, 2], [4, 5, 2], ["2", "8", "4", "<EOS>"], ["2", "5", "4", "<EOS>"]),
    {kind: patched(kind, rows) for kind, rows in ROWS.items()},
)
PATH = PathPatching(
    *("cross.1.1", ["all of them", "cross.2.1"], ["2", "<EOS>"], ["2", "5"]),
    *(np.array([[0.5, 0, -0.2], [0.4, 0, 0]], np.float32), np.zeros((2, 3, 2), np.float32)),
)
PARTS = ["residual.decoder.0", "cross.1.1", "bias.cross.1", "bias"]
RESIDUAL = ResidualReading(SEEN, [5, 11, 7, 2], np.full((2, 4, 13), 1 / 13), PARTS, np.ones((4, 4, 13)))


def panels(figure: Figure) -> dict[str, Axes]:
    """The maps of a figure by their titles."""
    return {axes.get_title(): axes for axes in figure.axes if axes.images}


def values(axes: Axes) -> NDArray[Any]:
    (image,) = axes.images
    array = image.get_array()
    assert array is not None
    return np.ma.filled(array, np.nan)


def ticks(axes: Axes) -> tuple[list[str], list[str]]:
    return [text.get_text() for text in axes.get_yticklabels()], [text.get_text() for text in axes.get_xticklabels()]


def test_influence_is_beside_the_attention_on_one_scale() -> None:
    figure = draw_influence(INFLUENCE, "runs/001", head=1)
    left, right = panels(figure).values()
    assert left.get_title() == "attention, layer 1, head 1"
    np.testing.assert_allclose(values(left), np.array(FIRST_HEAD)[:, 1:-1])
    np.testing.assert_allclose(values(right), INFLUENCE.effect)
    assert {image.get_clim() for axes in (left, right) for image in axes.images} == {(0, 1)}
    assert ticks(left) == (["2", "8", "4", "<EOS>"], ["4", "8", "2"])
    rows, columns = ticks(right)
    assert columns == ["4", "8", "2"]
    assert rows[-1] == "-"  # <EOS> depends on no symbol
    assert rows[2] == f"{np.corrcoef([0.6, 0.1, 0.1], [1, 0, 0])[0, 1]:.2f}"
    assert any(text.startswith("runs/001") for text in assert_apart(figure))


@pytest.mark.parametrize("theme", THEMES)
def test_patching_has_every_map_with_its_labels(theme: ThemeName) -> None:
    figure, maps = draw_patching(PATCHING, "runs/001", theme=theme), PATCHING.maps
    drawn = panels(figure)
    encoder, decoder = (
        [f"residual stream, {part}", f"{part} self-attention", *crossing]
        for part, crossing in (("encoder", []), ("decoder", ["cross-attention"]))
    )
    beside = [title for pair in zip_longest(encoder, decoder) for title in pair if title]
    assert list(drawn) == (encoder + decoder if theme == "slide" else beside)
    assert ticks(drawn["residual stream, encoder"]) == (["0", "1", "2"], ["all", "<BOS>", "4", "8/5", "2", "<EOS>"])
    assert ticks(drawn["cross-attention"]) == (["1.1", "1.2"], ["all", "2", "8/5", "4", "<EOS>"])
    for kind, title in (("cross", "cross-attention"), ("residual.encoder", "residual stream, encoder")):
        shown = values(drawn[title])
        np.testing.assert_allclose(shown[:, 0], maps[kind].whole)
        assert np.isnan(shown[:, 1]).all()
        np.testing.assert_allclose(shown[:, 2:], maps[kind].recovery)
        assert drawn[title].images[0].get_clim() == (-1, 1)
    assert_apart(figure)


@pytest.mark.parametrize("layers", [1, 12])
def test_of_sources_of_two_lengths_there_is_the_decoder(layers: int) -> None:
    heads = [f"cross.{layer}.{head}" for layer in range(1, layers + 1) for head in range(1, 5)]
    stream = [f"residual.decoder.{layer}" for layer in range(layers + 1)]
    maps = {
        kind: Map(names, *(np.zeros((len(names), *shape), np.float32) for shape in ((), (4,), (4, 4))))
        for kind, names in (("cross", heads), ("decoder", heads), ("residual.decoder", stream))
    }
    found = Patching([4, 8, 2], [4, 5, 2, 1], ["2", "8", "4", "<EOS>"], ["1", "2", "5", "4"], maps)
    figure = draw_patching(found, "runs/001")
    assert list(panels(figure)) == ["residual stream, decoder", "decoder self-attention", "cross-attention"]
    assert ticks(panels(figure)["cross-attention"])[1] == ["all", "2/1", "8/2", "4/5", "<EOS>/4"]
    assert_apart(figure)


def test_a_path_is_a_table_of_heads_and_inputs() -> None:
    figure = draw_path(PATH, "runs/001")
    ((_, axes),) = panels(figure).items()
    assert ticks(axes) == (["all of them", "cross.2.1"], ["query", "key", "value"])
    np.testing.assert_allclose(values(axes), PATH.recovery)
    assert "runs/001: what cross.1.1 sends" in "\n".join(assert_apart(figure))


def test_the_residual_stream_by_layer_and_by_part() -> None:
    lens = np.full((2, 4, 13), 0.02)
    for row, tokens in enumerate(([5, 5, 5, 2], [5, 11, 7, 2])):
        for step, token in enumerate(tokens):
            lens[row, step, token] = 0.76
    attribution = np.zeros((4, 4, 13))
    attribution[1, 2, 7] = 13.0  # the head, at the third step, to the token that is emitted there
    attribution[2, 0, :] = 5.0  # alike to all: counts for nothing
    figure = draw_residual(replace(RESIDUAL, lens=lens, attribution=attribution), "runs/001")
    upper, lower = panels(figure).values()
    np.testing.assert_allclose(values(upper), 0.76)
    assert [text.get_text() for text in upper.texts] == ["2", "2", "2", "EOS", "2", "8", "4", "EOS"]
    assert ticks(upper) == (["0", "1"], ["2", "8", "4", "<EOS>"])
    assert ticks(lower) == (["residual.decoder.0", "cross.1.1", "bias", "biases of the heads"], ["2", "8", "4", "<EOS>"])
    expected = np.zeros((4, 4))
    expected[1, 2] = 12
    np.testing.assert_allclose(values(lower), expected, atol=1e-12)
    assert lower.images[0].get_clim() == (-12, 12)
    assert_apart(figure)
