"""Laws of the whole model, whatever its weights."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from seqrev.config import ModelConfig
from seqrev.model.attention import MultiHeadAttention
from seqrev.model.transformer import Transformer
from seqrev.task import PAD
from tests.model.models import (
    VOCABULARY,
    assert_close,
    sinusoidal_model,
    small_config,
    source_batch,
    target_batch,
    with_special_tokens,
)

FEW = settings(max_examples=25, deadline=None)

symbols = st.integers(3, VOCABULARY - 1)
sources = st.lists(symbols, min_size=1, max_size=7)
targets = st.lists(symbols, min_size=1, max_size=7)
seeds = st.integers(0, 2)


@FEW
@given(seed=seeds, source=sources, target=targets, data=st.data())
def test_a_later_target_token_changes_no_earlier_logit(
    seed: int, source: list[int], target: list[int], data: st.DataObject
) -> None:
    model = sinusoidal_model(seed)
    before = target_batch(target)
    position = data.draw(st.integers(1, len(target)))
    after = before.clone()
    after[0, position] = data.draw(symbols.filter(lambda symbol: symbol != target[position - 1]))
    one, other = model(source_batch(source), before), model(source_batch(source), after)
    assert_close(one[:, :position], other[:, :position])
    assert (one[:, position] - other[:, position]).abs().max() > 1e-6


@FEW
@given(seed=seeds, source=sources, target=targets, width=st.integers(1, 6))
def test_padding_a_source_changes_nothing(seed: int, source: list[int], target: list[int], width: int) -> None:
    model, bare = sinusoidal_model(seed), source_batch(source)
    padded = torch.nn.functional.pad(bare, (0, width), value=PAD)
    assert_close(model(padded, target_batch(target)), model(bare, target_batch(target)))
    columns = bare.shape[1]
    for one, other in zip(
        model.attention_maps(padded, target_batch(target)).cross,
        model.attention_maps(bare, target_batch(target)).cross,
        strict=True,
    ):
        assert (one[..., columns:] == 0).all()
        assert_close(one[..., :columns], other)


@FEW
@given(seed=seeds, rows=st.lists(st.tuples(sources, targets), min_size=2, max_size=4))
def test_a_row_does_not_depend_on_its_batch(seed: int, rows: list[tuple[list[int], list[int]]]) -> None:
    model = sinusoidal_model(seed)
    length = max(len(target) for _, target in rows)
    together = model(
        source_batch(*[source for source, _ in rows]),
        target_batch(*(target + [PAD] * (length - len(target)) for _, target in rows)),
    )
    for index, (source, target) in enumerate(rows):
        alone = model(source_batch(source), target_batch(target))[0]
        assert_close(together[index, : len(target) + 1], alone)


@FEW
@given(seed=seeds, source=sources, target=targets)
def test_every_map_has_its_shape_and_rows_that_sum_to_one(seed: int, source: list[int], target: list[int]) -> None:
    model = sinusoidal_model(seed)
    src, tgt = len(source) + 2, len(target) + 1
    maps = model.attention_maps(source_batch(source), target_batch(target))
    for kind, rows, columns in (("encoder", src, src), ("decoder", tgt, tgt), ("cross", tgt, src)):
        layers = maps._asdict()[kind]
        assert len(layers) == 2
        for weights in layers:
            assert weights.shape == (1, 2, rows, columns)
            assert_close(weights.sum(-1), torch.ones(1, 2, rows, dtype=torch.float64))
    for weights in maps.decoder:
        assert (weights.triu(1) == 0).all()


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4])
def test_rows_of_a_map_are_queries_and_columns_keys(position: int) -> None:
    """In a square map too: a target token changes no row before its own, a masked source token its own column only."""
    model = sinusoidal_model(0)
    source, target = torch.tensor([with_special_tokens([4, 5, 6])]), target_batch([7, 8, 9, 3])  # 5 by 5
    source[0, position] = PAD
    other = target.clone()
    other[0, position] = 12
    maps, others = model.attention_maps(source, target), model.attention_maps(source, other)
    for weights in (*maps.encoder, *maps.cross):
        assert [bool((weights[..., column] == 0).all()) for column in range(5)] == [
            column == position for column in range(5)
        ]
    for one, two in zip(maps.decoder + maps.cross, others.decoder + others.cross, strict=True):
        assert_close(one[:, :, :position], two[:, :, :position])
    for one, two in zip(maps.cross, others.cross, strict=True):
        assert (one[:, :, position] - two[:, :, position]).abs().max() > 1e-6


@pytest.mark.parametrize("real", [0, 1])
def test_gradients_are_finite_when_a_source_is_almost_or_all_padding(real: int) -> None:
    torch.manual_seed(0)
    model = Transformer(small_config(), VOCABULARY)
    source = source_batch([4, 5, 6], [7, 8, 9])
    source[1, real:] = PAD
    logits = model(source, target_batch([6, 5], [9, 8]))
    torch.autograd.backward(cross_entropy(logits.flatten(0, 1), torch.tensor([6, 5, 4, 9, 8, 7])))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith("k_proj.bias"), name  # no shift of all keys changes a softmax


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_first_predictions_are_close_to_uniform(seed: int) -> None:
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(), VOCABULARY)
    source, target, following = torch.randint(VOCABULARY, (3, 32, 10)).unbind()
    with torch.no_grad():
        logits = model(source, target).flatten(0, 1)
    assert float(cross_entropy(logits, following.flatten())) == pytest.approx(math.log(VOCABULARY), abs=0.05)
    assert 0.05 < float(logits.detach().std()) < 0.3  # but not all the same


@FEW
@given(seed=seeds, source=sources, target=targets, data=st.data())
def test_the_order_of_the_source_matters(seed: int, source: list[int], target: list[int], data: st.DataObject) -> None:
    first, second = data.draw(st.lists(symbols, min_size=2, max_size=2, unique=True))
    one, other = source_batch([first, second, *source]), source_batch([second, first, *source])
    assert (
        sinusoidal_model(seed)(one, target_batch(target)) - sinusoidal_model(seed)(other, target_batch(target))
    ).abs().max() > 1e-6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_tokens_are_told_apart_by_their_positions(seed: int) -> None:
    model, same = sinusoidal_model(seed), torch.full((1, 6), 7)
    for states in (model.encode(same).states[0], model(same, same)[0]):
        assert (torch.cdist(states, states) + 10 * torch.eye(6)).min() > 1e-3


def test_the_base_of_the_positions_is_the_configured_one() -> None:
    source, target = source_batch([4, 5, 6]), target_batch([6, 5])
    small = Transformer(small_config(position_base=20.0), VOCABULARY).double()
    small.load_state_dict(sinusoidal_model(0).state_dict())
    assert not small(source, target).allclose(sinusoidal_model(0)(source, target))


def test_source_and_target_have_embeddings_of_their_own() -> None:
    model = Transformer(small_config(), VOCABULARY).double()
    model.load_state_dict(sinusoidal_model(0).state_dict())
    source, target = source_batch([4, 5]), target_batch([6, 7])
    states, logits = model.encode(source).states, model(source, target)
    with torch.no_grad():
        model.decoder.embedding.tokens.weight[6] *= -1
    assert model.encode(source).states.equal(states)
    assert not model(source, target).allclose(logits)


def test_dropout_is_there_in_training_and_gone_in_evaluation() -> None:
    torch.manual_seed(0)
    model = Transformer(small_config(dropout=0.5), VOCABULARY)
    source, target = source_batch([4, 5, 6]), target_batch([6, 5])
    assert not model(source, target).allclose(model(source, target))
    model.eval()
    assert model(source, target).equal(model(source, target))


def test_dropout_falls_on_the_embeddings_of_source_and_target() -> None:
    model = Transformer(small_config(dropout=0.5), VOCABULARY).eval()
    source, target = source_batch([4, 5, 6]), target_batch([6, 5])
    memory = model.encode(source)
    model.encoder.embedding.dropout.train()  # and nothing else
    assert not model.encode(source).states.allclose(memory.states)
    assert model.decode(target, memory).equal(model.decode(target, memory))
    model.decoder.embedding.dropout.train()
    assert not model.decode(target, memory).allclose(model.decode(target, memory))


def test_dropout_and_noise_are_where_the_configuration_says() -> None:
    rates_given = {
        "dropout": 0.1,
        "attention_dropout": 0.2,
        "attention_noise": 0.3,
        "query_dropout": 0.4,
        "self_query_dropout": 0.5,
    }
    model = Transformer(small_config(**rates_given), VOCABULARY)
    rates: dict[float, set[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and module.p:
            rates.setdefault(module.p, set()).add(name)
    layers = [f"{stack}.layers.{n}." for stack in ("encoder", "decoder") for n in (0, 1)]
    attentions = [f"{layer}self_attention" for layer in layers] + [f"{layer}cross_attention" for layer in layers[2:]]
    feed_forwards = [f"{layer}feed_forward" for layer in layers]
    assert rates == {
        0.1: {
            *(f"{stack}.embedding.dropout" for stack in ("encoder", "decoder")),
            *(f"{block}_dropout" for block in attentions + feed_forwards),
        },
        0.2: {f"{attention}.dropout" for attention in attentions},
        0.4: {f"{attention}.query_dropout" for attention in attentions if "cross" in attention},
        0.5: {f"{attention}.query_dropout" for attention in attentions if "self" in attention},
    }
    noises = {name: module.noise for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)}
    assert noises == {name: 0.3 if "cross" in name else 0.0 for name in attentions}


def test_the_model_has_as_many_layers_as_configured_and_takes_its_positions_less_two() -> None:
    model = Transformer(small_config(encoder_layers=1, decoder_layers=3), VOCABULARY)
    maps = model.attention_maps(source_batch([4]), target_batch([4]))
    assert (len(maps.encoder), len(maps.decoder), len(maps.cross)) == (1, 3, 3)
    assert model.longest_source == 62


def test_tied_embeddings_and_output_are_one_matrix_and_the_logits_begin_with_unit_deviation() -> None:
    model = Transformer(small_config(d_model=64, tie_embeddings=True), 2_000)
    assert model.output.weight is model.encoder.embedding.tokens.weight is model.decoder.embedding.tokens.weight
    logits = model(source_batch([4, 5, 6]), target_batch([6, 5]))
    assert float(logits.detach().std()) == pytest.approx(1.0, rel=0.2)
    untied = Transformer(small_config(d_model=64), 2_000)
    matrices = (untied.output, untied.encoder.embedding.tokens, untied.decoder.embedding.tokens)
    assert len({id(matrix.weight) for matrix in matrices}) == 3


def test_initial_embeddings_have_unit_deviation_and_linear_weights_a_small_one() -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig.model_validate({"positions": "learned"}), 200)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding):
            assert float(module.weight.detach().std()) == pytest.approx(1.0, rel=0.1), name
        elif isinstance(module, torch.nn.Linear):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1), name
            assert not module.bias.any(), name


def test_a_seed_gives_one_model() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(Transformer(small_config(positions="learned"), VOCABULARY))
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert one.equal(other)
