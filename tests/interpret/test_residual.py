"""Reading the residual stream: the lens ends with the answer, and the attributions sum to the logits."""

import numpy as np
import pytest
import torch

from seqrev.config import ModelConfig
from seqrev.interpret.attention import record_attention
from seqrev.interpret.residual import attribute_logits, logit_lens, read_residual
from seqrev.model.transformer import Transformer
from tests.interpret.by_hand import reverser_by_hand
from tests.interpret.models import random_model
from tests.model.models import each_scheme, random_rows, scheme_model, source_batch, target_batch

SOURCE, TARGET = source_batch(*random_rows(4, 6)), target_batch(*random_rows(5, 5, seed=1))


@each_scheme
def test_attributions_sum_to_the_logits(scheme: str) -> None:
    model = scheme_model(scheme)
    parts = attribute_logits(model, SOURCE, TARGET)
    total = torch.stack(list(parts.values())).sum(dim=0)
    torch.testing.assert_close(total, model(SOURCE, TARGET), rtol=0, atol=1e-9)
    assert len(parts) == 1 + 2 * (2 + 2 + 2 + 1) + 1  # start; heads and biases of two attentions, feed-forward; bias


def test_attributions_sum_to_the_logits_with_tied_embeddings() -> None:
    torch.manual_seed(0)
    config = ModelConfig(d_model=16, heads=2, encoder_layers=1, decoder_layers=1, d_ff=16, tie_embeddings=True)
    model = Transformer(config, 13).double().eval()
    total = torch.stack(list(attribute_logits(model, SOURCE, TARGET).values())).sum(dim=0)
    torch.testing.assert_close(total, model(SOURCE, TARGET).detach(), rtol=0, atol=1e-9)


@each_scheme
def test_the_lens_at_the_last_layer_is_the_answer(scheme: str) -> None:
    model = scheme_model(scheme)
    lens = logit_lens(model, SOURCE, TARGET)
    assert lens.shape == (3, 2, TARGET.shape[1], 13)
    assert torch.equal(lens[-1], model(SOURCE, TARGET).softmax(-1))
    torch.testing.assert_close(lens.sum(dim=-1), torch.ones(lens.shape[:-1], dtype=lens.dtype))


def test_the_lens_before_the_first_layer_knows_only_the_token_and_its_step() -> None:
    model = random_model()
    other = source_batch(*random_rows(4, 6, seed=5))
    one, two = logit_lens(model, SOURCE, TARGET), logit_lens(model, other, TARGET)
    assert torch.equal(one[0], two[0])
    assert not torch.allclose(one[1], two[1])


def test_the_causes_of_the_reverser_by_hand() -> None:
    model = reverser_by_hand()
    reading = read_residual(model, record_attention(model, [4, 8, 2, 9]))
    assert [token for token, _ in reading.most_probable()[-1]] == ["9", "2", "8", "4", "<EOS>"]
    np.testing.assert_allclose(reading.lens[0], 1 / 13)
    given = dict(zip(reading.parts, reading.of_emitted(), strict=True))
    assert (given.pop("cross.1.1") > 100).all()
    for name, values in given.items():
        np.testing.assert_allclose(values, 0, atol=1e-9, err_msg=name)


def test_what_is_added_to_all_logits_alike_does_not_count() -> None:
    model = random_model()
    seen = record_attention(model, [4, 8, 2])
    before = read_residual(model, seen)
    model.output.bias.add_(7)
    after = read_residual(model, seen)
    np.testing.assert_allclose(after.of_emitted(), before.of_emitted(), atol=1e-9)
    np.testing.assert_allclose(after.of_emitted(against=2), before.of_emitted(against=2), atol=1e-9)
    assert after.attribution.sum() == pytest.approx(before.attribution.sum() + 7 * 13 * len(seen.emitted_tokens))
    steps = np.arange(len(before.emitted))
    logits = before.attribution.sum(axis=0)
    expected = logits[steps, before.emitted] - logits[:, 2]
    np.testing.assert_allclose(before.of_emitted(against=2).sum(axis=0), expected, atol=1e-9)
