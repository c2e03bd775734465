"""One training step: its loss, its gradient, its randomness, its precision."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqrev.model.tensors import to_tensors
from seqrev.model.weights import load_weights
from seqrev.task import BOS, ENDED, EOS, PAD
from seqrev.training.events import Step
from seqrev.training.schedule import learning_rate
from seqrev.training.state import TrainingState
from seqrev.training.step import replace_symbols, token_loss, train_step
from seqrev.training.trainer import validate
from tests.training.small import BATCH, NOISE, ROWS, calm, negative_log_likelihoods, same, tiny, trainer, weights_of

MIXED = np.array([[0, 1, 2], [3, ENDED, ENDED], [1, 1, ENDED], [2, ENDED, ENDED]])


def test_a_step_uses_the_learning_rate_of_its_index() -> None:
    config = tiny()
    steps = [event for event in trainer() if isinstance(event, Step)]
    assert [event.lr for event in steps] == [learning_rate(step, config.train) for step in range(7)]
    state = TrainingState(tiny(train__lr=0.0))
    before = weights_of(state)
    train_step(state, BATCH)
    assert same(before, weights_of(state))


def test_the_loss_is_the_mean_of_the_tokens_that_are_not_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[3, 6, EOS, PAD], [4, EOS, PAD, PAD]])
    manual = [
        math.log(sum(math.exp(logit) for logit in row)) - row[label]
        for row, label in zip(logits.flatten(0, 1).tolist(), labels.flatten().tolist(), strict=True)
        if label != PAD
    ]
    assert len(manual) == 5
    assert float(token_loss(logits, labels)) == pytest.approx(sum(manual) / 5, rel=1e-12)
    logits[labels == PAD] = 100 * torch.randn(3, 7, generator=generator, dtype=torch.float64)
    assert float(token_loss(logits, labels)) == pytest.approx(sum(manual) / 5, rel=1e-12)


def test_source_and_target_are_framed_and_the_target_is_the_reverse() -> None:
    source, target = to_tensors(np.array([[0, 1, 2], [3, 3, 0]]), "reverse", torch.device("cpu"))
    assert source.tolist() == [[BOS, 3, 4, 5, EOS], [BOS, 6, 6, 3, EOS]]
    assert target.tolist() == [[BOS, 5, 4, 3, EOS], [BOS, 3, 6, 6, EOS]]


def test_the_loss_of_a_step_is_that_of_each_next_token_given_those_before_it() -> None:
    state = calm()
    manual = [value for source in BATCH.tolist() for value in negative_log_likelihoods(state, source)]
    step = train_step(state, BATCH)
    assert step.loss == pytest.approx(sum(manual) / len(manual), abs=1e-5)
    assert step.tokens == len(manual) == 12
    assert step.step == state.step == 1


def test_a_step_goes_down_the_gradient() -> None:
    state = calm(train__warmup_steps=0)
    first = [train_step(state, BATCH).loss for _ in range(5)]
    assert first == sorted(first, reverse=True)


def test_steps_are_those_of_adam_on_the_clipped_gradient() -> None:
    """Written out once more: Kingma and Ba (2015), algorithm 1, with the second decay rate of the Transformer paper."""
    state, model = calm(train__max_grad_norm=0.5), calm().model.train()
    first = [torch.zeros_like(parameter) for parameter in model.parameters()]
    second = [torch.zeros_like(parameter) for parameter in model.parameters()]
    source, target = to_tensors(BATCH, "reverse", torch.device("cpu"))
    for step in range(1, 5):
        train_step(state, BATCH)
        loss = token_loss(model(source, target[:, :-1]), target[:, 1:])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        shrink = min(1.0, 0.5 / float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
        rate = learning_rate(step - 1, state.config.train)
        with torch.no_grad():
            for parameter, gradient, mean, square in zip(model.parameters(), gradients, first, second, strict=True):
                mean += 0.1 * (shrink * gradient - mean)
                square += 0.02 * ((shrink * gradient) ** 2 - square)
                parameter.sub_(rate * mean / (1 - 0.9**step) / ((square / (1 - 0.98**step)).sqrt() + 1e-8))
    for (name, one), other in zip(state.model.named_parameters(), model.parameters(), strict=True):
        if not name.endswith("k_proj.bias"):  # its gradient is nothing but rounding, which Adam makes large
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("max_norm", [0.05, 0.0, 1e6])
def test_the_gradient_is_clipped_and_its_norm_is_that_from_before(max_norm: float) -> None:
    state = calm(train__max_grad_norm=max_norm)
    step = train_step(state, BATCH)
    gradients = [parameter.grad for parameter in state.model.parameters() if parameter.grad is not None]
    left = float(torch.stack([gradient.norm() for gradient in gradients]).norm())
    assert step.gradient_norm > 0.1
    assert left == pytest.approx(max_norm if max_norm == 0.05 else step.gradient_norm, rel=1e-4)


def test_gradients_do_not_add_up_over_steps() -> None:
    state, other = calm(train__lr=0.0), calm(train__lr=0.0)
    train_step(state, BATCH[:, :1])
    train_step(state, BATCH)
    train_step(other, BATCH)
    for one, two in zip(state.model.parameters(), other.model.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        assert one.grad.equal(two.grad)


@pytest.mark.parametrize("name", NOISE, ids=lambda name: name[7:])
def test_what_is_random_in_a_step_depends_on_seed_and_step_and_nothing_else(name: str) -> None:
    def loss(step: int, seed: int = 3, before: int = 0) -> float:
        state = TrainingState(tiny(**NOISE | {name: 0.5}, train__lr=0.0))
        for parameter in state.trained.parameters():
            parameter.data *= 3
        state.config = tiny(**NOISE | {name: 0.5}, train__lr=0.0, seed=seed)  # the weights stay
        state.step = step
        torch.manual_seed(before)
        return train_step(state, BATCH).loss

    assert loss(0) == loss(0, before=1)
    assert loss(4) == loss(4, before=2)
    assert len({loss(0), loss(1), loss(4), loss(0, seed=4)}) == 4


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "alibi", "none"])
def test_a_step_that_is_not_logged_reads_nothing_from_the_device(positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device tensors have no content: whatever would wait for a GPU to know a number fails there."""
    monkeypatch.setattr("torch.autocast", lambda *arguments, **options: nullcontext())  # knows no meta device
    state = TrainingState(tiny(model__positions=positions, model__length_scaling=True, train__log_every=4), "meta")
    monkeypatch.setattr(state.optimizer, "step", lambda lr, found_inf: None)
    state.step = 1
    assert math.isnan(train_step(state, BATCH).loss)
    assert math.isnan(train_step(state, BATCH).loss)
    with pytest.raises(RuntimeError, match="meta"):
        train_step(state, BATCH)  # the fourth, which is logged


