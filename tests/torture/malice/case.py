"""A case prepares a folder that holds a sound run, and says with which arguments the program is then called."""

import hashlib
import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqrev.runs.checkpoints import _seal
from seqrev.system.files import to_json

ESC = "\x1b]0;owned\x07\x1b[31m\x9b1m\u202e"  # a title, a colour, an eight-bit escape, text from right to left
DIGITS = "9" * 5_000  # Python refuses to convert more than 4,300
DEEP = "[" * 50_000
REFUSED = (2, 3)  # wrong usage, or damaged input
TRAIN, DECODE, EVALUATE = ("train", "--run", "1"), ("decode", "--run", "1", "1", "2"), ("evaluate", "--run", "1")
ATTENTION = ("attention", "--run", "1")


@dataclass(frozen=True)
class Sandbox:
    """The folder of a case: ``runs/001`` was trained; ``outside`` is somebody's, and must stay as it is."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "runs" / "001"

    @property
    def canary(self) -> Path:
        return self.root / "outside" / "canary.json"

    @property
    def checkpoint(self) -> Path:
        (path,) = (self.run / "checkpoints").glob("step-*")
        return path

    @property
    def command(self) -> str:
        """What malice would have executed; it would leave a file outside."""
        return f"touch {self.root}/outside/executed"

    def seal(self, **changes: Any) -> None:
        """Change the checkpoint's manifest, and seal it, so that the parsers behind the checksums are reached."""
        path = self.checkpoint / "manifest.json"
        manifest = {**json.loads(path.read_text()), **changes}
        for name in manifest["files"] if "files" not in changes else ():
            content = (self.checkpoint / name).read_bytes()
            manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        path.write_bytes(to_json(_seal(manifest)))

    def seal_data(self) -> None:
        """Put the sizes and digests of the dataset's files, as they are now, into its manifest."""
        path = self.run / "data" / "manifest.json"
        manifest = json.loads(path.read_text())
        for split, entry in manifest["splits"].items():
            content = (path.parent / f"{split}.jsonl").read_bytes()
            entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        path.write_bytes(to_json(manifest))


Arguments = Sequence[object]
Prepare = Callable[[Sandbox], Arguments]


@dataclass(frozen=True)
class Case:
    """One attack."""

    prepare: Prepare
    codes: Sequence[int] = REFUSED
    stdin: bytes | str = b""
    """Content, or the path of a file."""
    full: bool = False
    """Nothing can be written to stdout."""


# --- what may stand where a file is expected -------------------------------------------------------------------------


def fifo(path: Path, _: Sandbox) -> None:
    os.mkfifo(path)


def device(path: Path, _: Sandbox) -> None:
    path.symlink_to("/dev/zero")  # a device itself can only be made by root


def link(path: Path, sandbox: Sandbox) -> None:
    path.symlink_to(sandbox.canary)


def folder(path: Path, _: Sandbox) -> None:
    path.mkdir()


def unix_socket(path: Path, _: Sandbox) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(path.parent, os.O_RDONLY)  # the path itself may be longer than a socket's may be
        server.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def sparse(path: Path, _: Sandbox) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


def empty(path: Path, _: Sandbox) -> None:
    path.touch()


TRAPS = {make.__name__: make for make in (fifo, device, link, folder, unix_socket, sparse, empty)}
