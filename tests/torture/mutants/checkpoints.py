"""What is believed of a checkpoint, and which of them stay."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PosixPath
from typing import Any
from unittest import mock

import numpy as np

from seqrev.runs import checkpoints
from tests.torture.mutants.mutant import Altered, Mutant


def trust_the_file(load: Callable[..., Any]) -> Callable[..., Any]:
    """The size and the SHA-256 that a file should have are those that it has."""

    def faulty(self: checkpoints.Checkpoint, name: str, shapes: checkpoints.Shapes) -> Any:
        content = (self.path / f"{name}.safetensors").read_bytes()
        entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return load(replace(self, files={f"{name}.safetensors": entry}), name, shapes)

    return faulty


def trust_the_seal(seal: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A manifest that has a seal keeps it, whatever it is."""

    def faulty(manifest: Mapping[str, Any]) -> dict[str, Any]:
        sealed = seal(manifest)
        return {**sealed, "sha256": manifest.get("sha256", sealed["sha256"])}

    return faulty


class RenamedPath(PosixPath):
    """The folder of a checkpoint has the name that its manifest asks for."""

    @property
    def name(self) -> str:
        return f"step-{json.loads((self / 'manifest.json').read_text())['step']:06d}"


class AnyShape(tuple[int, ...]):
    """A shape that is that of every tensor."""

    __slots__ = ()
    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def take_any_shape(load: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, name, shapes: load(self, name, {key: AnyShape(shape) for key, shape in shapes.items()})


def newest_is_best(prune: Callable[..., None]) -> Callable[..., None]:
    def faulty(folder: Path, saved: Path) -> None:
        with mock.patch.object(checkpoints, "_merit", lambda checkpoint: (0.0, 0.0, checkpoint.step)):
            prune(folder, saved)

    return faulty


CHECKPOINTS = (
    Mutant(
        "no check of the hash", "seqrev.runs.checkpoints.Checkpoint.load", trust_the_file, "test_a_damaged_file_is_refused"
    ),
    Mutant("manifest not sealed", "seqrev.runs.checkpoints._seal", trust_the_seal, "test_every_byte_of_a_manifest_counts"),
    Mutant(
        "a checkpoint under any name",
        "seqrev.runs.checkpoints.read_checkpoint",
        lambda read: lambda path: read(RenamedPath(path)),
        "test_a_checkpoint_under_another_name_is_refused",
    ),
    Mutant(
        "shapes not checked",
        "seqrev.runs.checkpoints.Checkpoint.load",
        take_any_shape,
        "test_other_tensors_than_the_configuration_has_are_refused",
    ),
    Mutant(
        "NaN loaded",
        "seqrev.runs.checkpoints.np",
        lambda module: Altered(module, isfinite=lambda tensor: np.True_),
        "test_weights_that_are_no_numbers_are_refused",
    ),
    Mutant(
        "the best rotated away",
        "seqrev.runs.checkpoints._prune",
        newest_is_best,
        "test_the_newest_two_and_the_best_stay",
    ),
    Mutant("only one kept", "seqrev.runs.checkpoints.KEEP", lambda keep: keep - 1, "test_the_newest_two_and_the_best_stay"),
)