def test_bfloat16_is_for_products_and_the_weights_stay_float32() -> None:
    exact, rough = calm(), calm(train__precision="bfloat16")
    losses = [(train_step(exact, BATCH).loss, train_step(rough, BATCH).loss) for _ in range(5)]
    assert all(one != other for one, other in losses)
    assert all(one == pytest.approx(other, rel=0.02) for one, other in losses)
    assert {value.dtype for value in rough.model.state_dict().values()} == {torch.float32}
    assert {array.dtype for group in rough.to_arrays().values() for array in group.values()} == {np.dtype(np.float32)}
    assert validate(exact, ROWS.validation).loss == pytest.approx(validate(rough, ROWS.validation).loss, rel=0.02)


def test_a_compiled_training_is_the_same_and_so_are_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled by the backend that only traces; the one that generates code takes minutes."""
    compiled: list[object] = []

    def trace(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(inputs)
        return graph.forward

    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compile_module(module, backend=trace))
    plain, state = calm(), calm(train__compile=True)
    batches = [BATCH, BATCH[:, :2], MIXED, BATCH[:, :1], BATCH]  # of changing length
    assert [train_step(state, batch).loss for batch in batches] == pytest.approx(
        [train_step(plain, batch).loss for batch in batches], rel=1e-5
    )
    assert compiled
    assert state.to_arrays()["model"].keys() == plain.to_arrays()["model"].keys()
    assert validate(state, ROWS.validation).loss == pytest.approx(validate(plain, ROWS.validation).loss, rel=1e-5)
    load_weights(plain.model, state.to_arrays()["model"])


# --- sequences of different lengths together --------------------------------------------------------------------------


def test_padding_changes_neither_loss_nor_gradient() -> None:
    """The step on a mixed batch is that on its rows one by one, each with as much weight as it has tokens."""
    state = calm(train__lr=0.0, train__max_grad_norm=0.0)
    step = train_step(state, MIXED)
    assert step.tokens == 4 + 2 + 3 + 2
    gradients = [parameter.grad.clone() for parameter in state.model.parameters() if parameter.grad is not None]
    loss, sums = 0.0, [torch.zeros_like(gradient) for gradient in gradients]
    for row in MIXED:
        alone = calm(train__lr=0.0, train__max_grad_norm=0.0)
        only = train_step(alone, row[None, row != ENDED])
        loss += only.loss * only.tokens / step.tokens
        for total, parameter in zip(sums, alone.model.parameters(), strict=True):
            assert parameter.grad is not None
            total += parameter.grad * only.tokens / step.tokens
    assert step.loss == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(gradients, sums, rtol=1e-4, atol=1e-7)


def test_more_padding_changes_nothing_either() -> None:
    wide = np.concatenate((MIXED, np.full((4, 5), ENDED)), axis=1)
    one, other = calm(), calm()
    assert train_step(one, MIXED).loss == pytest.approx(train_step(other, wide).loss, rel=1e-6)
    for name, value in one.model.state_dict().items():
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(value, other.model.state_dict()[name], rtol=1e-4, atol=1e-5)


# --- noise ------------------------------------------------------------------------------------------------------------


def test_a_share_of_the_symbols_is_replaced_by_any_symbol_and_nothing_else_is() -> None:
    ids = torch.tensor([BOS, *[3] * 1000, *[7] * 1000, EOS, PAD, PAD]).repeat(4, 1)
    torch.manual_seed(0)
    found = replace_symbols(ids, 0.3, vocabulary_size=8)
    special = ids < 3
    assert found[special].equal(ids[special])
    changed = (found != ids)[~special].float().mean()
    assert float(changed) == pytest.approx(0.3 * 4 / 5, abs=0.02)  # one of the five is the same
    drawn = torch.bincount(found[:, 1:1001][found[:, 1:1001] != 3], minlength=8)
    assert drawn[:4].sum() == 0
    assert (drawn[4:] / drawn.sum()).tolist() == pytest.approx([0.25] * 4, abs=0.04)
    assert replace_symbols(ids, 0.0, 8) is ids


def test_what_the_decoder_reads_is_disturbed_and_what_it_should_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Tensor]] = {"read": [], "asked": []}
    state = calm(train__target_noise=0.5)
    state.model.decoder.register_forward_pre_hook(lambda _, inputs: seen["read"].append(inputs[0]))

    def spy(logits: Tensor, labels: Tensor) -> Tensor:
        seen["asked"].append(labels)
        return token_loss(logits, labels)

    monkeypatch.setattr("seqrev.training.step.token_loss", spy)
    for _ in range(3):
        train_step(state, BATCH)
    _, target = to_tensors(BATCH, "reverse", torch.device("cpu"))
    assert all(labels.equal(target[:, 1:]) for labels in seen["asked"])
    assert not any(read.equal(target[:, :-1]) for read in seen["read"])
    assert not seen["read"][0].equal(seen["read"][1])  # another draw at each step
    validate(state, ROWS.validation)
    again = calm(train__target_noise=0.5)
    again.step = 1
    torch.manual_seed(5)
    again.model.decoder.register_forward_pre_hook(lambda _, inputs: seen["read"].append(inputs[0]))
    train_step(again, BATCH)
    assert seen["read"][-1].equal(seen["read"][1])  # a function of seed and step


def test_the_attention_noise_of_a_step_is_its_share_of_the_whole() -> None:
    def noise(step: int, warmup: int) -> Tensor:
        """What was added to the scores of cross-attention."""
        scores: list[Tensor] = []
        for deviation in (5.0, 0.0):
            state = calm(model__attention_noise=deviation, train__noise_warmup_steps=warmup)
            state.step = step
            softmax = state.model.decoder.layers[0].cross_attention.softmax
            softmax.register_forward_pre_hook(lambda _, inputs: scores.append(inputs[0].detach()))
            train_step(state, BATCH)
        with_noise, without = scores
        return with_noise - without

    whole = noise(step=5, warmup=0)
    assert float(whole.std()) == pytest.approx(5.0, rel=0.2)
    torch.testing.assert_close(noise(step=5, warmup=6), whole)
    torch.testing.assert_close(noise(step=5, warmup=60), whole / 10, rtol=1e-4, atol=1e-5)
