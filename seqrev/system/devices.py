"""Which device to compute on."""

import torch

from seqrev.errors import UsageError

NAMES = ("cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA or else the CPU (faster than Apple's GPU); raise ``UsageError`` if the device is not there."""
    if name == "auto":
        name = "cuda" if _is_there("cuda") else "cpu"
    if not _is_there(name):
        found = " and ".join(filter(_is_there, NAMES))
        raise UsageError(f"The device {name} is not available here; there is {found}.", "--device auto")
    return torch.device(name)


def _is_there(name: str) -> bool:
    """Asks only about the one device: to ask for a GPU takes a moment, and warns where its driver is too old."""
    if name == "cuda":
        return torch.cuda.is_available()
    return name == "cpu" or (name == "mps" and torch.backends.mps.is_available())
