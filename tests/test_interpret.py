"""Where the model looked: on maps made by hand, and on those of a model."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqrev import interpret
from seqrev.config import ModelConfig
from seqrev.decoding import Decoded, decode
from seqrev.errors import UsageError
from seqrev.interpret import AntiDiagonal, Attention, Kind, anti_diagonal, attend, scores_to_json
from seqrev.model.transformer import AttentionMaps, Transformer
from seqrev.task import BOS, EOS, FIRST_SYMBOL, vocabulary_size


def loud(seed: int = 0, eos: float = 0.0, **changes: int) -> Transformer:
    """An untrained model in float64 that looks at some places more than at others."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shape = {"d_model": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 2, "d_ff": 16, "max_positions": 128}
        model = Transformer(ModelConfig.model_validate(shape | changes), vocabulary_size(10))
        for name, parameter in model.named_parameters():
            if "embedding" not in name:
                parameter.data += 0.4 * torch.randn_like(parameter)
        model.output.bias.data[EOS] += eos
    return model.double().eval().requires_grad_(False)


def seen(source: list[int], answer: Decoded, *cross: NDArray[np.float64]) -> Attention:
    """What was seen of a sequence, with cross-attention made by hand: one ``[head, tgt, src]`` for each layer."""
    nothing = (torch.zeros(1, 1, 1, 1),)
    return Attention(source, answer, AttentionMaps(nothing, nothing, tuple(torch.tensor(layer)[None] for layer in cross)))


# Source 4 8 2: columns <BOS> 4 8 2 <EOS>, rows 2 8 4 <EOS>; the rule looks at columns 3, 2, 1.
FIRST_HEAD = [
    [0.0, 0.1, 0.2, 0.7, 0.0],  # 2: right
    [0.1, 0.5, 0.3, 0.0, 0.1],  # 8: looks at the 4
    [0.0, 0.6, 0.1, 0.1, 0.2],  # 4: right
    [0.0, 0.0, 0.0, 0.9, 0.1],  # <EOS> does not count
]
SECOND_HEAD = [
    [0.9, 0.1, 0.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0, 0.0],
    [0.2, 0.1, 0.2, 0.2, 0.3],
    [0.0, 1.0, 0.0, 0.0, 0.0],
]
MEAN = AntiDiagonal(1, None, mass=(0.35 + 0.65 + 0.35) / 3, hit=2 / 3)  # row 1 of the mean looks at <BOS>
BY_HEAD = [
    AntiDiagonal(1, 1, mass=(0.7 + 0.3 + 0.6) / 3, hit=2 / 3),
    AntiDiagonal(1, 2, mass=(0.0 + 1.0 + 0.1) / 3, hit=1 / 3),
]


def check(scores: list[AntiDiagonal], expected: list[AntiDiagonal]) -> None:
    assert [(score.layer, score.head) for score in scores] == [(score.layer, score.head) for score in expected]
    for score, other in zip(scores, expected, strict=True):
        assert score.mass == pytest.approx(other.mass, abs=1e-6)
        assert score.hit == pytest.approx(other.hit, abs=1e-6)


def test_the_anti_diagonal_of_a_map_made_by_hand() -> None:
    attention = seen([4, 8, 2], Decoded([2, 8, 4], True, -1.0), np.array([FIRST_HEAD, SECOND_HEAD]))
    check(attention.anti_diagonal(1), [MEAN, *BY_HEAD])


def test_layers_are_counted_from_one() -> None:
    blind = np.full((2, 4, 5), 0.2)
    attention = seen([4, 8, 2], Decoded([2, 8, 4], True, -1.0), np.array([FIRST_HEAD, SECOND_HEAD]), blind)
    assert attention.anti_diagonal(1)[1].mass == pytest.approx(1.6 / 3)
    assert attention.anti_diagonal(2)[1].mass == pytest.approx(0.2)
    assert {score.layer for score in attention.anti_diagonal(2)} == {2}
    assert attention.cross(1).shape == (2, 4, 5)
    np.testing.assert_allclose(attention.cross(1), [FIRST_HEAD, SECOND_HEAD], atol=1e-6)
    np.testing.assert_allclose(attention.cross(2), blind, atol=1e-6)
    for layer in (0, 3, -1):
        with pytest.raises(UsageError, match=f"no decoder layer {layer}"):
            attention.cross(layer)


