"""The checkpoint store: tensors in folders that are written whole, verified when read, and never trusted by name.

A checkpoint is ``step-000600/`` with safetensors files and, last, ``manifest.json``: the step, the validation result, size
and SHA-256 of every file, and its own SHA-256. It is built in a hidden folder beside its place and renamed there: it exists
complete or not at all. Nothing here knows PyTorch.
"""

import hashlib
import itertools
import math
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

from seqrev.errors import InputError, shorten
from seqrev.files import (
    is_folder,
    make_folder,
    parse_json,
    read_regular,
    sha256_of,
    storage_errors,
    sync_folder,
    temporary_name,
    to_json,
    write_whole,
)

Tensors = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]
KEEP = 2  # the newest checkpoints that stay; the best one stays as well
LARGEST_MANIFEST = 100_000  # bytes; one has about seven hundred
HEADER_PER_TENSOR = 1_000  # bytes that a safetensors header may take for each tensor; 150 are usual


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint with a sound manifest; its files are verified when they are loaded."""

    path: Path
    step: int
    validation: dict[str, float] | None
    """``exact_match``, ``token_accuracy``, ``loss`` and more at this step; None where it was saved between validations."""
    files: dict[str, dict[str, Any]]
    sha256: str
    """Of the manifest, and so of everything in the checkpoint."""

    def load(self, name: str, shapes: Shapes) -> dict[str, NDArray[np.float32]]:
        """The tensors of one file: exactly those of ``shapes``, all float32.

        No more memory is taken than these shapes need, whatever the file says of itself.

        Raises:
            InputError: the file is missing, not what the manifest says, or holds other tensors.
        """
        path = self.path / f"{name}.safetensors"
        entry = self.files.get(path.name, {})
        content = read_regular(path, largest_file(shapes), "a file of a checkpoint", follow=False)
        if (len(content), hashlib.sha256(content).hexdigest()) != (entry.get("bytes"), entry.get("sha256")):
            raise InputError(f"{path} is damaged: its size or SHA-256 is not the one in its manifest.")
        try:
            tensors = load(content)  # refuses lying headers: gaps, overlaps, trailing bytes
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(f"{path} cannot be read: {shorten(str(error), 100)}.") from None
        wrong = sorted(tensors.keys() ^ shapes.keys()) + sorted(
            key
            for key in tensors.keys() & shapes.keys()
            if tensors[key].shape != shapes[key] or tensors[key].dtype != np.float32
        )
        if wrong:
            raise InputError(f"{path} does not fit the configuration of its run: {shorten(wrong[0], 80)}.")
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise InputError(f"{path} has NaN or infinity in it.")
        return tensors

    def is_intact(self) -> bool:
        """Whether every file is what the manifest says."""
        try:
            return all(sha256_of(self.path / name) == entry.get("sha256") for name, entry in self.files.items())
        except InputError:
            return False


def largest_file(shapes: Shapes) -> int:
    """The size in bytes that a file of these float32 tensors can have at most."""
    return sum(4 * math.prod(shape) + HEADER_PER_TENSOR for shape in shapes.values()) + HEADER_PER_TENSOR


# --- writing --------------------------------------------------------------------------------------------------------


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensors], validation: Mapping[str, float] | None
) -> Checkpoint:
    """Commit a checkpoint, then remove those that are neither among the newest two nor the best.

    Args:
        folder: the run's ``checkpoints`` folder; is made if need be.
        step: steps taken.
        tensors: file name without suffix → named float32 arrays.
        validation: the result at this step, if there is one.

    Raises:
        StorageError: the disk refused. The checkpoints that were there still are.
    """
    target = folder / f"step-{step:06d}"
    temporary = temporary_name(target)
    with storage_errors(target):
        make_folder(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            files = {}
            for name, arrays in tensors.items():
                content = save({key: np.asarray(value, order="C") for key, value in arrays.items()})
                write_whole(temporary / f"{name}.safetensors", content)
                files[f"{name}.safetensors"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            manifest = _seal(
                {"schema": 1, "step": step, "validation": dict(validation) if validation else None, "files": files}
            )
            write_whole(temporary / "manifest.json", to_json(manifest))
            _commit(temporary, target, manifest)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _prune(folder, target)
    return _from_manifest(target, manifest)


def _commit(temporary: Path, target: Path, manifest: dict[str, Any]) -> None:
    """Put a finished folder in its place."""
    if target.exists() or target.is_symlink():
        try:
            there = read_checkpoint(target)
            same = there.files == manifest["files"] and there.is_intact()
        except InputError:
            same = False
        if same:  # saved before between validations, and now there is a result: a rename of one file never leaves a gap
            (temporary / "manifest.json").replace(target / "manifest.json")
            sync_folder(target)
            shutil.rmtree(temporary)
            return
        _remove(target)  # damaged, or training would have gone on from it
    temporary.rename(target)
    sync_folder(target.parent)


def _remove(path: Path) -> None:
    """Take a checkpoint away at once; a kill leaves it whole or leaves nothing that looks like one."""
    if not is_folder(path):  # a file or a link, which somebody put there
        path.unlink()
        return
    away = temporary_name(path, "old")
    path.rename(away)
    shutil.rmtree(away)


def _prune(folder: Path, saved: Path) -> None:
    """Keep the newest and the best, and as many newest that are intact: damaged ones may stand among them.

    The folder is read once: what cannot be read now is not among those that are removed.
    """
    found = newest_first(folder)
    intact = itertools.islice((checkpoint for checkpoint in found if checkpoint.is_intact()), KEEP)
    by_merit = sorted(found, key=_merit, reverse=True)
    best = next((checkpoint for checkpoint in by_merit if checkpoint.is_intact()), None)
    keep = {saved, *(checkpoint.path for checkpoint in (*found[:KEEP], *intact, *by_merit[:1], *filter(None, [best])))}
    for checkpoint in found:
        if checkpoint.path not in keep:
            _remove(checkpoint.path)


# --- reading --------------------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify the manifest of one checkpoint.

    Raises:
        InputError: it is missing or damaged in any byte, or is of another step than the folder's name says.
    """
    name = path / "manifest.json"
    if not is_folder(path):
        raise InputError(f"{path} is not a folder; a checkpoint was expected.")
    content = read_regular(name, LARGEST_MANIFEST, "the manifest of a checkpoint", follow=False)
    manifest = parse_json(content, name)
    try:
        sound = content == to_json(_seal(manifest))
    except ValueError:  # not a number
        sound = False
    step, files = manifest.get("step"), manifest.get("files")
    if not sound or type(step) is not int or path.name != f"step-{step:06d}":
        raise InputError(f"{name} is damaged.")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise InputError(f"{name} is damaged: it does not list the files.")
    if not all(file == Path(file).name for file in files):
        raise InputError(f"{name} lists files that are not in its folder.")
    return _from_manifest(path, manifest)


