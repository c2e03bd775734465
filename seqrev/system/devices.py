"""Which device to compute on."""

import torch

from seqrev.errors import UsageError
from seqrev.system.text import shorten

TYPES = ("cpu", "cuda", "mps")


def choose_device(name: str | torch.device) -> torch.device:
    """``auto`` is CUDA or else the CPU (faster than Apple's GPU); raise ``UsageError`` if the device is not there.

    ``cuda:1`` is the second of several GPUs.
    """
    if name == "auto":
        return torch.device("cuda" if _count("cuda") else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):  # no name of a device
        device = None
    if device is None or (device.index or 0) >= _count(device.type):
        found = " and ".join(filter(_count, TYPES))
        wrong = shorten(str(name), 60)[1:-1]
        raise UsageError(f"The device {wrong} is not available here; there is {found}.", "--device auto")
    return device


def _count(kind: str) -> int:
    """How many devices there are of one kind; GPUs are not asked for where the CPU will do.

    It takes a moment to ask for them, and PyTorch warns of a driver that is too old.
    """
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available()))
