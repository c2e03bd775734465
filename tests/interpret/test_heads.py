"""What the heads do: on maps made by hand, and over many sequences."""

import numpy as np
import pytest
import torch

from seqrev.errors import UsageError
from seqrev.inference.evaluation import evaluate
from seqrev.interpret import agreement, heads
from seqrev.interpret.alignment import alignment_over
from seqrev.interpret.attention_kinds import Kind
from seqrev.interpret.heads import report_heads
from seqrev.model.transformer import Transformer
from seqrev.task import add_special_tokens, apply_rule
from tests.interpret.models import random_model

KINDS: tuple[Kind, ...] = ("cross", "encoder", "decoder")
SOURCES = [[4, 8, 2, 9], [1], [3, 3, 5, 6], [7, 0], [1, 2, 3, 4, 5, 6]]


def test_the_measures_of_a_map_made_by_hand() -> None:
    weights = np.array([[[[0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.0, 0.0, 0.5]]]], dtype=np.float32)
    measured = heads._measure(weights, np.array([[1, 2, 3]]))
    # the largest weights are in columns 1, 0, 0 (the first of equals)
    np.testing.assert_allclose(measured, [[1.75, 1, np.log(4) + np.log(2), -5, 5]], rtol=1e-6)


def test_offsets_have_a_sign_and_distances_do_not() -> None:
    weights = np.eye(5, dtype=np.float32)[[2, 0]][None, None]
    np.testing.assert_allclose(heads._measure(weights, np.array([[1, 1]])), [[0, 0, 0, 0, 2]], atol=1e-6)


@pytest.mark.parametrize("encoder_layers", [0, 3])
def test_the_report_has_every_head_once(encoder_layers: int) -> None:
    result = report_heads(random_model(encoder_layers=encoder_layers), SOURCES)
    expected = [("cross", 2), ("encoder", encoder_layers), ("decoder", 2)]
    assert [(one.type, one.layer, one.head) for one in result.heads] == [
        (kind, layer, head) for kind, layers in expected for layer in range(1, layers + 1) for head in (1, 2)
    ]
    assert (result.sequences, result.answered) == (5, 5)


def test_mass_and_hit_are_those_of_the_anti_diagonal() -> None:
    model = random_model()
    result = report_heads(model, SOURCES)
    for one in result.heads:
        if one.type == "cross":
            score = alignment_over(model, SOURCES, one.layer)[one.head]
            assert one.mass == pytest.approx(score.mass, abs=1e-6)
            assert one.hit == pytest.approx(score.hit, abs=1e-6)
        else:
            assert one.mass is one.hit is None


def test_entropy_and_offset_are_means_over_the_rows_of_content() -> None:
    model = random_model()
    expected: dict[tuple[Kind, int, int], list[tuple[float, float]]] = {}
    for sequence in SOURCES:
        source = torch.from_numpy(add_special_tokens(np.array([sequence])))
        target = torch.from_numpy(add_special_tokens(apply_rule(np.array([sequence]), "reverse")))
        maps = model.attention_maps(source, target[:, :-1])
        for kind in KINDS:
            for layer, weights in enumerate(getattr(maps, kind), start=1):
                for head, rows in enumerate(weights[0], start=1):
                    for step in range(len(sequence)):
                        row = rows[step + (kind == "encoder")]
                        right = {"cross": len(sequence) - step, "encoder": step + 1, "decoder": step}[kind]
                        entropy = float(-(row * row.clamp(min=1e-30).log()).sum())
                        expected.setdefault((kind, layer, head), []).append((entropy, int(row.argmax()) - right))
    for one in report_heads(model, SOURCES).heads:
        rows = np.array(expected[one.type, one.layer, one.head])
        assert one.entropy == pytest.approx(rows[:, 0].mean(), abs=1e-5)
        assert one.offset == pytest.approx(rows[:, 1].mean())
        assert one.distance == pytest.approx(np.abs(rows[:, 1]).mean())


def test_what_breaks_is_counted_on_the_first_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "ANSWERED", 3)
    counted: list[int] = []

    def count(model: Transformer, sources: list[list[int]]) -> object:
        counted.append(len(sources))
        return evaluate(model, sources)

    monkeypatch.setattr(heads, "evaluate", count)
    result = report_heads(random_model(), SOURCES)
    assert (result.sequences, result.answered) == (5, 3)
    assert counted == [3] * (len(result.heads) + 1)


def test_a_report_needs_a_sequence() -> None:
    with pytest.raises(UsageError, match="no sequence"):
        report_heads(random_model(), [])


def test_the_pictures_are_scored_on_as_many_sequences_as_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model()
    whole = report_heads(model, SOURCES).agreement
    assert whole is not None
    assert whole.sequences == 5
    assert report_heads(model, SOURCES).to_dict()["agreement"] == whole.to_dict()
    monkeypatch.setattr(agreement, "CHANGED_TOKENS", 4 * 9 * 6 + 1 * 9 * 3)
    some = report_heads(model, SOURCES).agreement
    assert some is not None
    assert some.sequences == 2
    monkeypatch.setattr(agreement, "CHANGED_TOKENS", 10)
    assert report_heads(model, SOURCES).agreement is None
