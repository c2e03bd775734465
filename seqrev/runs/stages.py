"""The weights at a few steps of a training, beside the snapshots: a page shows with them how a sequence was learned.

Half precision is enough to look at. Each file has its SHA-256 in it.
A damaged or missing file is a stage less, and nothing else depends on it.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqrev.errors import InputError
from seqrev.runs.checkpoints import Shapes, checked_tensors, largest_file, to_bytes
from seqrev.system.files import atomic_write, make_folder, paths_in, read_regular, storage_errors

MOST_WEIGHTS = 1_500_000  # of a model whose stages are kept: three files of 3 MB


def is_stage_step(step: int, last: int) -> bool:
    """Whether the weights are kept: at the three powers of two from a sixteenth to a half of the steps.

    >>> [step for step in range(1, 501) if is_stage_step(step, last=500)]
    [32, 64, 128]
    """
    return step & (step - 1) == 0 and 2 * step < last <= 16 * step


def save_stage(folder: Path, step: int, weights: Mapping[str, NDArray[Any]]) -> None:
    """Write the weights at a step, if there are not too many of them, as float16."""
    if sum(tensor.size for tensor in weights.values()) > MOST_WEIGHTS:
        return
    with storage_errors(folder):
        make_folder(folder)
    largest = np.finfo(np.float16).max
    halves = {name: np.clip(tensor, -largest, largest).astype(np.float16) for name, tensor in weights.items()}
    atomic_write(folder / f"weights-{step:06d}.safetensors", to_bytes(halves))


def load_stages(
    folder: Path, shapes: Shapes, problems: list[str] | None = None
) -> dict[int, dict[str, NDArray[np.float32]]]:
    """The weights of every step that is there, by step, in order; ``problems`` gets a sentence for each damaged file."""
    if sum(map(math.prod, shapes.values())) > MOST_WEIGHTS:
        return {}
    found = {}
    for path in paths_in(folder):
        if name := re.fullmatch(r"weights-([0-9]{6,12})\.safetensors", path.name):
            try:
                content = read_regular(path, largest_file(shapes), "the weights at one step", follow=False)
                tensors = checked_tensors(content, path, shapes, np.float16)
            except InputError as error:
                if problems is not None:
                    problems.append(str(error))
                continue
            found[int(name[1])] = {key: tensor.astype(np.float32) for key, tensor in tensors.items()}
    return dict(sorted(found.items()))
