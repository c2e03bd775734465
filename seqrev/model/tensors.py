"""Sequences as a model is given them, and tensors as arrays."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from seqrev.task import Array, RuleName, add_special_tokens, apply_rule


def to_tensors(sources: Array, targets: Array | RuleName, device: torch.device) -> tuple[Tensor, Tensor]:
    """Symbols ``[rows, longest]`` to source and target ids ``[rows, longest + 2]``, each from ``<BOS>`` to ``<EOS>``.

    ``targets``: symbols as well, or the rule by which they follow from the sources. Rows may be filled up with ``ENDED``,
    which becomes ``<PAD>``.
    """
    source = torch.from_numpy(add_special_tokens(sources))
    answers = apply_rule(sources, targets) if isinstance(targets, str) else targets
    target = torch.from_numpy(add_special_tokens(answers))
    if device.type == "cuda":  # a copy from pinned memory does not keep the program waiting
        return source.pin_memory().to(device, non_blocking=True), target.pin_memory().to(device, non_blocking=True)
    return source.to(device), target.to(device)


def to_array(values: Tensor) -> NDArray[Any]:
    """The numbers of a tensor, wherever it is; half precision, of which NumPy knows but one kind, becomes float32."""
    return (values if values.dtype.itemsize > 2 or not values.is_floating_point() else values.float()).numpy(force=True)
