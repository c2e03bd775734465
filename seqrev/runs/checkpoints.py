"""The checkpoint store: tensors in folders that are written whole, verified when read, and never trusted by name.

A checkpoint is ``step-000600/`` with safetensors files and ``manifest.json``: the step, the validation result, size and
SHA-256 of every file, and its own SHA-256. It is built in a hidden folder and then renamed.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from seqrev.errors import InputError
from seqrev.system import files
from seqrev.system.text import shorten

Tensors = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]
KEEP = 2  # the newest checkpoints that stay; the best one stays as well
LARGEST_MANIFEST = 100_000  # bytes; one has about seven hundred
HEADER_PER_TENSOR = 1_000  # bytes that a safetensors header may take for each tensor; 150 are usual


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """A checkpoint with a sound manifest; its files are verified when they are loaded."""

    path: Path
    step: int
    validation: dict[str, float] | None
    """``exact_match``, ``token_accuracy``, ``loss`` and more at this step; None where it was saved between validations."""
    files: dict[str, dict[str, Any]]
    sha256: str  # of the manifest, and so of everything in the checkpoint

    def __repr__(self) -> str:
        return f"<Checkpoint: {self.path}>"

    def load(self, name: str, shapes: Shapes) -> dict[str, NDArray[np.float32]]:
        """The float32 tensors of a file; raise ``InputError`` if it is missing, damaged, or does not have these shapes."""
        path = self.path / f"{name}.safetensors"
        entry = self.files.get(path.name, {})
        content = files.read_regular(path, largest_file(shapes), "a file of a checkpoint", follow=False)
        if (len(content), hashlib.sha256(content).hexdigest()) != (entry.get("bytes"), entry.get("sha256")):
            raise InputError(f"{path} is damaged: its size or SHA-256 is not the one in its manifest.")
        return checked_tensors(content, path, shapes)

    def is_intact(self) -> bool:
        """Whether every file is what the manifest says."""
        with suppress(InputError):
            return all(files.sha256_of(self.path / name) == entry.get("sha256") for name, entry in self.files.items())
        return False


def checked_tensors(
    content: bytes, path: Path, shapes: Shapes, dtype: type[np.floating[Any]] = np.float32
) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file; raise ``InputError`` if they do not have these names, shapes and type, or NaN."""
    try:
        tensors = from_bytes(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} cannot be read: {shorten(str(error), 100)}.") from None
    expected = {key: (shape, np.dtype(dtype)) for key, shape in shapes.items()}
    found = {key: (tensor.shape, tensor.dtype) for key, tensor in tensors.items()}
    wrong = sorted(key for key in expected.keys() | found.keys() if found.get(key) != expected.get(key))
    if wrong:
        raise InputError(f"{path} does not fit the configuration of its run: {shorten(wrong[0], 80)}.")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"{path} has NaN or infinity in it.")
    return tensors


def to_bytes(tensors: Tensors) -> bytes:
    """A safetensors file that has the SHA-256 of its tensors in it, where no manifest has it."""
    return save(dict(tensors), {"sha256": _digest(tensors)})


