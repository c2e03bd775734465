"""A model's weights: their names and shapes, and how they are loaded."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from seqrev.config import ModelConfig
from seqrev.model.transformer import Transformer

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(config: ModelConfig, vocabulary_size: int) -> Shapes:
    """Names and shapes of a model's weights, without taking memory for them."""
    with torch.device("meta"), _NoRandomNumbers():
        model = Transformer(config, vocabulary_size)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


class _NoRandomNumbers(TorchFunctionMode):
    """No random numbers for tensors without memory: PyTorch would import its compiler for them, which takes seconds."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__module__", "") == "torch.nn.init":
            return arguments[0] if arguments else None
        return function(*arguments, **(options or {}))


def load_weights(model: Transformer, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy named arrays into a model. Names and shapes must be those of ``weight_shapes``; a shared weight has one name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name].copy()))
