"""The decoder from a cache, and the weights it returns."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.model.decoder import DecoderOutput
from seqrev.model.transformer import Transformer
from tests.model.models import (
    VOCABULARY,
    assert_close,
    each_scheme,
    random_rows,
    scheme_model,
    sinusoidal_model,
    small_config,
    source_batch,
)

FEW = settings(max_examples=25, deadline=None)

symbols = st.integers(3, VOCABULARY - 1)
sources = st.lists(symbols, min_size=1, max_size=7)
seeds = st.integers(0, 2)


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
    model, source, length = sinusoidal_model(seed), source_batch(*rows), sum(chunks)
    target = torch.tensor([data.draw(st.lists(symbols, min_size=length, max_size=length)) for _ in rows])
    expected, memory, cache = model(source, target), model.encode(source), model.new_cache()
    parts = [model.decode(part, memory, cache) for part in torch.split(target, chunks, dim=1)]
    assert_close(torch.cat(parts, dim=1), expected)


@FEW
@given(seed=seeds, rows=st.lists(sources, min_size=2, max_size=3), data=st.data())
def test_rows_of_a_cache_can_be_chosen_while_decoding(seed: int, rows: list[list[int]], data: st.DataObject) -> None:
    model, source = sinusoidal_model(seed), source_batch(*rows)
    target = torch.tensor([data.draw(st.lists(symbols, min_size=5, max_size=5)) for _ in rows])
    chosen = torch.tensor(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4)))
    memory, cache = model.encode(source), model.new_cache()
    model.decode(target[:, :3], memory, cache)
    for layer in cache:
        layer.select(chosen)
    rest = model.decode(target[chosen, 3:], memory.select(chosen), cache)
    assert_close(rest, model(source, target)[chosen, 3:])


@pytest.mark.parametrize(
    "scheme", [{"positions": "rotary", "source_from": "end"}, {"positions": "alibi"}, {"positions": "relative"}, {}]
)
def test_from_a_cache_a_long_answer_is_as_exact_as_at_once_in_single_precision(scheme: dict[str, str]) -> None:
    torch.manual_seed(0)
    shape = {"heads": 1, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 4096, "length_scaling": True}
    model = Transformer(small_config(**shape, **scheme), VOCABULARY).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "embedding" not in name:
            parameter.data += 0.2 * torch.randn_like(parameter)
    source, target = source_batch(*random_rows(200)), torch.tensor(random_rows(3_000, seed=1))
    expected = model(source, target)[:, 2_900:]
    memory, cache = model.encode(source), model.new_cache()
    model.decode(target[:, :2_900], memory, cache)
    parts = [model.decode(target[:, position : position + 1], memory, cache) for position in range(2_900, 3_000)]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=0, atol=1e-4)


def test_the_decoder_gives_the_states_of_the_logits_and_weights_only_where_they_are_asked_for() -> None:
    model, target = sinusoidal_model(0), torch.tensor(random_rows(4, 4, seed=1))
    memory = model.encode(source_batch(*random_rows(3, 5)))
    plain: DecoderOutput = model.decoder(target, memory)
    assert (plain.self_weights, plain.cross_weights) == ((), ())
    assert_close(model.output(plain.states), model.decode(target, memory))


@each_scheme
def test_weights_from_a_cache_are_the_rows_of_the_whole_map(scheme: str) -> None:
    model, target = scheme_model(scheme), torch.tensor(random_rows(5, 5, seed=1))
    memory, cache = model.encode(source_batch(*random_rows(3, 6))), model.new_cache()
    whole: DecoderOutput = model.decoder(target, memory, need_weights=True)
    for position, token in enumerate(torch.split(target, 1, dim=1)):
        step: DecoderOutput = model.decoder(token, memory, cache, need_weights=True)
        assert_close(step.states[:, 0], whole.states[:, position])
        for one, all_rows in zip(step.self_weights, whole.self_weights, strict=True):
            assert_close(one[:, :, 0], all_rows[:, :, position, : position + 1])
        for one, all_rows in zip(step.cross_weights, whole.cross_weights, strict=True):
            assert_close(one[:, :, 0], all_rows[:, :, position])
