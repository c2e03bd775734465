"""Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015), by PyTorch's fused kernel.

With weight decay it is AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS = (0.9, 0.98)  # those of "Attention Is All You Need", section 5.3


class Adam:
    """Adam's state, and its step.

    The numbers are those of ``torch.optim.Adam(fused=True)``, or ``AdamW``, whose function does the work. Their classes are
    not used because they import PyTorch's compiler, which takes as long as fifty steps of a small model.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float = 0.0) -> None:
        """No step taken.

        Args:
            parameters: with their names; each has a gradient when a step is taken.
            weight_decay: each step takes the learning rate times this off every matrix, embeddings among them, but not
                off norms and biases (those of relative positions are tables), which small values do not make simpler.
        """
        named = dict(parameters)
        self.parameters = list(named.values())
        self._steps = [torch.zeros((), dtype=torch.float32, device=parameter.device) for parameter in self.parameters]
        self._means = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]
        kinds = {"step": self._steps, "exp_avg": self._means, "exp_avg_sq": self._squares}
        self.state = {
            f"{kind}.{name}": value for kind, values in kinds.items() for name, value in zip(named, values, strict=True)
        }
        """Of each parameter: steps taken, running means of its gradient and of the gradient's square."""
        self._groups: dict[float, list[int]] = {}  # which parameters have this decay
        for index, (name, value) in enumerate(named.items()):
            decay = weight_decay if value.ndim > 1 and not name.endswith("bias") else 0.0
            self._groups.setdefault(decay, []).append(index)

    @property
    def steps(self) -> int:
        """Steps taken; waits for the device, which counts them."""
        return int(self._steps[0])

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float, found_inf: Tensor) -> None:
        """Change the parameters; where ``found_inf``, on the device, is 1, neither they nor the state change."""
        for decay, group in self._groups.items():
            adam(
                [self.parameters[index] for index in group],
                cast(list[Tensor], [self.parameters[index].grad for index in group]),
                [self._means[index] for index in group],
                [self._squares[index] for index in group],
                [],
                [self._steps[index] for index in group],
                fused=True,
                found_inf=found_inf,
                decoupled_weight_decay=decay > 0,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=lr,
                weight_decay=decay,
                eps=1e-8,
                maximize=False,
            )
