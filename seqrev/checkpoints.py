"""The checkpoint store: tensors in folders that are written whole, verified when read, and never trusted by name.

A checkpoint is ``step-000600/`` with safetensors files and, last, ``manifest.json``: the step, the validation result, and
size and SHA-256 of every file. It is built in a hidden folder beside its place and renamed there: it exists complete or
not at all. Nothing here knows PyTorch.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from seqrev.errors import InputError
from seqrev.files import read_json, sha256_of, sync_folder, write_json, write_whole

Tensors = Mapping[str, NDArray[Any]]
KEEP = 2  # the newest checkpoints that stay; the best one stays as well


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose manifest could be read; its files are verified when they are loaded."""

    path: Path
    step: int
    validation: dict[str, float] | None
    """``exact_match``, ``token_accuracy`` and ``loss`` at this step; None where it was saved between validations."""
    files: dict[str, dict[str, Any]]

    def load(self, name: str) -> dict[str, NDArray[Any]]:
        """The tensors of one file.

        Raises:
            InputError: the file is missing, or not what the manifest says.
        """
        path = self.path / f"{name}.safetensors"
        entry = self.files.get(path.name, {})
        if sha256_of(path) != entry.get("sha256"):
            raise InputError(f"{path} is damaged: its SHA-256 is not the one in its manifest.")
        try:
            return load(path.read_bytes())
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} cannot be read: {error}.") from None

    def verify(self) -> None:
        """Check every file against the manifest.

        Raises:
            InputError: a file is missing or damaged.
        """
        for name, entry in self.files.items():
            if sha256_of(self.path / name) != entry.get("sha256"):
                raise InputError(f"{self.path / name} is damaged: its SHA-256 is not the one in its manifest.")


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensors], validation: Mapping[str, float] | None
) -> Checkpoint:
    """Commit a checkpoint, then remove those that are neither among the newest two nor the best.

    Args:
        folder: the run's ``checkpoints`` folder; is made if need be.
        step: steps taken.
        tensors: file name without suffix → named arrays.
        validation: the result at this step, if there is one.
    """
    folder.mkdir(exist_ok=True)
    target = folder / f"step-{step:06d}"
    temporary = folder / f".step-{step:06d}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        files = {}
        for name, arrays in tensors.items():
            path = temporary / f"{name}.safetensors"
            write_whole(path, save({key: np.asarray(value, order="C") for key, value in arrays.items()}))
            files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        result = dict(validation) if validation else None
        manifest = {"schema": 1, "step": step, "validation": result, "files": files}
        write_json(temporary / "manifest.json", manifest)
        replaced = temporary.with_suffix(".old")
        if target.exists():  # this step was saved before, without its validation, or is damaged
            target.rename(replaced)
        temporary.rename(target)
        sync_folder(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _prune(folder, target)
    return Checkpoint(target, step, result, files)


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """All checkpoints with a readable manifest, oldest step first."""
    found = []
    for path in folder.glob("step-*") if folder.is_dir() else ():
        if not re.fullmatch(r"step-\d{6,}", path.name):
            continue
        try:
            manifest = read_json(path / "manifest.json")
        except InputError:
            continue
        step, files, validation = manifest.get("step"), manifest.get("files"), manifest.get("validation")
        if type(step) is int and isinstance(files, dict) and all(isinstance(entry, dict) for entry in files.values()):
            found.append(Checkpoint(path, step, validation if _is_validation(validation) else None, files))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_first(folder: Path) -> list[Checkpoint]:
    """In the order in which a training should try to continue from them."""
    return list_checkpoints(folder)[::-1]


def best_first(folder: Path) -> list[Checkpoint]:
    """Highest exact match first, then lowest validation loss, then the later step; those without a validation last."""
    return sorted(list_checkpoints(folder), key=_merit, reverse=True)


def _merit(checkpoint: Checkpoint) -> tuple[float, float, int]:
    result = checkpoint.validation
    return (-1.0, -np.inf, checkpoint.step) if result is None else (result["exact_match"], -result["loss"], checkpoint.step)


def _is_validation(value: object) -> bool:
    names = ("exact_match", "token_accuracy", "loss")
    return isinstance(value, dict) and all(type(value.get(name)) in (int, float) for name in names)


def _prune(folder: Path, saved: Path) -> None:
    """``saved`` stays in any case: damaged checkpoints of later steps may stand beside it."""
    keep = {saved, *(checkpoint.path for checkpoint in (*newest_first(folder)[:KEEP], *best_first(folder)[:1]))}
    for checkpoint in list_checkpoints(folder):
        if checkpoint.path not in keep:
            shutil.rmtree(checkpoint.path)
