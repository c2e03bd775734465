"""A training so small that every test can have its own: few weights, few steps, few rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqrev.config import Config
from seqrev.task import BOS, EOS
from seqrev.training.state import TrainingState
from seqrev.training.trainer import Trainer, TrainingRows

NOISE: dict[str, Any] = {
    f"model__{name}": 0.0
    for name in ("dropout", "attention_dropout", "attention_noise", "query_dropout", "self_query_dropout")
} | {"train__target_noise": 0.0}
ROWS = TrainingRows(
    train=[[0], [1], [2], [3], [0, 1], [2, 3], [1, 1], [3, 0], [2, 2], [1, 2, 3], [3, 2, 1], [0, 0, 1], [3, 3, 0]],
    validation=[[1, 0], [0, 1, 2], [3, 1], [2]],
)
STREAM = TrainingRows(train=None, validation=ROWS.validation)
BATCH = np.array([[0, 1, 2], [3, 2, 1], [1, 1, 0]])


def tiny(**changes: Any) -> Config:
    """Few weights, few steps, everything random and the average switched on; ``train__lr=1`` changes one field."""
    tree: dict[str, Any] = {
        "seed": 3,
        "task": {"symbols": 4, "min_length": 1, "max_length": 3},
        "data": {"train": 40, "validation": 4, "test": 4},
        "model": {
            "d_model": 8,
            "heads": 2,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "d_ff": 8,
            "dropout": 0.1,
            "attention_dropout": 0.2,
            "attention_noise": 0.3,
            "query_dropout": 0.1,
            "self_query_dropout": 0.1,
        },
        "train": {
            "steps": 7,
            "batch_size": 4,
            "lr": 1e-2,
            "warmup_steps": 2,
            "noise_warmup_steps": 5,
            "target_noise": 0.1,
            "ema_decay": 0.6,
            "validate_every": 3,
        },
    }
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        (tree[section] if section else tree)[field] = value
    return Config.model_validate(tree)


def weights_of(state: TrainingState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.model.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def calm(**changes: Any) -> TrainingState:
    """No dropout, no noise, no average."""
    return TrainingState(tiny(**NOISE | {"train__ema_decay": 0.0} | changes))


def trainer(rows: TrainingRows = ROWS, **changes: Any) -> Trainer:
    """A trainer of ``tiny``, on the CPU."""
    return Trainer(tiny(**changes), rows, "cpu")


def negative_log_likelihoods(state: TrainingState, source: list[int]) -> list[float]:
    """Of each token of the right answer, EOS included, given those before it; one pass for each."""
    ids = torch.tensor([[BOS, *(symbol + 3 for symbol in source), EOS]])
    answer = [*(symbol + 3 for symbol in reversed(source)), EOS]
    with torch.no_grad():
        rows = [state.model(ids, torch.tensor([[BOS, *answer[:index]]]))[0, -1] for index in range(len(answer))]
    return [-float(row.log_softmax(-1)[token]) for row, token in zip(rows, answer, strict=True)]
