"""What is recorded of one sequence: on maps made by hand, and on those of a model."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.inference.search import Hypothesis, decode
from seqrev.interpret import attention as attention_module
from seqrev.interpret.alignment import AntiDiagonal
from seqrev.interpret.attention import Attention, record_attention
from seqrev.interpret.attention_kinds import Kind
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, EOS, FIRST_SYMBOL
from tests.interpret.models import BY_HEAD, FIRST_HEAD, MEAN, SECOND_HEAD, attention_of, check_scores, random_model


def test_the_anti_diagonal_of_a_map_made_by_hand() -> None:
    attention = attention_of([4, 8, 2], Hypothesis([2, 8, 4], True, -1.0), np.array([FIRST_HEAD, SECOND_HEAD]))
    check_scores(attention.anti_diagonal(1), [MEAN, *BY_HEAD])


def test_layers_are_counted_from_one() -> None:
    blind = np.full((2, 4, 5), 0.2)
    attention = attention_of([4, 8, 2], Hypothesis([2, 8, 4], True, -1.0), np.array([FIRST_HEAD, SECOND_HEAD]), blind)
    assert attention.anti_diagonal(1)[1].mass == pytest.approx(1.6 / 3)
    assert attention.anti_diagonal(2)[1].mass == pytest.approx(0.2)
    assert {score.layer for score in attention.anti_diagonal(2)} == {2}
    assert attention.weights("cross", 1).shape == (2, 4, 5)
    np.testing.assert_allclose(attention.weights("cross", 1), [FIRST_HEAD, SECOND_HEAD], atol=1e-6)
    np.testing.assert_allclose(attention.weights("cross", 2), blind, atol=1e-6)
    for layer in (0, 3, -1):
        with pytest.raises(UsageError, match=f"no layer {layer} of cross-attention; this model has layers 1 to 2"):
            attention.weights("cross", layer)
    for look in (attention.weights, attention.all_weights, attention.tokens):
        with pytest.raises(UsageError, match="'cros' is not a kind of attention; cross, encoder, decoder are"):
            look("cros")  # type: ignore[arg-type]


def test_a_perfect_map_scores_one_and_the_diagonal_does_not() -> None:
    anti, diagonal = np.zeros((1, 5, 6)), np.zeros((1, 5, 6))
    for row in range(4):
        anti[0, row, 4 - row] = 1
        diagonal[0, row, row + 1] = 1
    answer = Hypothesis([4, 3, 2, 1], True, 0.0)
    check_scores(
        attention_of([1, 2, 3, 4], answer, anti).anti_diagonal(1), [AntiDiagonal(1, None, 1, 1), AntiDiagonal(1, 1, 1, 1)]
    )
    check_scores(
        attention_of([1, 2, 3, 4], answer, diagonal).anti_diagonal(1),
        [AntiDiagonal(1, None, 0, 0), AntiDiagonal(1, 1, 0, 0)],
    )


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        (Hypothesis([2, 8], True, -1.0), 2),  # too short: <EOS> in the third row
        (Hypothesis([7, 7, 7], True, -1.0), 3),  # wrong, but the positions to look at are the same
        (Hypothesis([2, 8, 4, 4, 4], False, -1.0), 3),  # never ended: what is too long has no position to look at
        (Hypothesis([2], True, -1.0), 1),
    ],
)
def test_scores_of_a_wrong_answer_are_over_the_rows_that_should_be_there(answer: Hypothesis, rows: int) -> None:
    head = [*FIRST_HEAD[:rows], *[[0.0, 0.25, 0.25, 0.25, 0.25]] * (len(answer.output) + answer.finished - rows)]
    (mean, score) = attention_of([4, 8, 2], answer, np.array([head])).anti_diagonal(1)
    mass, hit = [0.7, 0.3, 0.6][:rows], [1, 0, 1][:rows]
    check_scores(
        [mean, score],
        [AntiDiagonal(1, None, sum(mass) / rows, sum(hit) / rows), AntiDiagonal(1, 1, sum(mass) / rows, sum(hit) / rows)],
    )


def test_an_empty_answer_looks_nowhere() -> None:
    attention = attention_of([4, 8, 2], Hypothesis([], True, -1.0), np.array([FIRST_HEAD[:1], SECOND_HEAD[:1]]))
    nothing = [AntiDiagonal(1, head, 0.0, 0.0) for head in (None, 1, 2)]
    assert attention.anti_diagonal(1) == nothing
    assert attention.emitted_tokens == ["<EOS>"]


# --- labels -----------------------------------------------------------------------------------------------------------


def test_rows_are_labelled_by_what_is_emitted_and_columns_by_the_source() -> None:
    attention = attention_of([4, 8, 2], Hypothesis([2, 8, 4], True, -1.0), np.array([FIRST_HEAD]))
    assert attention.source_tokens == ["<BOS>", "4", "8", "2", "<EOS>"]
    assert attention.emitted_tokens == ["2", "8", "4", "<EOS>"]


def test_an_answer_that_did_not_end_has_no_row_for_eos() -> None:
    attention = attention_of([4, 8], Hypothesis([8, 4, 4], False, -1.0), np.array([FIRST_HEAD[:3]]))
    assert attention.emitted_tokens == ["8", "4", "4"]


def test_each_kind_of_attention_has_its_own_labels() -> None:
    attention = attention_of([4, 8, 2], Hypothesis([2, 8], False, -1.0), np.array([FIRST_HEAD[:2]]))
    assert attention.tokens("cross") == (["2", "8"], ["<BOS>", "4", "8", "2", "<EOS>"])
    assert attention.tokens("decoder") == (["2", "8"], ["<BOS>", "2"])
    assert attention.tokens("encoder") == (["<BOS>", "4", "8", "2", "<EOS>"],) * 2
    assert attention.alignment == [3, 2]


def test_each_kind_of_attention_has_its_own_maps() -> None:
    model = random_model(encoder_layers=3)
    attention = record_attention(model, [4, 8, 2])
    fed = [BOS, *(symbol + FIRST_SYMBOL for symbol in attention.answer.output)][: len(attention.emitted_tokens)]
    maps = model.attention_maps(torch.tensor([[BOS, 7, 11, 5, EOS]]), torch.tensor([fed]))
    kinds: tuple[Kind, ...] = ("cross", "encoder", "decoder")
    for kind, layers in zip(kinds, (maps.cross, maps.encoder, maps.decoder), strict=True):
        assert attention.all_weights(kind).shape[:2] == (len(layers), 2)
        for layer, expected in enumerate(layers, start=1):
            np.testing.assert_allclose(attention.weights(kind, layer), expected[0].numpy(), atol=1e-6)
        assert np.array_equal(attention.weights(kind), attention.weights(kind, len(layers)))
        rows, columns = attention.tokens(kind)
        assert attention.weights(kind).shape[1:] == (len(rows), len(columns))
    with pytest.raises(UsageError, match="no layer 4 of encoder self-attention; this model has layers 1 to 3"):
        attention.weights("encoder", 4)


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        (Hypothesis([2, 8, 4], True, 0.0), True),
        (Hypothesis([2, 8, 4], False, 0.0), False),
        (Hypothesis([2, 8], True, 0.0), False),
        (Hypothesis([4, 8, 2], True, 0.0), False),
    ],
)
def test_an_answer_is_correct_when_it_is_the_reverse_and_ended(answer: Hypothesis, correct: bool) -> None:
    assert attention_of([4, 8, 2], answer, np.array([FIRST_HEAD])).correct is correct


# --- from a model -----------------------------------------------------------------------------------------------------


def step_by_step(model: Transformer, attention: Attention) -> list[Tensor]:
    """The last row of cross-attention in every layer at every step, when each step is a pass of its own."""
    source = torch.tensor([[BOS, *(symbol + FIRST_SYMBOL for symbol in attention.source), EOS]])
    fed = [BOS, *(symbol + FIRST_SYMBOL for symbol in attention.answer.output)]
    steps = len(attention.emitted_tokens)
    passes = [model.attention_maps(source, torch.tensor([fed[: step + 1]])).cross for step in range(steps)]
    return [torch.stack([maps[layer][0, :, -1] for maps in passes], dim=1) for layer in range(2)]


@pytest.mark.parametrize(
    ("eos", "beam"),
    [(1.0, 1), (1.0, 3), (-1e3, 1), (1e3, 1)],
    ids=["greedy", "beam", "never ends", "ends at once"],
)
def test_a_map_has_one_row_for_each_step_as_it_was_computed_then(eos: float, beam: int) -> None:
    model, source = random_model(seed=16, eos=eos), [4, 8, 2, 9]
    attention = record_attention(model, source, beam)
    assert attention.source == source
    assert attention.answer == decode(model, [source], beam)[0]
    assert attention.answer.finished is (eos > 0)
    assert eos != 1.0 or len(attention.answer.output) > 1  # it ends, but not at once
    rows, columns = len(attention.emitted_tokens), len(attention.source_tokens)
    for layer, expected in enumerate(step_by_step(model, attention), start=1):
        assert attention.weights("cross", layer).shape == (2, rows, columns)
        np.testing.assert_allclose(attention.weights("cross", layer), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("eos", [0.0, -1e3, 1e3])
def test_arrays_have_the_shapes_that_their_labels_say(eos: float) -> None:
    attention = record_attention(random_model(eos=eos, encoder_layers=3), [4, 8, 2])
    arrays = attention.to_arrays()
    assert set(arrays) == {"encoder", "decoder", "cross", "source_tokens", "target_tokens", "emitted_tokens"}
    assert arrays["source_tokens"].tolist() == attention.source_tokens
    assert arrays["emitted_tokens"].tolist() == attention.emitted_tokens
    assert arrays["target_tokens"].tolist() == ["<BOS>", *attention.emitted_tokens][:-1]
    columns, rows = len(arrays["source_tokens"]), len(arrays["emitted_tokens"])
    assert arrays["encoder"].shape == (3, 2, columns, columns)
    assert arrays["decoder"].shape == (2, 2, rows, rows)
    assert arrays["cross"].shape == (2, 2, rows, columns)
    for layer in (1, 2):
        np.testing.assert_allclose(arrays["cross"][layer - 1], attention.weights("cross", layer), atol=1e-6)
    assert all(np.issubdtype(arrays[name].dtype, np.floating) for name in ("encoder", "decoder", "cross"))


def test_maps_that_would_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, source = random_model(), [4, 8, 2]  # five maps of two heads, of 5 by 5 weights
    monkeypatch.setattr(attention_module, "MOST_WEIGHTS", 250)
    assert record_attention(model, source).source == source
    monkeypatch.setattr(attention_module, "MOST_WEIGHTS", 249)
    with pytest.raises(UsageError, match="The maps of 3 symbols have 250 weights; at most 249 are kept"):
        record_attention(model, source)


def test_an_encoder_without_layers_has_no_maps() -> None:
    attention = record_attention(random_model(encoder_layers=0), [4, 8, 2])
    assert attention.to_arrays()["encoder"].shape == (0, 2, 5, 5)
    assert attention.weights("cross").shape[2] == 5
    with pytest.raises(UsageError, match="no encoder self-attention"):
        attention.weights("encoder")
