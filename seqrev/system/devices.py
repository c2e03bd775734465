"""Which device to compute on."""

import torch

from seqrev.errors import UsageError


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA or else the CPU (faster than Apple's GPU); raise ``UsageError`` if the device is not there."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available.get(name):
        found = " and ".join(key for key in available if available[key])
        raise UsageError(f"The device {name} is not available here; there is {found}.", "--device auto")
    return torch.device(name)