def test_a_perfect_map_scores_one_and_the_diagonal_does_not() -> None:
    anti, diagonal = np.zeros((1, 5, 6)), np.zeros((1, 5, 6))
    for row in range(4):
        anti[0, row, 4 - row] = 1
        diagonal[0, row, row + 1] = 1
    answer = Decoded([4, 3, 2, 1], True, 0.0)
    check(seen([1, 2, 3, 4], answer, anti).anti_diagonal(1), [AntiDiagonal(1, None, 1, 1), AntiDiagonal(1, 1, 1, 1)])
    check(seen([1, 2, 3, 4], answer, diagonal).anti_diagonal(1), [AntiDiagonal(1, None, 0, 0), AntiDiagonal(1, 1, 0, 0)])


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        (Decoded([2, 8], True, -1.0), 2),  # too short: <EOS> in the third row
        (Decoded([7, 7, 7], True, -1.0), 3),  # wrong, but the places to look at are the same
        (Decoded([2, 8, 4, 4, 4], False, -1.0), 3),  # never ended: what is too long has no place to look at
        (Decoded([2], True, -1.0), 1),
    ],
)
def test_scores_of_a_wrong_answer_are_over_the_rows_that_should_be_there(answer: Decoded, rows: int) -> None:
    head = [*FIRST_HEAD[:rows], *[[0.0, 0.25, 0.25, 0.25, 0.25]] * (len(answer.output) + answer.finished - rows)]
    (mean, score) = seen([4, 8, 2], answer, np.array([head])).anti_diagonal(1)
    mass, hit = [0.7, 0.3, 0.6][:rows], [1, 0, 1][:rows]
    check(
        [mean, score],
        [AntiDiagonal(1, None, sum(mass) / rows, sum(hit) / rows), AntiDiagonal(1, 1, sum(mass) / rows, sum(hit) / rows)],
    )


def test_an_empty_answer_looks_nowhere() -> None:
    attention = seen([4, 8, 2], Decoded([], True, -1.0), np.array([FIRST_HEAD[:1], SECOND_HEAD[:1]]))
    nothing = [AntiDiagonal(1, head, 0.0, 0.0) for head in (None, 1, 2)]
    assert attention.anti_diagonal(1) == nothing
    assert attention.emitted_tokens == ["<EOS>"]


def test_scores_are_over_all_rows_of_a_batch() -> None:
    weights = np.array([[FIRST_HEAD[:3]], [SECOND_HEAD[:3]]], dtype=np.float32)  # two sequences, one head
    scores = interpret.score_map(2, weights, np.array([[3, 2, 1], [0, 1, 4]]))
    mass, hit = (0.7 + 0.3 + 0.6 + 0.9 + 0.0 + 0.3) / 6, (1 + 0 + 1 + 1 + 0 + 1) / 6
    check(scores, [AntiDiagonal(2, None, mass, hit), AntiDiagonal(2, 1, mass, hit)])


def test_scores_as_plain_values() -> None:
    assert scores_to_json([AntiDiagonal(2, None, 0.5, 1.0), AntiDiagonal(2, 1, 0.25, 0.0)]) == [
        {"layer": 2, "head": None, "mass": 0.5, "hit": 1.0},
        {"layer": 2, "head": 1, "mass": 0.25, "hit": 0.0},
    ]


# --- labels -----------------------------------------------------------------------------------------------------------


def test_rows_are_labelled_by_what_is_emitted_and_columns_by_the_source() -> None:
    attention = seen([4, 8, 2], Decoded([2, 8, 4], True, -1.0), np.array([FIRST_HEAD]))
    assert attention.source_tokens == ["<BOS>", "4", "8", "2", "<EOS>"]
    assert attention.emitted_tokens == ["2", "8", "4", "<EOS>"]


def test_an_answer_that_did_not_end_has_no_row_for_eos() -> None:
    attention = seen([4, 8], Decoded([8, 4, 4], False, -1.0), np.array([FIRST_HEAD[:3]]))
    assert attention.emitted_tokens == ["8", "4", "4"]