def _from_manifest(path: Path, manifest: Mapping[str, Any]) -> Checkpoint:
    validation = manifest.get("validation")
    return Checkpoint(
        path, manifest["step"], validation if _is_validation(validation) else None, manifest["files"], manifest["sha256"]
    )


def _seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own SHA-256, so that a change of any byte shows."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return {**content, "sha256": hashlib.sha256(to_json(content)).hexdigest()}


def list_checkpoints(folder: Path, problems: list[str] | None = None) -> list[Checkpoint]:
    """All checkpoints with a sound manifest, oldest step first; ``problems`` gets a sentence for each of the others."""
    found = []
    for path in sorted(folder.iterdir()) if is_folder(folder) else ():
        if re.fullmatch(r"step-\d{6,12}", path.name):
            try:
                found.append(read_checkpoint(path))
            except InputError as error:
                if problems is not None:
                    problems.append(str(error))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_first(folder: Path, problems: list[str] | None = None) -> list[Checkpoint]:
    """In the order in which a training should try to continue from them."""
    return list_checkpoints(folder, problems)[::-1]


def best_first(folder: Path, problems: list[str] | None = None) -> list[Checkpoint]:
    """Highest exact match first, then lowest validation loss, then the later step; those without a validation last."""
    return sorted(list_checkpoints(folder, problems), key=_merit, reverse=True)


def _merit(checkpoint: Checkpoint) -> tuple[float, float, int]:
    result = checkpoint.validation
    return (-1.0, -np.inf, checkpoint.step) if result is None else (result["exact_match"], -result["loss"], checkpoint.step)


def _is_validation(value: object) -> bool:
    names = ("exact_match", "token_accuracy", "loss")
    return isinstance(value, dict) and all(type(value.get(name)) in (int, float) for name in names)