def from_bytes(content: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file; raise ``ValueError``, or as ``load`` does, for one that is damaged."""
    tensors = load(content)  # refuses lying headers: gaps, overlaps, trailing bytes
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    kept = header.get("__metadata__")  # older versions, and checkpoints, whose manifest has a SHA-256, have none
    if kept is not None and kept != {"sha256": _digest(tensors)}:
        raise ValueError("its SHA-256 is not the one that is in it")
    return tensors


def _digest(tensors: Tensors) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tensor.shape} ".encode())
        found.update(tensor.tobytes())
    return found.hexdigest()


def largest_file(shapes: Shapes) -> int:
    """The size in bytes that a file of these float32 tensors can have at most."""
    return sum(4 * math.prod(shape) + HEADER_PER_TENSOR for shape in shapes.values()) + HEADER_PER_TENSOR


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensors], validation: Mapping[str, float] | None
) -> Checkpoint:
    """Commit named float32 arrays, by file, then remove what is neither among the newest two checkpoints nor the best.

    If the disk refuses, ``StorageError`` is raised, and the checkpoints that were there still are.
    """
    target = folder / f"step-{step:06d}"
    temporary = files.temporary_path(target)
    result = dict(validation) if validation else None
    with files.storage_errors(target):
        files.make_folder(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            entries = {}
            for name, arrays in tensors.items():
                content = save({key: np.asarray(value, order="C") for key, value in arrays.items()})
                path = temporary / f"{name}.safetensors"
                files.atomic_write(path, content)
                entries[path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            manifest = _seal({"schema": 1, "step": step, "validation": result, "files": entries})
            files.atomic_write(temporary / "manifest.json", files.to_json(manifest))
            _commit(temporary, target, manifest)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _prune(folder, target)
    return Checkpoint(target, step, result, entries, manifest["sha256"])


def _commit(temporary: Path, target: Path, manifest: dict[str, Any]) -> None:
    """Move a finished folder to where it belongs."""
    if target.exists() or files.is_link(target):
        same = False
        with suppress(InputError):
            existing = read_checkpoint(target)
            same = existing.files == manifest["files"] and existing.is_intact()
        if same:  # and now there is a validation: a rename of one file never leaves a gap
            files.move(temporary / "manifest.json", target / "manifest.json")
            files.sync_folder(target)
            shutil.rmtree(temporary)
            return
        _remove(target)  # damaged, or training would have gone on from it
    files.move(temporary, target)
    files.sync_folder(target.parent)


def _remove(path: Path) -> None:
    """Take a checkpoint away at once; a kill leaves it whole or leaves nothing that looks like one."""
    if files.is_folder(path):
        old = files.temporary_path(path, "old")
        files.move(path, old)
        shutil.rmtree(old)
    else:  # a file or a link, which somebody put there
        path.unlink()


def _prune(folder: Path, saved: Path) -> None:
    """Keep the newest and the best, and as many of them that are intact: some may be damaged."""
    found = newest_first(folder)  # once: what cannot be read now is not removed
    intact = [checkpoint for checkpoint in found if checkpoint.is_intact()]
    best = [max(some, key=_merit) for some in (found, intact) if some]
    keep = {saved, *(checkpoint.path for checkpoint in (*found[:KEEP], *intact[:KEEP], *best))}
    for checkpoint in found:
        if checkpoint.path not in keep:
            _remove(checkpoint.path)


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint; raise ``InputError`` if its manifest is missing, damaged in any byte, or not of the folder's step."""
    name = path / "manifest.json"
    if not files.is_folder(path):
        raise InputError(f"{path} is not a folder; a checkpoint was expected.")
    content = files.read_regular(name, LARGEST_MANIFEST, "the manifest of a checkpoint", follow=False)
    manifest = files.parse_json(content, name)
    step, validation, entries = (manifest.get(key) for key in ("step", "validation", "files"))
    if content != files.to_json(_seal(manifest)) or type(step) is not int or path.name != f"step-{step:06d}":
        raise InputError(f"{name} is damaged.")
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise InputError(f"{name} is damaged: it does not list the files.")
    if not all(file == Path(file).name for file in entries):
        raise InputError(f"{name} lists files that are not in its folder.")
    names = ("exact_match", "token_accuracy", "loss")
    if not isinstance(validation, dict) or not all(type(validation.get(key)) in (int, float) for key in names):
        validation = None
    return Checkpoint(path, step, validation, entries, manifest["sha256"])


def _seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own SHA-256, so that a change of any byte shows."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return {**content, "sha256": hashlib.sha256(files.to_json(content)).hexdigest()}


def list_checkpoints(folder: Path, problems: list[str] | None = None) -> list[Checkpoint]:
    """All checkpoints with a sound manifest, oldest step first; ``problems`` gets a sentence for each of the others.

    One that a training beside removes meanwhile is no problem. Raise ``InputError`` if the folder may not be read.
    """
    found = []
    for path in files.paths_in(folder):
        if re.fullmatch(r"step-[0-9]{6,12}", path.name):
            try:
                found.append(read_checkpoint(path))
            except InputError as error:
                if problems is not None and os.path.lexists(path):
                    problems.append(str(error))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_first(folder: Path, problems: list[str] | None = None) -> list[Checkpoint]:
    """In the order in which a training should try to continue from them."""
    return list_checkpoints(folder, problems)[::-1]


def best_first(folder: Path, problems: list[str] | None = None) -> list[Checkpoint]:
    """Highest exact match first, then lowest validation loss, then the later step; those without a validation last."""
    return sorted(list_checkpoints(folder, problems), key=_merit, reverse=True)


def _merit(checkpoint: Checkpoint) -> tuple[float, float, int]:
    result = checkpoint.validation or {"exact_match": -1.0, "loss": np.inf}
    return result["exact_match"], -result["loss"], checkpoint.step
