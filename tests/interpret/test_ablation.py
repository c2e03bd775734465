"""A model without one of its parts: that nothing else is missing, and that all is there again afterwards."""

from contextlib import ExitStack

import pytest
import torch
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.interpret.ablation import How, ablate
from seqrev.interpret.attention_kinds import Kind
from seqrev.interpret.interventions import intervene, record
from seqrev.model.transformer import Transformer
from tests.interpret.by_hand import reverser_by_hand
from tests.interpret.models import random_model

KINDS: tuple[Kind, ...] = ("cross", "encoder", "decoder")
SOURCES = [[4, 8, 2, 9], [1], [3, 3, 5, 6], [7, 0], [1, 2, 3, 4, 5, 6]]
SOURCE = torch.tensor([[1, 7, 11, 5, 2]])
TARGET = torch.tensor([[1, 7, 9, 9]])


def without(model: Transformer, *names: str, how: How = "zero", seed: int = 0) -> Tensor:
    with ablate(model, names, how, SOURCES, seed):
        logits: Tensor = model(SOURCE, TARGET)
    return logits


def out_proj_weight(model: Transformer, kind: Kind, layer: int) -> Tensor:
    stack = model.encoder if kind == "encoder" else model.decoder
    return stack.layers[layer - 1].get_parameter(f"{'cross' if kind == 'cross' else 'self'}_attention.out_proj.weight")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [1, 2])
def test_a_head_without_output_is_one_whose_columns_of_out_proj_are_zero(kind: Kind, head: int) -> None:
    model, other = random_model(encoder_layers=2), random_model(encoder_layers=2)
    out_proj_weight(other, kind, 2)[:, (head - 1) * 8 : head * 8] = 0  # d_head is 8
    torch.testing.assert_close(without(model, f"{kind}.2.{head}"), other(SOURCE, TARGET))
    assert not torch.allclose(other(SOURCE, TARGET), model(SOURCE, TARGET))


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_without_all_its_heads_adds_only_a_bias(kind: Kind) -> None:
    model = random_model()
    heads = without(model, f"{kind}.1.1", f"{kind}.1.2")
    part = (model.encoder if kind == "encoder" else model.decoder).layers[0]
    bias = part.get_parameter(f"{'cross' if kind == 'cross' else 'self'}_attention.out_proj.bias")
    with intervene(model, {f"{kind}.1": lambda value, _: bias.expand_as(value)}):
        assert torch.equal(model(SOURCE, TARGET), heads)
    bias.zero_()
    assert torch.equal(without(model, f"{kind}.1.1", f"{kind}.1.2"), without(model, f"{kind}.1"))


def test_ablations_within_each_other_are_one_of_all() -> None:
    model = random_model()
    with ExitStack() as stack:
        for name in ("cross.1.1", "decoder.2.2"):
            stack.enter_context(ablate(model, [name]))
        nested = model(SOURCE, TARGET)
    assert torch.equal(nested, without(model, "cross.1.1", "decoder.2.2"))


def test_the_mean_is_over_all_tokens_of_all_sequences() -> None:
    model = random_model()
    values = []
    for sequence in SOURCES:
        source = torch.tensor([[1, *(symbol + 3 for symbol in sequence), 2]])
        target = torch.tensor([[1, *(symbol + 3 for symbol in reversed(sequence))]])
        values.append(record(model, source, target, ["cross.1.2"])["cross.1.2"][0])
    mean = torch.cat(values).mean(dim=0)
    with ablate(model, ["cross.1.2"], "mean", SOURCES):
        found = record(model, SOURCE, TARGET, ["cross.1.2"])["cross.1.2"]
    torch.testing.assert_close(found, mean.expand(1, 4, 8))


def test_a_sample_is_drawn_from_what_is_there_by_seed() -> None:
    model = random_model()
    names = ["cross.1.2"]
    seen = torch.cat(
        [
            record(
                model,
                torch.tensor([[1, *(symbol + 3 for symbol in one), 2]]),
                torch.tensor([[1, *(symbol + 3 for symbol in reversed(one))]]),
                names,
            )["cross.1.2"][0]
            for one in SOURCES
        ]
    )
    with ablate(model, names, "resample", SOURCES):
        found = record(model, SOURCE, TARGET, names)["cross.1.2"][0]
    assert all(torch.isclose(token, seen).all(dim=-1).any() for token in found)
    assert not torch.equal(found[0], found[1])
    assert torch.equal(without(model, *names, how="resample"), without(model, *names, how="resample"))
    assert not torch.equal(without(model, *names, how="resample"), without(model, *names, how="resample", seed=1))


@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_of_the_reverser_by_hand_only_its_one_head_is_missed(how: How) -> None:
    model = reverser_by_hand()
    source, target = torch.tensor([[1, 7, 11, 5, 12, 2]]), torch.tensor([[1, 12, 5, 11, 7]])
    right = model(source, target).argmax(-1)
    assert right.tolist() == [[12, 5, 11, 7, 2]]
    for name in ("cross.1.2", "encoder.1", "encoder.1.1", "decoder.1", "feed_forward.encoder.1", "feed_forward.decoder.1"):
        with ablate(model, [name], how, SOURCES):
            assert torch.equal(model(source, target).argmax(-1), right)
    with ablate(model, ["cross.1.1"], how, SOURCES):
        assert (model(source, target).argmax(-1) == right).float().mean() < 0.5


def test_what_cannot_be_ablated_is_refused() -> None:
    model = random_model()
    with pytest.raises(UsageError, match=r"cross\.1\.3. is no point"), ablate(model, ["cross.1.3"]):
        pass
    with pytest.raises(UsageError, match="'half' is no way to ablate"), ablate(model, ["cross.1.1"], "half"):  # type: ignore[arg-type]
        pass
    with pytest.raises(UsageError, match="there are none"), ablate(model, ["cross.1.1"], "mean"):
        pass
    with pytest.raises(UsageError, match="only zero"), ablate(model, ["cross.1.1.weights"], "mean", SOURCES):
        pass
