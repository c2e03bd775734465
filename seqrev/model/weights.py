"""A model's weights: their names and shapes, and how they are loaded."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from seqrev.config import Config, ModelConfig
from seqrev.model.transformer import Transformer
from seqrev.task import vocabulary_size

Shapes = dict[str, tuple[int, ...]]
_NEW = (torch.empty, torch.zeros, torch.ones)  # how modules make their tensors
_DRAWN = ("normal_", "uniform_", "kaiming_uniform_")  # and what they are filled with


def weight_shapes(config: ModelConfig, vocabulary: int) -> Shapes:
    """Names and shapes of a model's weights, without taking memory for them."""
    with torch.device("meta"), _Plain():
        model = Transformer(config, vocabulary)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def new_model(config: Config, seed: int | None) -> Transformer:
    """The model of a configuration, on the CPU, in float32 whatever the default is.

    Its weights are drawn from the ``seed``, as if that had been given to ``torch.manual_seed``; the process keeps its
    random numbers. None: they are not drawn, but to be loaded.
    """
    generator = None if seed is None else torch.Generator("cpu").manual_seed(seed)
    task = config.task
    with torch.device("cpu"), _Plain(generator):
        return Transformer(config.model, vocabulary_size(task.symbols), task.rule, task.max_answer)


class _Plain(TorchFunctionMode):
    """New tensors are float32, and initial values come from a generator.

    Without one there are none: for tensors without memory, PyTorch would import its compiler, which takes seconds.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = dict(options or {})
        if function in _NEW and options.get("dtype") is None:
            options["dtype"] = torch.float32
        if getattr(function, "__module__", "") == "torch.nn.init":
            if self._generator is None:
                return arguments[0] if arguments else None
            if function.__name__ in _DRAWN:
                options["generator"] = self._generator
        return function(*arguments, **options)


def load_weights(model: Transformer, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy named arrays into a model. Names and shapes must be those of ``weight_shapes``; a shared weight has one name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name].copy()))
