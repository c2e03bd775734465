"""How the folder of a case is prepared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture.malice.case import DECODE, EVALUATE, TRAIN, Arguments, Prepare, Sandbox


def fixed(*words: object) -> Prepare:
    return lambda sandbox: [
        word.replace("OUTSIDE", f"{sandbox.root}/outside") if isinstance(word, str) else word for word in words
    ]


def with_config(content: bytes) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        (sandbox.root / "evil.yaml").write_bytes(content.replace(b"COMMAND", sandbox.command.encode()))
        return ["train", "--config", "evil.yaml"]

    return prepare


def with_file(content: bytes) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        (sandbox.root / "lines").write_bytes(content)
        return ["evaluate", "--run", "1", "--file", "lines"]

    return prepare


def trapped(make: Callable[[Path, Sandbox], None], name: str, command: Arguments) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        path = sandbox.checkpoint / name.removeprefix("runs/001/step/") if "/step/" in name else sandbox.root / name
        path.unlink(missing_ok=True)
        make(path, sandbox)
        return command

    return prepare


def folder_link(name: str) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        if (sandbox.run / name).exists():
            (sandbox.run / name).rename(sandbox.root / "outside" / name)
        (sandbox.root / "outside" / name).mkdir(exist_ok=True)
        (sandbox.run / name).symlink_to(sandbox.root / "outside" / name)
        return EVALUATE

    return prepare


def checkpoint_link(sandbox: Sandbox) -> Arguments:
    path = sandbox.checkpoint
    path.rename(sandbox.root / "outside" / path.name)
    path.symlink_to(sandbox.root / "outside" / path.name)
    return TRAIN


def with_content(name: str, content: bytes, command: Arguments) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        (sandbox.run / name).write_bytes(content)
        return command

    return prepare


def with_row(row: bytes) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        path = sandbox.run / "data" / "test.jsonl"
        path.write_bytes(row + b"\n" + path.read_bytes())
        sandbox.seal_data()
        return EVALUATE

    return prepare


def with_seal(values: dict[str, Any]) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        try:
            sandbox.seal(**values)
        except (ValueError, RecursionError):  # what cannot be sealed is written as it is
            text = json.dumps({"schema": 1, **values}) if "nested" not in values else '{"a": ' * 15_000
            (sandbox.checkpoint / "manifest.json").write_text(text)
        return DECODE

    return prepare


def with_tensors(make: Callable[[bytes, Sandbox], bytes]) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        path = sandbox.checkpoint / "model.safetensors"
        path.write_bytes(make(path.read_bytes(), sandbox))
        sandbox.seal()
        return DECODE

    return prepare
