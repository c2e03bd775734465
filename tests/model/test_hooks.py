"""PyTorch's own hooks reach everything, exactly once a pass, and what they change has its effect."""

import contextlib
import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqrev.model.attention import MultiHeadAttention
from seqrev.model.transformer import Transformer
from tests.model.models import (
    assert_close,
    random_model,
    random_rows,
    small_config,
    source_batch,
    target_batch,
)

SOURCE, TARGET = source_batch(*random_rows(3, 6)), target_batch(*random_rows(5, 5, seed=1))
ATTENTIONS = ["encoder.layers.0.self_attention", "decoder.layers.1.self_attention", "decoder.layers.1.cross_attention"]
HEADS, D_HEAD = 2, 8

each_setting = pytest.mark.parametrize(
    ("positions", "training", "gradients"),
    [
        (p, t, g)
        for p in ("sinusoidal", "learned", "rotary", "alibi", "relative")
        for t in (False, True)
        for g in (False, True)
    ],
)
each_attention = pytest.mark.parametrize("name", ATTENTIONS)
each_kernel = pytest.mark.parametrize("devices", [set(), {"cpu"}], ids=["plain", "fused"])


def make_model(positions: str = "rotary", training: bool = False) -> Transformer:
    dropouts = {"dropout": 0.1, "attention_dropout": 0.1, "query_dropout": 0.1, "attention_noise": 0.5}
    return random_model(0, small_config(positions=positions, **dropouts)).requires_grad_().train(training)


def hookable(model: nn.Module) -> dict[str, nn.Module]:
    """All modules by name, without the lists, which are never called."""
    return {name: module for name, module in model.named_modules() if not isinstance(module, nn.ModuleList)}


@contextlib.contextmanager
def counted_calls(model: nn.Module) -> Iterator[Counter[str]]:
    """How often a forward hook on each module fires."""
    calls: Counter[str] = Counter()

    def hook(name: str) -> Callable[..., None]:
        return lambda *_: calls.update([name])

    handles = [module.register_forward_hook(hook(name)) for name, module in hookable(model).items()]
    yield calls
    for handle in handles:
        handle.remove()


def once(model: nn.Module, *prefixes: str) -> Counter[str]:
    return Counter(name for name in hookable(model) if name.startswith(prefixes))


@each_setting
@each_kernel
def test_every_module_is_called_once_in_a_pass(
    positions: str, training: bool, gradients: bool, devices: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", devices)
    monkeypatch.setattr("seqrev.model.attention.SCORES_AT_ONCE", 1)
    model = make_model(positions, training)
    for arguments in ((SOURCE, TARGET), (SOURCE[1:], TARGET[1:], False)):
        with counted_calls(model) as calls, torch.set_grad_enabled(gradients):
            model(*arguments)
        assert calls == once(model, "")


@each_setting
def test_encoding_calls_the_encoder_once_and_decoding_the_rest(positions: str, training: bool, gradients: bool) -> None:
    model = make_model(positions, training)
    with torch.set_grad_enabled(gradients):
        with counted_calls(model) as calls:
            memory = model.encode(SOURCE)
        assert calls == once(model, "encoder")
        with counted_calls(model) as calls:
            model.decode(TARGET, memory)
        assert calls == once(model, "decoder", "output")
        with counted_calls(model) as calls:
            model.attention_maps(SOURCE, TARGET)
        assert calls == once(model, "encoder", "decoder")


@each_setting
def test_cached_decoding_calls_all_but_what_is_cached_once_a_token(positions: str, training: bool, gradients: bool) -> None:
    model = make_model(positions, training)
    with torch.set_grad_enabled(gradients):
        memory, cache = model.encode(SOURCE), model.new_cache()
        with counted_calls(model) as calls:
            model.decode(TARGET[:, :1], memory, cache)
        expected = once(model, "decoder", "output")
        assert calls == expected
        cached = [name for name in expected if re.search(r"cross_attention\.[kv]_proj", name)]
        assert len(cached) == 4  # two in each layer
        for tokens in (TARGET[:, 1:2], TARGET[:, 2:]):
            with counted_calls(model) as calls:
                model.decode(tokens, memory, cache)
            assert calls == expected - Counter(cached)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "relative"])
def test_backward_hooks_fire_once_and_change_nothing(positions: str) -> None:
    model, calls = make_model(positions), Counter[str]()

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(model(SOURCE, TARGET).square().sum(), list(model.parameters()))

    expected = gradients()
    ids = ("", "encoder", "decoder", "encoder.embedding", "decoder.embedding")  # have no gradient
    with_gradients = [name for name in hookable(model) if name not in ids and not name.endswith("embedding.tokens")]
    for name in with_gradients:
        model.get_submodule(name).register_full_backward_hook(lambda *_, name=name: calls.update([name]))
    for one, other in zip(gradients(), expected, strict=True):
        assert_close(one, other)
    assert {name for name, count in calls.items() if count > 1} == set()
    assert {*calls} >= {name for name in with_gradients if name.endswith(("proj", "softmax", "norm", "linear2"))}


