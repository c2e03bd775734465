"""How well attention is aligned with the rule: on maps made by hand, and on those of a model."""

import numpy as np
import pytest
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.inference import batching
from seqrev.inference.search import Hypothesis
from seqrev.interpret import attention
from seqrev.interpret.alignment import AntiDiagonal, aligned_positions, alignment_over, alignment_scores, mass_and_hit
from seqrev.interpret.attention import record_attention
from seqrev.model.transformer import AttentionMaps, Transformer
from tests.interpret.models import FIRST_HEAD, SECOND_HEAD, check_scores, random_model


def test_the_rule_looks_at_the_source_from_its_end() -> None:
    assert aligned_positions(np.array([4, 8, 2]), "reverse").tolist() == [3, 2, 1]  # position 0 is <BOS>
    assert aligned_positions(np.array([[4, 8], [1, 1]]), "reverse").tolist() == [[2, 1], [2, 1]]


def test_mass_and_hit_of_each_row_of_each_head() -> None:
    weights = np.array([[FIRST_HEAD[:3], SECOND_HEAD[:3]]], dtype=np.float32)
    mass, hit = mass_and_hit(weights, np.array([[3, 2, 1]]))
    np.testing.assert_allclose(mass, [[[0.7, 0.3, 0.6], [0.0, 1.0, 0.1]]], rtol=1e-6)
    assert hit.tolist() == [[[True, False, True], [False, True, False]]]


def test_no_row_has_no_score() -> None:
    weights = np.zeros((1, 2, 0, 5), dtype=np.float32)
    nothing = [AntiDiagonal(1, head, 0.0, 0.0) for head in (None, 1, 2)]
    assert alignment_scores(1, weights, np.zeros((1, 0), dtype=np.int64)) == nothing


def test_scores_are_over_all_rows_of_a_batch() -> None:
    weights = np.array([[FIRST_HEAD[:3]], [SECOND_HEAD[:3]]], dtype=np.float32)  # two sequences, one head
    scores = alignment_scores(2, weights, np.array([[3, 2, 1], [0, 1, 4]]))
    mass, hit = (0.7 + 0.3 + 0.6 + 0.9 + 0.0 + 0.3) / 6, (1 + 0 + 1 + 1 + 0 + 1) / 6
    check_scores(scores, [AntiDiagonal(2, None, mass, hit), AntiDiagonal(2, 1, mass, hit)])


def test_scores_as_plain_values() -> None:
    scores = [AntiDiagonal(2, None, 0.5, 1.0), AntiDiagonal(2, 1, 0.25, 0.0)]
    assert [score.to_dict() for score in scores] == [
        {"layer": 2, "head": None, "mass": 0.5, "hit": 1.0},
        {"layer": 2, "head": 1, "mass": 0.25, "hit": 0.0},
    ]


def answer_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every answer be right, whatever the model."""

    def right(_model: Transformer, sources: list[list[int]], _beam: int = 1) -> list[Hypothesis]:
        return [Hypothesis(list(reversed(source)), True, 0.0) for source in sources]

    monkeypatch.setattr(attention, "decode", right)


@pytest.mark.parametrize("layer", [1, 2, None])
def test_scores_over_many_sequences_are_the_mean_over_the_content_rows_of_each(
    monkeypatch: pytest.MonkeyPatch, layer: int | None
) -> None:
    answer_right(monkeypatch)
    model, sources = random_model(), [[4, 8, 2, 9], [1], [3, 3, 5, 6], [7, 0], [1, 2, 3, 4, 5, 6], [7]]
    singles = [record_attention(model, source).anti_diagonal(layer or 2) for source in sources]
    rows = [len(source) for source in sources]
    expected = [
        AntiDiagonal(
            layer or 2,
            head,
            mass=sum(single[index].mass * count for single, count in zip(singles, rows, strict=True)) / sum(rows),
            hit=sum(single[index].hit * count for single, count in zip(singles, rows, strict=True)) / sum(rows),
        )
        for index, head in enumerate([None, 1, 2])
    ]
    check_scores(alignment_over(model, sources, layer), expected)
    assert len({round(score.mass, 4) for score in expected}) == 3


def test_many_long_sequences_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More weights than are computed at once: the scores are those of all together, and twice the same scores like once."""
    model = random_model(d_model=4, heads=1, d_ff=4, encoder_layers=1, decoder_layers=1)
    sources = np.random.default_rng(0).integers(10, size=(51, 100)).tolist()
    rows: list[int] = []
    original = model.attention_maps

    def spy(source: Tensor, target: Tensor) -> AttentionMaps:
        rows.append(len(source))
        return original(source, target)

    monkeypatch.setattr(model, "attention_maps", spy)
    together = alignment_over(model, sources)
    assert rows == [51]
    rows.clear()
    monkeypatch.setattr(batching, "SCORES_AT_ONCE", 20 * 3 * 102**2)  # three maps of twenty sequences
    check_scores(alignment_over(model, sources), together)
    assert rows == [20, 20, 11]
    check_scores(alignment_over(model, sources * 2), together)


@pytest.mark.parametrize("layer", [0, 3, -1])
def test_a_layer_that_is_not_there_has_no_scores(layer: int) -> None:
    with pytest.raises(UsageError, match=f"no layer {layer} of cross-attention"):
        alignment_over(random_model(), [[1, 2]], layer)


def test_scores_need_a_sequence() -> None:
    with pytest.raises(UsageError, match="no sequence"):
        alignment_over(random_model(), [])
