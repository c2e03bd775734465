"""Adam: the numbers of ``torch.optim.Adam``, without its compiler."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from seqrev.training.optimizer import BETAS, Adam
from seqrev.training.state import TrainingState
from tests.helpers import child_environment
from tests.training.small import same, tiny, trainer, weights_of

FINE, BAD = torch.zeros(()), torch.ones(())


def model() -> nn.Module:
    """The same each time."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))


def gradients(step: int, parameters: list[nn.Parameter]) -> None:
    """Some, other ones at every step."""
    generator = torch.Generator().manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def copies(optimizer: Adam) -> list[Tensor]:
    """Of parameters and state."""
    return [value.detach().clone() for value in (*optimizer.parameters, *optimizer.state.values())]


def test_ten_steps_are_those_of_torch() -> None:
    ours, theirs = model(), model()
    optimizer = Adam(ours.named_parameters())
    other = torch.optim.Adam(theirs.parameters(), betas=BETAS, fused=True)
    for step in range(10):
        gradients(step, optimizer.parameters)
        gradients(step, list(theirs.parameters()))
        rate = 0.01 / (step + 1)
        other.param_groups[0]["lr"] = rate
        optimizer.step(rate, FINE)
        other.step()
    assert optimizer.steps == 10
    for (name, mine), peer in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, peer)
        for kind in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(optimizer.state[f"{kind}.{name}"], other.state[peer][kind])


def test_nothing_changes_where_something_is_not_finite() -> None:
    optimizer = Adam(model().named_parameters())
    gradients(0, optimizer.parameters)
    optimizer.step(0.01, FINE)
    before = copies(optimizer)
    gradients(1, optimizer.parameters)
    optimizer.step(0.01, BAD)
    assert all(map(torch.equal, copies(optimizer), before))
    optimizer.step(0.01, FINE)
    assert not any(map(torch.equal, copies(optimizer), before))


def test_a_step_without_gradients_is_refused() -> None:
    optimizer = Adam(model().named_parameters())
    gradients(0, optimizer.parameters)
    optimizer.zero_grad()
    with pytest.raises(TypeError):
        optimizer.step(0.01, FINE)


def test_a_training_step_does_not_import_the_compiler() -> None:
    code = """
import sys
import numpy as np
from seqrev.config import load_config
from seqrev.training.state import TrainingState
from seqrev.training.step import train_step
train_step(TrainingState(load_config(overrides=["model.d_model=8", "model.d_ff=8"])), np.zeros((64, 3), int))
print("torch._dynamo" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=child_environment(), check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_weight_decay_is_that_of_adamw_and_leaves_norms_and_biases_alone() -> None:
    ours, theirs = (
        TrainingState(tiny(model__positions="relative")).model,
        TrainingState(tiny(model__positions="relative")).model,
    )
    optimizer = Adam(ours.named_parameters(), weight_decay=0.3)
    kept = [value for name, value in theirs.named_parameters() if name.endswith("bias") or "norm." in name]
    decayed = [value for value in theirs.parameters() if not any(value is other for other in kept)]
    assert any(value.ndim > 1 for value in kept)  # the biases of relative positions
    groups = [{"params": kept, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.3}]
    other = torch.optim.AdamW(groups, lr=0.01, betas=BETAS, fused=True)
    for step in range(3):
        gradients(step, optimizer.parameters)
        gradients(step, list(theirs.parameters()))
        optimizer.step(0.01, FINE)
        other.step()
    assert optimizer.steps == 3
    for mine, peer in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, peer)


def test_without_weight_decay_the_two_optimizers_are_the_same() -> None:
    one, other = (trainer(train__optimizer=name) for name in ("adam", "adamw"))
    expected = list(one)
    assert expected == list(other)
    assert same(weights_of(one.state), weights_of(other.state))
    decayed = trainer(train__optimizer="adamw", train__weight_decay=0.5)
    assert list(decayed) != expected
