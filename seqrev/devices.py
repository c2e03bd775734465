"""Which device to compute on."""

import torch

from seqrev.errors import UsageError


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is any, else the CPU (at this size faster than Apple's GPU).

    Raises:
        UsageError: the device is not there, or not known.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if there["cuda"] else "cpu")
    if not there.get(name):
        raise UsageError(
            f"The device {name} is not available here; there is {' and '.join(key for key in there if there[key])}.",
            "--device auto",
        )
    return torch.device(name)
