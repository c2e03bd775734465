"""Laws of the whole model, whatever its weights."""

import copy
import functools
import itertools
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from seqrev.config import ModelConfig
from seqrev.model import attention, transformer
from seqrev.model.attention import MultiHeadAttention
from seqrev.model.positions import offset_buckets
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, EOS, PAD

VOCABULARY = 13
FEW = settings(max_examples=25, deadline=None)

symbols = st.integers(3, VOCABULARY - 1)
sources = st.lists(symbols, min_size=1, max_size=7)
targets = st.lists(symbols, min_size=1, max_size=7)
seeds = st.integers(0, 2)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def config(**changes: object) -> ModelConfig:
    small = {"d_model": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "d_ff": 24, "max_positions": 64}
    return ModelConfig.model_validate(small | changes)


@functools.cache
def loud(seed: int) -> Transformer:
    """A model in float64 whose weights are large enough that everything matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Transformer(config(), VOCABULARY).double().eval()
        for name, parameter in model.named_parameters():
            if "embedding" not in name:
                parameter.data += 0.25 * torch.randn_like(parameter)
    return model.requires_grad_(False)


def framed(source: list[int]) -> list[int]:
    return [BOS, *source, EOS]


def batch(rows: list[list[int]]) -> Tensor:
    """Source rows, framed and padded at the end."""
    width = max(map(len, rows)) + 2
    return torch.tensor([framed(row) + [PAD] * (width - len(row) - 2) for row in rows])


def target_of(*rows: list[int]) -> Tensor:
    return torch.tensor([[BOS, *row] for row in rows])


@FEW
@given(seed=seeds, source=sources, target=targets, data=st.data())
def test_a_later_target_token_changes_no_earlier_logit(
    seed: int, source: list[int], target: list[int], data: st.DataObject
) -> None:
    model = loud(seed)
    before = target_of(target)
    place = data.draw(st.integers(1, len(target)))
    after = before.clone()
    after[0, place] = data.draw(symbols.filter(lambda symbol: symbol != target[place - 1]))
    one, other = model(batch([source]), before), model(batch([source]), after)
    assert_close(one[:, :place], other[:, :place])
    assert (one[:, place] - other[:, place]).abs().max() > 1e-6


@FEW
@given(seed=seeds, source=sources, target=targets, width=st.integers(1, 6))
def test_padding_a_source_changes_nothing(seed: int, source: list[int], target: list[int], width: int) -> None:
    model, bare = loud(seed), batch([source])
    padded = torch.nn.functional.pad(bare, (0, width), value=PAD)
    assert_close(model(padded, target_of(target)), model(bare, target_of(target)))
    columns = bare.shape[1]
    for one, other in zip(
        model.attention_maps(padded, target_of(target)).cross,
        model.attention_maps(bare, target_of(target)).cross,
        strict=True,
    ):
        assert (one[..., columns:] == 0).all()
        assert_close(one[..., :columns], other)


@FEW
@given(seed=seeds, rows=st.lists(st.tuples(sources, targets), min_size=2, max_size=4))
def test_a_row_does_not_depend_on_its_batch(seed: int, rows: list[tuple[list[int], list[int]]]) -> None:
    model = loud(seed)
    length = max(len(target) for _, target in rows)
    together = model(
        batch([source for source, _ in rows]), target_of(*(target + [PAD] * (length - len(target)) for _, target in rows))
    )
    for index, (source, target) in enumerate(rows):
        alone = model(batch([source]), target_of(target))[0]
        assert_close(together[index, : len(target) + 1], alone)


@FEW
@given(
    seed=seeds,
    rows=st.lists(sources, min_size=1, max_size=3),
    chunks=st.one_of(
        st.lists(st.integers(1, 9), min_size=1, max_size=5),
        st.integers(1, 36).map(lambda length: [1] * length),  # one token at a time, past the first buffer
    ),
    data=st.data(),
)
def test_cached_decoding_gives_the_logits_of_one_parallel_pass(
    seed: int, rows: list[list[int]], chunks: list[int], data: st.DataObject
) -> None:
    model, source, length = loud(seed), batch(rows), sum(chunks)
    target = torch.tensor([data.draw(st.lists(symbols, min_size=length, max_size=length)) for _ in rows])
    expected, memory, cache = model(source, target), model.encode(source), model.new_cache()
    parts = [model.decode(part, memory, cache) for part in torch.split(target, chunks, dim=1)]
    assert_close(torch.cat(parts, dim=1), expected)


@FEW
@given(seed=seeds, rows=st.lists(sources, min_size=2, max_size=3), data=st.data())
def test_rows_of_a_cache_can_be_chosen_while_decoding(seed: int, rows: list[list[int]], data: st.DataObject) -> None:
    model, source = loud(seed), batch(rows)
    target = torch.tensor([data.draw(st.lists(symbols, min_size=5, max_size=5)) for _ in rows])
    chosen = torch.tensor(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4)))
    memory, cache = model.encode(source), model.new_cache()
    model.decode(target[:, :3], memory, cache)
    for layer in cache:
        layer.select(chosen)
    rest = model.decode(target[chosen, 3:], memory.select(chosen), cache)
    assert_close(rest, model(source, target)[chosen, 3:])


@FEW
@given(seed=seeds, source=sources, target=targets)
def test_every_map_has_its_shape_and_rows_that_sum_to_one(seed: int, source: list[int], target: list[int]) -> None:
    model = loud(seed)
    src, tgt = len(source) + 2, len(target) + 1
    maps = model.attention_maps(batch([source]), target_of(target))
    for kind, rows, columns in (("encoder", src, src), ("decoder", tgt, tgt), ("cross", tgt, src)):
        layers = maps._asdict()[kind]
        assert len(layers) == 2
        for weights in layers:
            assert weights.shape == (1, 2, rows, columns)
            assert_close(weights.sum(-1), torch.ones(1, 2, rows, dtype=torch.float64))
    for weights in maps.decoder:
        assert (weights.triu(1) == 0).all()


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_rows_of_a_map_are_those_who_look_and_columns_those_looked_at(place: int) -> None:
    """In a square map too: a target token moves no row before its own, a source token that is masked its own column."""
    model = loud(0)
    source, target = torch.tensor([framed([4, 5, 6])]), target_of([7, 8, 9, 3])  # 5 by 5
    source[0, place] = PAD
    other = target.clone()
    other[0, place] = 12
    maps, others = model.attention_maps(source, target), model.attention_maps(source, other)
    for weights in (*maps.encoder, *maps.cross):
        assert [bool((weights[..., column] == 0).all()) for column in range(5)] == [column == place for column in range(5)]
    for one, two in zip(maps.decoder + maps.cross, others.decoder + others.cross, strict=True):
        assert_close(one[:, :, :place], two[:, :, :place])
    for one, two in zip(maps.cross, others.cross, strict=True):
        assert (one[:, :, place] - two[:, :, place]).abs().max() > 1e-6


@pytest.mark.parametrize("real", [0, 1])
def test_gradients_are_finite_when_a_source_is_almost_or_all_padding(real: int) -> None:
    torch.manual_seed(0)
    model = Transformer(config(), VOCABULARY)
    source = batch([[4, 5, 6], [7, 8, 9]])
    source[1, real:] = PAD
    logits = model(source, target_of([6, 5], [9, 8]))
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
    one, other = batch([[first, second, *source]]), batch([[second, first, *source]])
    assert (loud(seed)(one, target_of(target)) - loud(seed)(other, target_of(target))).abs().max() > 1e-6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_tokens_are_told_apart_by_their_positions(seed: int) -> None:
    model, same = loud(seed), torch.full((1, 6), 7)
    for states in (model.encode(same).states[0], model(same, same)[0]):
        assert (torch.cdist(states, states) + 10 * torch.eye(6)).min() > 1e-3


def test_the_base_of_the_positions_is_the_configured_one() -> None:
    source, target = batch([[4, 5, 6]]), target_of([6, 5])
    small = Transformer(config(position_base=20.0), VOCABULARY).double()
    small.load_state_dict(loud(0).state_dict())
    assert not small(source, target).allclose(loud(0)(source, target))


def test_source_and_target_have_embeddings_of_their_own() -> None:
    model = Transformer(config(), VOCABULARY).double()
    model.load_state_dict(loud(0).state_dict())
    source, target = batch([[4, 5]]), target_of([6, 7])
    states, logits = model.encode(source).states, model(source, target)
    with torch.no_grad():
        model.target_embedding.weight[6] *= -1
    assert model.encode(source).states.equal(states)
    assert not model(source, target).allclose(logits)


def test_dropout_is_there_in_training_and_gone_in_evaluation() -> None:
    torch.manual_seed(0)
    model = Transformer(config(dropout=0.5), VOCABULARY)
    source, target = batch([[4, 5, 6]]), target_of([6, 5])
    assert not model(source, target).allclose(model(source, target))
    model.eval()
    assert model(source, target).equal(model(source, target))


def test_dropout_falls_on_the_embeddings_of_source_and_target() -> None:
    model = Transformer(config(dropout=0.5), VOCABULARY).eval()
    source, target = batch([[4, 5, 6]]), target_of([6, 5])
    memory = model.encode(source)
    model.dropout.train()  # the layers stay calm
    assert not model.encode(source).states.allclose(memory.states)
    assert not model.decode(target, memory).allclose(model.decode(target, memory))


def test_dropout_and_noise_are_where_the_configuration_says() -> None:
    rates_given = {
        "dropout": 0.1,
        "attention_dropout": 0.2,
        "attention_noise": 0.3,
        "query_dropout": 0.4,
        "self_query_dropout": 0.5,
    }
    model = Transformer(config(**rates_given), VOCABULARY)
    rates: dict[float, set[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and module.p:
            rates.setdefault(module.p, set()).add(name)
    layers = [f"{stack}coder_layers.{n}." for stack in ("en", "de") for n in (0, 1)]
    attentions = [f"{layer}self_attention" for layer in layers] + [f"{layer}cross_attention" for layer in layers[2:]]
    assert rates == {
        0.1: {"dropout", *(f"{layer}dropout" for layer in layers)},
        0.2: {f"{attention}.dropout" for attention in attentions},
        0.4: {f"{attention}.query_dropout" for attention in attentions if "cross" in attention},
        0.5: {f"{attention}.query_dropout" for attention in attentions if "self" in attention},
    }
    noises = {name: module.noise for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)}
    assert noises == {name: 0.3 if "cross" in name else 0.0 for name in attentions}


def test_the_model_has_as_many_layers_as_configured_and_takes_its_positions_less_two() -> None:
    model = Transformer(config(encoder_layers=1, decoder_layers=3), VOCABULARY)
    maps = model.attention_maps(batch([[4]]), target_of([4]))
    assert (len(maps.encoder), len(maps.decoder), len(maps.cross)) == (1, 3, 3)
    assert model.longest_source == 62


# --- position schemes -------------------------------------------------------------------------------------------------

SCHEMES = [
    {"positions": positions, "source_from": source_from, "random_positions": spread, "length_scaling": scaling}
    for positions, source_from, spread, scaling in itertools.product(
        ("sinusoidal", "learned", "rotary", "alibi", "relative", "none"), ("start", "end"), (0, 100), (False, True)
    )
]


@functools.cache
def _placed(index: int) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(index)
        model = Transformer(config(**SCHEMES[index], position_base=50.0, max_positions=2048), VOCABULARY).double().eval()
        for name, parameter in model.named_parameters():
            if "embedding" not in name:
                parameter.data += 0.25 * torch.randn_like(parameter)
    return model.requires_grad_(False)


@pytest.fixture(params=range(len(SCHEMES)), ids=lambda index: "-".join(map(str, SCHEMES[index].values())))
def placed(request: pytest.FixtureRequest) -> Transformer:
    """A loud model in float64 of every position scheme there is."""
    return _placed(request.param)


def some(*lengths: int, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


def naive_attention(
    config: ModelConfig,
    module: MultiHeadAttention,
    looking: Tensor,
    looked_at: Tensor,
    places: tuple[list[int], list[int]],
    causal: bool,
    biases: Tensor | None,
) -> Tensor:
    """One query, one head and one key at a time, keys turned relative to the query; no mask, no cache, no batch."""
    width = config.d_model // config.heads
    query, key, value = module.q_proj(looking), module.k_proj(looked_at), module.v_proj(looked_at)
    mixed = torch.zeros_like(query)
    for head, q in itertools.product(range(config.heads), range(len(looking))):
        here, sight = slice(head * width, (head + 1) * width), q + 1 if causal else len(looked_at)
        scores = []
        for k in range(sight):
            one, other = query[q, here], key[k, here]
            distance = places[0][q] - places[1][k]
            if config.positions == "rotary":
                frequency = config.position_base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
                one, other = torch.complex(*one.chunk(2)), torch.complex(*other.chunk(2))
                score = (one * other.conj() * torch.exp(1j * distance * frequency)).real.sum()
            else:
                score = (one * other).sum()
            scaled = config.length_scaling and looking is not looked_at
            score = score / math.sqrt(width) * (math.log(sight + 1, 20) if scaled else 1)
            if config.positions == "alibi":
                score = score - 2 ** (-8 * (head + 1) / config.heads) * abs(distance)
            if biases is not None:
                score = score + biases[int(offset_buckets(torch.tensor(-distance))), head] * math.sqrt(width)
            scores.append(score)
        mixed[q, here] = torch.stack(scores).softmax(0) @ value[:sight, here]
    naive: Tensor = module.out_proj(mixed)
    return naive


def naive_logits(model: Transformer, source: list[int], target: list[int]) -> Tensor:
    """The whole model for one pair, from the papers' formulas; in evaluation."""
    c, length = model.config, len(source)
    step = max(1, c.random_positions // length) if c.random_positions else 1
    places = [step * (n if c.source_from == "start" else length - 1 - n) for n in range(length)]
    target_places = [step * n for n in range(len(target))]

    def embed(side: str, ids: list[int], places: list[int]) -> Tensor:
        states: Tensor = getattr(model, f"{side}_embedding").weight[ids].clone()
        for row, place in enumerate(places):
            if c.positions == "learned":
                states[row] += getattr(model, f"{side}_positions").weight[place]
            for i in range(c.d_model // 2) if c.positions == "sinusoidal" else ():
                angle = place / c.position_base ** (2 * i / c.d_model)
                states[row, 2 * i] += math.sin(angle)
                states[row, 2 * i + 1] += math.cos(angle)
        return states

    of_source, of_target, across = (None, None, None) if model.relative_biases is None else model.relative_biases
    memory = embed("source", source, places)
    for e in model.encoder_layers:
        normed = e.self_attention_norm(memory)
        memory = memory + naive_attention(c, e.self_attention, normed, normed, (places, places), False, of_source)
        memory = memory + e.feed_forward(e.feed_forward_norm(memory))
    memory, states = model.encoder_norm(memory), embed("target", target, target_places)
    for d in model.decoder_layers:
        normed = d.self_attention_norm(states)
        target_pair, source_pair = (target_places, target_places), (target_places, places)
        states = states + naive_attention(c, d.self_attention, normed, normed, target_pair, True, of_target)
        normed = d.cross_attention_norm(states)
        states = states + naive_attention(c, d.cross_attention, normed, memory, source_pair, False, across)
        states = states + d.feed_forward(d.feed_forward_norm(states))
    logits: Tensor = model.output(model.decoder_norm(states))
    return logits


def test_every_scheme_is_the_naive_computation(placed: Transformer) -> None:
    (source,), (target,) = some(4), some(5, seed=1)
    logits = placed(batch([source]), target_of(target))[0]
    expected = naive_logits(placed, framed(source), [BOS, *target])
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)  # sinusoids and scales are float32


@pytest.mark.parametrize("chunks", [[1] * 19, [3, 1, 7, 8]], ids=["one by one", "chunks"])
def test_every_scheme_gives_the_same_logits_from_a_cache(placed: Transformer, chunks: list[int]) -> None:
    source, target = batch(some(3, 7, 1)), torch.tensor(some(19, 19, 19, seed=1))
    memory, cache = placed.encode(source), placed.new_cache()
    parts = [placed.decode(part, memory, cache) for part in torch.split(target, chunks, dim=1)]
    assert_close(torch.cat(parts, dim=1), placed(source, target))


def test_every_scheme_lets_rows_be_chosen_while_decoding(placed: Transformer) -> None:
    source, target = batch(some(3, 7, 5)), torch.tensor(some(9, 9, 9, seed=1))
    for rows in ([2, 0, 0], [1]):
        chosen = torch.tensor(rows)
        memory, cache = placed.encode(source), placed.new_cache()
        placed.decode(target[:, :4], memory, cache)
        for layer in cache:
            layer.select(chosen)
        memory = memory.select(chosen)
        parts = [placed.decode(target[chosen, place : place + 1], memory, cache) for place in range(4, 9)]
        assert_close(torch.cat(parts, dim=1), placed(source, target)[chosen, 4:])


def test_every_scheme_lets_one_source_be_answered_by_several_rows(placed: Transformer) -> None:
    """As beam search does; with random positions one table then serves all rows."""
    source, target = batch(some(6)), torch.tensor(some(5, 5, 5, seed=1))
    memory = placed.encode(source).select(torch.tensor([0, 0, 0]))
    assert_close(placed.decode(target, memory), torch.cat([placed(source, row[None]) for row in target]))


@pytest.mark.parametrize("width", [1, 5])
def test_every_scheme_ignores_padding(placed: Transformer, width: int) -> None:
    bare, target = batch(some(4)), target_of(*some(6, seed=1))
    assert_close(placed(torch.nn.functional.pad(bare, (0, width), value=PAD), target), placed(bare, target))


def test_every_scheme_needs_no_mask_where_sources_are_equally_long(placed: Transformer) -> None:
    source, target = batch(some(6, 6, 6)), torch.tensor(some(5, 5, 5, seed=1))
    expected = placed(source, target)
    assert_close(placed(source, target, padded=False), expected)
    with torch.no_grad():  # in blocks
        memory, chosen = placed.encode(source, padded=False), torch.tensor([2, 0])
        assert memory.mask is None
        assert_close(placed.decode(target[chosen], memory.select(chosen)), expected[chosen])


def test_every_scheme_is_the_same_with_the_fused_kernel(placed: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = batch(some(3, 7, 1)), torch.tensor(some(5, 5, 5, seed=1))

    placed = copy.deepcopy(placed).requires_grad_()

    def logits_and_gradients() -> list[Tensor]:
        logits = placed(source, target)
        with torch.no_grad():  # source in blocks, target one by one from a cache
            memory, cache = placed.encode(source), placed.new_cache()
            cached = torch.cat([placed.decode(part, memory, cache) for part in torch.split(target, 1, dim=1)], dim=1)
        return [logits, cached, *torch.autograd.grad(logits.square().sum(), list(placed.parameters()))]

    expected, maps = logits_and_gradients(), placed.attention_maps(source, target)
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    monkeypatch.setattr("seqrev.model.attention.attention_weights", None)  # is not called
    for one, other in zip(logits_and_gradients(), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    monkeypatch.undo()
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", {"cpu"})
    for layer, same in zip(placed.attention_maps(source, target), maps, strict=True):
        assert all(one.equal(other) for one, other in zip(layer, same, strict=True))


def test_every_scheme_treats_a_row_as_if_it_were_alone(placed: Transformer) -> None:
    rows, targets = some(1, 7, 4), some(6, 6, 6, seed=1)
    together = placed(batch(rows), target_of(*targets))
    alone = [placed(batch([row]), target_of(target)) for row, target in zip(rows, targets, strict=True)]
    assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("place", [1, 4])
def test_every_scheme_is_causal(placed: Transformer, place: int) -> None:
    source, before = batch(some(4, 2)), target_of(*some(6, 6, seed=1))
    after = before.clone()
    after[:, place] = (after[:, place] - 3 + 1) % (VOCABULARY - 3) + 3
    one, other = placed(source, before), placed(source, after)
    assert_close(one[:, :place], other[:, :place])
    assert (one[:, place] - other[:, place]).abs().amax(-1).min() > 1e-6


def test_every_scheme_but_none_knows_the_order_of_the_source(placed: Transformer) -> None:
    target = target_of(*some(3, seed=1))
    one, other = placed(batch([[4, 5, 6]]), target), placed(batch([[6, 4, 5]]), target)
    if placed.config.positions == "none":
        assert_close(one, other)
    else:
        assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("at_once", [1, 100, 150, 300])
def test_every_scheme_reads_a_source_in_blocks_as_it_reads_it_at_once(
    placed: Transformer, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    source = batch(some(7, 3))
    expected = placed.encode(source)  # gradients are on: at once
    monkeypatch.setattr(transformer, "SCORES_AT_ONCE", at_once)
    for without_gradients in (torch.no_grad, torch.inference_mode):
        with without_gradients():
            memory = placed.encode(source)
        assert_close(memory.states, expected.states)
        assert memory.positions.equal(expected.positions)
        assert memory.lengths.tolist() == [[9], [5]]


@pytest.mark.parametrize(("bound", "most"), [(1_000, 960), (480, 480), (479, 320), (160, 160), (3, 160), (100_000, 6_400)])
def test_without_gradients_no_more_scores_than_the_bound_are_in_memory_at_once(
    monkeypatch: pytest.MonkeyPatch, bound: int, most: int
) -> None:
    """Two rows and two heads of 40 keys are 160 scores a query, and less than one query cannot be asked."""
    sizes: list[int] = []
    original = attention.attention_weights

    def spy(*arguments: Any) -> Tensor:
        weights: Tensor = original(*arguments)
        sizes.append(weights.numel())
        return weights

    monkeypatch.setattr(attention, "attention_weights", spy)
    monkeypatch.setattr(transformer, "SCORES_AT_ONCE", bound)
    model = Transformer(config(positions="rotary"), VOCABULARY).eval()
    with torch.no_grad():
        model.encode(batch(some(38, 30)))
    assert max(sizes) == most
    assert sum(sizes) == 2 * 6_400  # two layers, each query once


@pytest.mark.parametrize(
    "scheme", [{"positions": "rotary", "source_from": "end"}, {"positions": "alibi"}, {"positions": "relative"}, {}]
)
def test_from_a_cache_a_long_answer_is_as_exact_as_at_once_in_single_precision(scheme: dict[str, str]) -> None:
    torch.manual_seed(0)
    shape = {"heads": 1, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 4096, "length_scaling": True}
    model = Transformer(config(**shape, **scheme), VOCABULARY).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "embedding" not in name:
            parameter.data += 0.2 * torch.randn_like(parameter)
    source, target = batch(some(200)), torch.tensor(some(3_000, seed=1))
    expected = model(source, target)[:, 2_900:]
    memory, cache = model.encode(source), model.new_cache()
    model.decode(target[:, :2_900], memory, cache)
    parts = [model.decode(target[:, place : place + 1], memory, cache) for place in range(2_900, 3_000)]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES[2::4], ids=str)
def test_with_random_positions_training_draws_others_every_time_and_evaluation_none(
    scheme: dict[str, str | int],
) -> None:
    torch.manual_seed(0)
    model, source = Transformer(config(**scheme, max_positions=128), VOCABULARY), batch(some(6, 6))
    drawn = [model.encode(source) for _ in range(2)]
    assert not drawn[0].positions.equal(drawn[1].positions)
    for memory in drawn:
        assert memory.table is not None
        row = memory.table[0] if scheme["source_from"] == "start" else memory.table[0].flip(0)
        assert memory.positions.tolist() == [row.tolist()] * 2
    model.eval()
    memory = model.encode(source)
    assert memory.positions[0].sort().values.tolist() == [12 * place for place in range(8)]
    assert model.decode(target_of(*some(6, 6)), memory).isfinite().all()


@pytest.mark.parametrize("tied", [False, True])
def test_the_shapes_are_those_of_the_model(tied: bool) -> None:
    shape = ModelConfig(tie_embeddings=tied)
    shapes = transformer.weight_shapes(shape, 13)
    assert shapes == {name: tuple(weight.shape) for name, weight in Transformer(shape, 13).named_parameters()}
    assert ("output.weight" in shapes) is not tied
    least = transformer.least_weights(shape, 13)
    total = sum(math.prod(one) for one in shapes.values())
    assert 0.9 * total <= least <= total


def test_tied_embeddings_and_output_are_one_matrix_and_the_logits_begin_with_unit_deviation() -> None:
    model = Transformer(config(d_model=64, tie_embeddings=True), 2_000)
    assert model.output.weight is model.source_embedding.weight is model.target_embedding.weight
    logits = model(batch([[4, 5, 6]]), target_of([6, 5]))
    assert float(logits.detach().std()) == pytest.approx(1.0, rel=0.2)
    loose = Transformer(config(d_model=64), 2_000)
    assert len({id(table.weight) for table in (loose.output, loose.source_embedding, loose.target_embedding)}) == 3


def test_shapes_come_without_the_compiler() -> None:
    """It takes seconds to import, and every command asks for the shapes."""
    code = (
        "import sys; from seqrev.config import ModelConfig; from seqrev.model.transformer import weight_shapes; "
        "weight_shapes(ModelConfig(), 13); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
