"""Watching it learn: the cross-attention of one held-out sequence, kept in the run at a series of training steps.

Nothing here draws a random number or touches a weight: a training that is watched is the same training.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch.nn import functional

from seqrev.errors import InputError
from seqrev.files import make_folder, read_regular, storage_errors, write_whole
from seqrev.interpret import AntiDiagonal, Weights, score_map
from seqrev.model.transformer import Transformer
from seqrev.task import apply_rule, frame, source_of_output

LARGEST = 100_000_000  # bytes in a file
LONGEST, TOO_LONG = 10, 100  # symbols in the sequence that is watched: if there is one so short; in no case more


@dataclass(frozen=True)
class Frame:
    """What was kept at one step."""

    step: int
    """Steps taken."""
    loss: float
    """Of the right answer to this sequence, in nats per token."""
    source: list[int]
    cross: Weights
    """Cross-attention while the right answer is given (teacher-forced), ``[layer, head, tgt, src]``."""

    @property
    def right_places(self) -> list[int]:
        """The source position where the rule looks in each row but the last."""
        return [int(place) + 1 for place in source_of_output(np.array(self.source))]

    def score(self, layer: int, head: int | None = None) -> AntiDiagonal:
        """How well a layer, counted from 1, or one head of it looks there."""
        wanted = np.array(self.right_places)
        return score_map(layer, self.cross[layer - 1][None, :, : len(wanted)], wanted[None])[head or 0]


def is_kept(step: int, last: int) -> bool:
    """Whether a step is in the series: 1, 2, 3, 4, 6, 8, 12, 16, 24, … and the last.

    >>> [step for step in range(1, 100) if is_kept(step, last=99)]
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 99]
    """
    odd_part = step // (step & -step)
    return odd_part in (1, 3) or step == last


def keep(folder: Path, model: Transformer, source: Sequence[int], step: int) -> None:
    """Write what ``model`` looks at into ``folder``; the file depends on nothing but the arguments.

    A sequence of more than a hundred symbols is not kept: maps grow with the square of the length.
    """
    if len(source) > TOO_LONG:
        return
    model.eval()
    device = model.output.weight.device
    given, target = (
        torch.from_numpy(frame(ids)).to(device) for ids in (np.array([source]), apply_rule(np.array([source])))
    )
    with torch.no_grad():
        maps = model.attention_maps(given, target[:, :-1]).cross
        loss = functional.cross_entropy(
            model.decode(target[:, :-1], model.encode(given))[0], target[0, 1:]
        )  # never compiled
    cross = np.stack([layer[0].float().cpu().numpy() for layer in maps])
    arrays = {
        "step": np.array(step),
        "loss": np.array(loss.item()),
        "source": np.array(source, dtype=np.int64),
        "cross": cross,
    }
    with storage_errors(folder):
        make_folder(folder)
    write_whole(folder / f"step-{step:06d}.safetensors", save(arrays))


def load_frames(folder: Path) -> list[Frame]:
    """What was kept, in the order of the steps.

    Raises:
        InputError: there is nothing, or a file is damaged.
    """
    pattern = re.compile(r"step-\d{6,12}\.safetensors")
    paths = [path for path in folder.iterdir() if pattern.fullmatch(path.name)] if folder.is_dir() else []
    if not paths:
        raise InputError(f"No attention was kept in {folder}; a run of which a step was trained was expected.")
    frames = sorted((_load(path) for path in paths), key=lambda kept: kept.step)
    if len({frame.cross.shape for frame in frames}) > 1:
        raise InputError(f"What was kept in {folder} is damaged: it is of different models, or sequences.")
    return frames


def _load(path: Path) -> Frame:
    try:
        arrays = load(read_regular(path, LARGEST, "the attention at one step", follow=False))
        source, cross = arrays["source"], arrays["cross"]
        kept = Frame(arrays["step"].item(), arrays["loss"].item(), source.tolist(), cross)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise InputError(f"{path} is damaged; the attention at one step was expected.") from None
    numbers = source.dtype.kind == "i" and cross.dtype == np.float32 and type(kept.step) is int
    if not numbers or not np.isfinite(cross).all() or not math.isfinite(kept.loss):
        raise InputError(f"{path} is damaged: it has other numbers in it than a training keeps.")
    if not cross.size or source.ndim != 1 or cross.ndim != 4 or cross.shape[2:] != (source.size + 1, source.size + 2):
        raise InputError(f"{path} is damaged: its maps do not have the shape of its sequence.")
    return kept