def all_logits(model: Transformer) -> Tensor:
    """Of one parallel pass, and of decoding one token at a time from a cache; with gradients and without."""
    logits = [model(SOURCE, TARGET)]
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            memory, cache = model.encode(SOURCE), model.new_cache()
            logits.append(torch.cat([model.decode(token, memory, cache) for token in torch.split(TARGET, 1, dim=1)], dim=1))
    return torch.stack(logits)


Edit = Callable[[MultiHeadAttention], object]


def assert_same_effect(name: str, add_hook: Callable[[MultiHeadAttention], Any], edit: Edit) -> None:
    """A hook on an attention does what an edit of its weights does, and nothing once it is removed."""
    model = make_model()
    before, edited = all_logits(model), copy.deepcopy(model)
    with torch.no_grad():
        edit(attention_of(edited, name))
    handle = add_hook(attention_of(model, name))
    after = all_logits(model)
    assert_close(after, all_logits(edited))
    assert ((after - before).abs().amax(-1) > 1e-6).any()
    handle.remove()
    assert_close(all_logits(model), before)


def attention_of(model: Transformer, name: str) -> MultiHeadAttention:
    module = model.get_submodule(name)
    assert isinstance(module, MultiHeadAttention)
    return module


def set_to_zero(linear: nn.Linear) -> None:
    linear.weight.zero_()
    linear.bias.zero_()


def scale_by_three(linear: nn.Linear) -> None:
    linear.weight.mul_(3)
    linear.bias.mul_(3)


def uniform(_module: nn.Module, inputs: tuple[Tensor, Tensor | None], weights: Tensor) -> Tensor:
    mask = torch.ones_like(weights) if inputs[1] is None else inputs[1].expand_as(weights).to(weights)
    return mask / mask.sum(-1, keepdim=True)


@each_attention
@each_kernel
def test_uniform_weights_from_a_hook_are_those_of_queries_of_zero(
    name: str, devices: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", devices)
    assert_same_effect(
        name,
        lambda attention: attention.softmax.register_forward_hook(uniform),
        lambda attention: set_to_zero(attention.q_proj),
    )


@each_attention
def test_scores_that_a_hook_scales_are_those_of_scaled_queries(name: str) -> None:
    assert_same_effect(
        name,
        lambda attention: attention.softmax.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0], inputs[1])),
        lambda attention: scale_by_three(attention.q_proj),
    )


@each_attention
@each_kernel
@pytest.mark.parametrize("projection", ["q_proj", "k_proj", "v_proj"])
def test_projections_that_a_hook_scales_are_those_of_scaled_weights(
    name: str, projection: str, devices: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", devices)
    assert_same_effect(
        name,
        lambda attention: getattr(attention, projection).register_forward_hook(lambda module, inputs, output: 3 * output),
        lambda attention: scale_by_three(getattr(attention, projection)),
    )


@each_attention
@each_kernel
@pytest.mark.parametrize("head", range(HEADS))
def test_a_head_that_a_hook_switches_off_is_one_without_columns_in_the_output(
    name: str, head: int, devices: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqrev.model.attention.FUSED_DEVICES", devices)
    part = slice(head * D_HEAD, (head + 1) * D_HEAD)

    def zero(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        found = inputs[0].clone()
        found[..., part] = 0
        return (found,)

    assert_same_effect(
        name,
        lambda attention: attention.out_proj.register_forward_pre_hook(zero),
        lambda attention: attention.out_proj.weight[:, part].zero_(),
    )


def test_a_layer_whose_states_a_hook_replaces_is_skipped() -> None:
    model = make_model()
    skipped = copy.deepcopy(model)
    del skipped.decoder.layers[1], skipped.encoder.layers[0]
    for layer in (model.decoder.layers[1], model.encoder.layers[0]):
        layer.register_forward_hook(lambda module, inputs, output: output._replace(states=inputs[0]))
    assert_close(model(SOURCE, TARGET), skipped(SOURCE, TARGET))


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "relative"])
@pytest.mark.parametrize("gradients", [False, True])
def test_on_a_long_sequence_a_hook_sees_the_weights_that_are_returned(positions: str, gradients: bool) -> None:
    """So long that the fused kernel would compute it, which has no weights."""
    model = random_model(0, small_config(positions=positions, max_positions=512))
    source, target, recorded = source_batch(*random_rows(300)), target_batch(*random_rows(270, seed=1)), list[Tensor]()
    maps, plain = model.attention_maps(source, target), model(source, target)

    def record(_module: nn.Module, _inputs: Any, weights: Tensor) -> None:
        recorded.append(weights)

    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.softmax.register_forward_hook(record)
    with torch.set_grad_enabled(gradients):
        assert_close(model(source, target), plain)
    decoder_weights = [weights for pair in zip(maps.decoder, maps.cross, strict=True) for weights in pair]
    assert len(recorded) == 6
    for one, other in zip(recorded, [*maps.encoder, *decoder_weights], strict=True):
        assert_close(one, other)
