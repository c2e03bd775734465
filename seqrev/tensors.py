"""Sequences as a model is given them."""

import torch
from torch import Tensor

from seqrev.task import Array, apply_rule, frame


def to_tensors(sources: Array, device: torch.device) -> tuple[Tensor, Tensor]:
    """Symbols ``[rows, length]`` to source and target ids ``[rows, length + 2]``, each from ``<BOS>`` to ``<EOS>``."""
    source, target = torch.from_numpy(frame(sources)), torch.from_numpy(frame(apply_rule(sources)))
    if device.type == "cuda":  # a copy from pinned memory does not keep the program waiting
        return source.pin_memory().to(device, non_blocking=True), target.pin_memory().to(device, non_blocking=True)
    return source.to(device), target.to(device)
