"""Points, caches and interventions: their laws, for every position scheme."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.interpret.interventions import Cache, from_cache, intervene, points, record
from seqrev.model.transformer import Transformer
from tests.model.models import (
    VOCABULARY,
    each_scheme,
    random_model,
    random_rows,
    scheme_model,
    sinusoidal_model,
    small_config,
    source_batch,
    target_batch,
)

NAMES = list(points(small_config()))
SOURCE, OTHER = source_batch(*random_rows(4, 6)), source_batch(*random_rows(4, 6, seed=9))
TARGET = target_batch(*random_rows(5, 5, seed=1))


def same(value: Tensor, _cache: Cache) -> Tensor:
    return value.clone()


def test_the_values_have_the_shapes_that_are_documented() -> None:
    found = record(sinusoidal_model(0), SOURCE, TARGET, NAMES)
    src, tgt, d_model, d_head = SOURCE.shape[1], TARGET.shape[1], 16, 8
    expected = {
        "cross.2.1": (2, tgt, d_head),
        "cross.2.1.query": (2, tgt, d_head),
        "cross.2.1.key": (2, src, d_head),
        "cross.2.1.weights": (2, tgt, src),
        "encoder.1.2.weights": (2, src, src),
        "decoder.1": (2, tgt, d_model),
        "feed_forward.encoder.2": (2, src, d_model),
        "residual.encoder.0": (2, src, d_model),
        "residual.decoder.2": (2, tgt, d_model),
        "tokens.decoder": (2, tgt, d_model),
        "logits": (2, tgt, VOCABULARY),
    }
    assert {name: tuple(found[name].shape) for name in expected} == expected
    assert list(found) != NAMES  # in the order in which the model computes them
    assert set(found) == set(NAMES)


def test_heads_lie_side_by_side_and_weights_are_those_of_the_maps() -> None:
    model = sinusoidal_model(0)
    found, maps = record(model, SOURCE, TARGET, NAMES), model.attention_maps(SOURCE, TARGET)
    assert torch.equal(found["cross.2.2.weights"], maps.cross[1][:, 1])
    assert torch.equal(found["encoder.1.1.weights"], maps.encoder[0][:, 0])
    for kind, layer in (
        ("cross", model.decoder.layers[1].cross_attention),
        ("decoder", model.decoder.layers[1].self_attention),
    ):
        heads = torch.cat((found[f"{kind}.2.1"], found[f"{kind}.2.2"]), dim=-1)
        torch.testing.assert_close(layer.out_proj(heads), found[f"{kind}.2"])


def test_the_residual_stream_is_the_sum_of_what_the_blocks_add() -> None:
    found = record(sinusoidal_model(0), SOURCE, TARGET, NAMES)
    for stack, blocks in (("encoder", ["encoder"]), ("decoder", ["decoder", "cross"])):
        for layer in (1, 2):
            added = sum(found[f"{block}.{layer}"] for block in [*blocks, f"feed_forward.{stack}"])
            torch.testing.assert_close(
                found[f"residual.{stack}.{layer - 1}"] + added, found[f"residual.{stack}.{layer}"], rtol=0, atol=1e-12
            )


@each_scheme
def test_patching_nothing_changes_nothing(scheme: str) -> None:
    """To the bit: an intervention that returns what it was given, and one that is over."""
    model = scheme_model(scheme)
    before = model(SOURCE, TARGET)
    with intervene(model, dict.fromkeys(points(model.config), same)):
        assert torch.equal(model(SOURCE, TARGET), before)
    with suppress(RuntimeError), intervene(model, {"cross.1.1": lambda value, _: 0 * value}):
        assert not torch.equal(model(SOURCE, TARGET), before)
        raise RuntimeError
    assert torch.equal(model(SOURCE, TARGET), before)


@each_scheme
def test_patching_everything_gives_the_clean_answer_to_the_bit(scheme: str) -> None:
    model = scheme_model(scheme)
    clean, corrupt = model(SOURCE, TARGET), model(OTHER, TARGET)
    assert not torch.equal(clean, corrupt)
    cache = record(model, SOURCE, TARGET, points(model.config))
    with intervene(model, {name: from_cache(name) for name in cache}, cache):
        assert torch.equal(model(OTHER, TARGET), clean)


@pytest.mark.parametrize("everything", [["residual.encoder.2"], ["residual.decoder.2"], ["tokens.encoder"]])
def test_a_cut_through_the_whole_model_is_everything(everything: list[str]) -> None:
    model = sinusoidal_model(0)
    cache = record(model, SOURCE, TARGET, everything)
    with intervene(model, {name: from_cache(name) for name in everything}, cache):
        assert torch.equal(model(OTHER, TARGET), model_logits(model, SOURCE))


def model_logits(model: Transformer, source: Tensor) -> Tensor:
    """Of an equal model that nobody intervenes in."""
    other = random_model(0, model.config)
    logits: Tensor = other(source, TARGET)
    return logits


@given(
    step=st.integers(0, 5),
    name=st.sampled_from([name for name in NAMES if name.startswith(("decoder", "cross", "residual.d"))]),
)
def test_a_change_at_a_step_is_not_felt_before_it(step: int, name: str) -> None:
    """The causal mask: for every point of the decoder. (Keys and values of the cross-attention belong to no step.)"""
    if name.startswith("cross") and name.endswith((".key", ".value")):
        return
    model = sinusoidal_model(1)

    def change(value: Tensor, _cache: Cache) -> Tensor:
        value = value.clone()
        value[:, step] = 1 - value[:, step]
        return value

    before = model(SOURCE, TARGET)
    with intervene(model, {name: change}):
        after = model(SOURCE, TARGET)
    assert torch.equal(after[:, :step], before[:, :step])
    asks = name.endswith((".query", ".key"))  # where there is one key only, it has all weight, whatever is asked
    assert asks or not torch.equal(after[:, step:], before[:, step:])


@each_scheme
def test_what_is_at_a_padded_position_has_no_influence(scheme: str) -> None:
    model = scheme_model(scheme)
    before = model(SOURCE, TARGET)  # the first source has two positions of padding

    def change(value: Tensor, _cache: Cache) -> Tensor:
        value = value.clone()
        value[0, -2:] += 1
        return value

    for name in ("tokens.encoder", "residual.encoder.1", "cross.1.1.value"):
        with intervene(model, {name: change}):
            assert torch.equal(model(SOURCE, TARGET), before)


def test_interventions_at_one_point_follow_each_other_and_are_seen_by_a_record() -> None:
    model = sinusoidal_model(0)
    with (
        intervene(model, {"cross.1.1": lambda value, _: torch.ones_like(value)}),
        intervene(model, {"cross.1.1": lambda value, _: value + 1}),
    ):
        found = record(model, SOURCE, TARGET, ["cross.1.1", "cross.1.2"])
    assert (found["cross.1.1"] == 2).all()
    assert not (found["cross.1.2"] == 2).any()


@pytest.mark.parametrize(
    "name", ["cross.3.1", "cross.1.3", "cross.0.1", "encoder", "residual.decoder.3", "", "cross.1.1.out"]
)
def test_a_point_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no point of this model, which has 2 \\+ 2 layers of 2 heads"):
        record(sinusoidal_model(0), SOURCE, TARGET, [name])