def test_each_kind_of_attention_has_its_own_labels() -> None:
    attention = seen([4, 8, 2], Decoded([2, 8], False, -1.0), np.array([FIRST_HEAD[:2]]))
    assert attention.tokens("cross") == (["2", "8"], ["<BOS>", "4", "8", "2", "<EOS>"])
    assert attention.tokens("decoder") == (["2", "8"], ["<BOS>", "2"])
    assert attention.tokens("encoder") == (["<BOS>", "4", "8", "2", "<EOS>"],) * 2
    assert attention.right_places == [3, 2]


def test_each_kind_of_attention_has_its_own_maps() -> None:
    model = loud(encoder_layers=3)
    attention = attend(model, [4, 8, 2])
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
    with pytest.raises(UsageError, match="no encoder layer 4"):
        attention.weights("encoder", 4)


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        (Decoded([2, 8, 4], True, 0.0), True),
        (Decoded([2, 8, 4], False, 0.0), False),
        (Decoded([2, 8], True, 0.0), False),
        (Decoded([4, 8, 2], True, 0.0), False),
    ],
)
def test_an_answer_is_correct_when_it_is_the_reverse_and_ended(answer: Decoded, correct: bool) -> None:
    assert seen([4, 8, 2], answer, np.array([FIRST_HEAD])).correct is correct


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
    [(3.0, 1), (3.0, 3), (-1e3, 1), (1e3, 1)],
    ids=["greedy", "beam", "never ends", "ends at once"],
)
def test_a_map_has_one_row_for_each_step_as_it_was_seen_then(eos: float, beam: int) -> None:
    model, source = loud(eos=eos), [4, 8, 2, 9]
    attention = attend(model, source, beam)
    assert attention.source == source
    assert attention.answer == decode(model, [source], beam)[0]
    assert attention.answer.finished is (eos > 0)
    rows, columns = len(attention.emitted_tokens), len(attention.source_tokens)
    for layer, expected in enumerate(step_by_step(model, attention), start=1):
        assert attention.cross(layer).shape == (2, rows, columns)
        np.testing.assert_allclose(attention.cross(layer), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("eos", [0.0, -1e3, 1e3])
def test_arrays_have_the_shapes_that_their_labels_say(eos: float) -> None:
    attention = attend(loud(eos=eos, encoder_layers=3), [4, 8, 2])
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
        np.testing.assert_allclose(arrays["cross"][layer - 1], attention.cross(layer), atol=1e-6)
    assert all(np.issubdtype(arrays[name].dtype, np.floating) for name in ("encoder", "decoder", "cross"))


def reversing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every answer be right, whatever the model."""

    def right(_model: Transformer, sources: list[list[int]], _beam: int = 1) -> list[Decoded]:
        return [Decoded(list(reversed(source)), True, 0.0) for source in sources]

    monkeypatch.setattr(interpret, "decode", right)


@pytest.mark.parametrize("layer", [1, 2, None])
def test_scores_over_many_sequences_are_the_mean_over_the_content_rows_of_each(
    monkeypatch: pytest.MonkeyPatch, layer: int | None
) -> None:
    reversing(monkeypatch)
    model, sources = loud(), [[4, 8, 2, 9], [1], [3, 3, 5, 6], [7, 0], [1, 2, 3, 4, 5, 6], [7]]
    singles = [attend(model, source).anti_diagonal(layer or 2) for source in sources]
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
    check(anti_diagonal(model, sources, layer), expected)
    assert len({round(score.mass, 4) for score in expected}) == 3


def test_many_long_sequences_are_looked_at_in_parts() -> None:
    """More weights than are computed at once: twice the same sequences score like once."""
    model = loud(d_model=4, heads=1, d_ff=4, encoder_layers=1, decoder_layers=1)
    sources = np.random.default_rng(0).integers(10, size=(51, 100)).tolist()
    once, twice = anti_diagonal(model, sources), anti_diagonal(model, sources * 2)
    check(twice, once)


def test_scores_need_a_sequence() -> None:
    with pytest.raises(UsageError, match="no sequence"):
        anti_diagonal(loud(), [])
