"""How attention was learned: the cross-attention of one held-out sequence, saved at a series of training steps.

Nothing here draws a random number or changes a weight: a training with snapshots is the same training.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional

from seqrev.data.sequences import answers_to, example_row, pick
from seqrev.errors import InputError, UsageError
from seqrev.interpret.alignment import AntiDiagonal, Weights, aligned_positions, alignment_scores
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from seqrev.runs.checkpoints import from_bytes, to_bytes
from seqrev.system.files import atomic_write, make_folder, paths_in, read_regular, storage_errors
from seqrev.system.text import shorten_sequence
from seqrev.task import RuleName, apply_rule

LARGEST_FILE = 100_000_000  # bytes
PREFERRED_LENGTH, LONGEST = 10, 100  # symbols of the sequence: at most, if there is one so short; in no case more


@dataclass(frozen=True, repr=False)
class AttentionSnapshot:
    """What was saved at one step."""

    step: int
    loss: float
    """Of the right answer to this sequence, in nats per token."""
    source: list[int]
    target: list[int]
    """The right answer."""
    cross: Weights
    """Cross-attention while the right answer is given (teacher-forced), ``[layer, head, tgt, src]``."""
    rule: RuleName
    """By which it is right."""

    def __repr__(self) -> str:
        return f"<AttentionSnapshot: step {self.step:,}, loss {self.loss:#.2g}, of {shorten_sequence(self.source)}>"

    @property
    def alignment(self) -> list[int]:
        """The source position where the rule looks in each row but the last; none where there is no rule."""
        if self.rule == "pairs":
            return []
        positions: list[int] = aligned_positions(np.array(self.source), self.rule).tolist()
        return positions

    def score(self, layer: int, head: int | None = None) -> AntiDiagonal:
        """How well a layer or one head of it looks there."""
        wanted = None if self.rule == "pairs" else np.array([self.alignment])
        return alignment_scores(layer, self.cross[layer - 1][None], wanted)[head or 0]


def is_snapshot_step(step: int, last: int) -> bool:
    """Whether a step is in the series: 1, 2, 3, 4, 6, 8, 12, 16, 24, … and the last.

    >>> [step for step in range(1, 100) if is_snapshot_step(step, last=99)]
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 99]
    """
    return step // (step & -step) in (1, 3) or step == last  # by its odd part


def watched(sequences: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """The one of them whose attention is saved, with its answer if that was given."""
    return pick(sequences, [example_row(sequences, PREFERRED_LENGTH)])


def save_snapshot(
    folder: Path, model: Transformer, source: Sequence[int], step: int, target: Sequence[int] | None = None
) -> None:
    """Write where ``model`` looks into ``folder``, except for long sequences: maps grow with the square of the length.

    ``target``: the right answer; None: the rule gives it.
    """
    if target is None:
        (target,) = answers_to([source], model.rule)
    if max(len(source), len(target)) > LONGEST:
        return
    model.eval()
    source_ids, target_ids = to_tensors(np.array([source]), np.array([target]), model.device)
    with torch.no_grad():
        maps = model.attention_maps(source_ids, target_ids[:, :-1]).cross
        logits = model.decode(target_ids[:, :-1], model.encode(source_ids))  # not model(…), which may be compiled
        loss = functional.cross_entropy(logits[0], target_ids[0, 1:])
    arrays = {
        "step": np.array(step),
        "loss": np.array(loss.item()),
        "source": np.array(source, dtype=np.int64),
        "target": np.array(target, dtype=np.int64),
        "cross": np.stack([layer[0].float().cpu().numpy() for layer in maps]),
    }
    with storage_errors(folder):
        make_folder(folder)
    atomic_write(folder / f"step-{step:06d}.safetensors", to_bytes(arrays))


def load_snapshots(folder: Path, rule: RuleName) -> list[AttentionSnapshot]:
    """What was saved, in the order of the steps; ``rule``: that of the run.

    Raises:
        InputError: there is nothing, or a file is damaged.
    """
    paths = [path for path in paths_in(folder) if re.fullmatch(r"step-[0-9]{6,12}\.safetensors", path.name)]
    if not paths:
        raise InputError(f"There are no snapshots in {folder}; a run of which a step was trained was expected.")
    snapshots = sorted((_load(path, rule) for path in paths), key=lambda snapshot: snapshot.step)
    if len({snapshot.cross.shape for snapshot in snapshots}) > 1:
        raise InputError(f"The snapshots in {folder} are damaged: they are of different models, or sequences.")
    return snapshots


def _load(path: Path, rule: RuleName) -> AttentionSnapshot:
    try:
        arrays = from_bytes(read_regular(path, LARGEST_FILE, "the attention at one step", follow=False))
        source, cross = arrays["source"], arrays["cross"]
        target = arrays["target"] if "target" in arrays else apply_rule(source, rule)  # older versions did not save it
        of_step = arrays["step"].item(), arrays["loss"].item(), source.tolist(), target.tolist()
        snapshot = AttentionSnapshot(*of_step, cross, rule)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError, UsageError):
        raise InputError(f"{path} is damaged; the attention at one step was expected.") from None
    numbers = source.dtype.kind == target.dtype.kind == "i" and cross.dtype == np.float32 and type(snapshot.step) is int
    if not numbers or not np.isfinite(cross).all() or not math.isfinite(snapshot.loss):
        raise InputError(f"{path} is damaged: it has other numbers in it than a training saves.")
    shape = (len(snapshot.target) + 1, len(snapshot.source) + 2)
    if not cross.size or {source.ndim, target.ndim} != {1} or cross.ndim != 4 or cross.shape[2:] != shape:
        raise InputError(f"{path} is damaged: its maps do not have the shape of its sequence.")
    return snapshot
