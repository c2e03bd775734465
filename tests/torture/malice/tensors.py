"""Files of tensors, under a manifest that fits them."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

from tests.torture.malice.case import Sandbox


def _tensor_file(header: bytes | dict[str, Any], body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def _header(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _changed(**changes: Any) -> Callable[[bytes, Sandbox], bytes]:
    """The first tensor claims something else; one that is None is left out."""

    def make(content: bytes, _: Sandbox) -> bytes:
        header, body = _header(content)
        name = next(iter(header))
        header[name] = {key: value for key, value in {**header[name], **changes}.items() if value is not None}
        return _tensor_file(header, body)

    return make


def _filled(pattern: bytes) -> Callable[[bytes, Sandbox], bytes]:
    def make(content: bytes, _: Sandbox) -> bytes:
        header, body = _header(content)
        return _tensor_file(header, pattern * (len(body) // len(pattern)))

    return make


class _Pickled:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def _zip_bomb(_content: bytes, _place: Sandbox) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.npy", bytes(30_000_000))
    return buffer.getvalue()


TENSORS: dict[str, Callable[[bytes, Sandbox], bytes]] = {
    "pickle": lambda content, sandbox: pickle.dumps(_Pickled(sandbox.command)),
    "zip bomb": _zip_bomb,
    "header of 2^64 - 1 bytes": lambda content, _: _tensor_file(b"{}", content, 2**64 - 1),
    "header of 2^62 bytes": lambda content, _: _tensor_file(b"{}", content, 2**62),
    "header of deep nesting": lambda content, _: _tensor_file(b'{"a": ' * 2_000),
    "header that is no JSON": lambda content, _: _tensor_file(b"\xff" * 100),
    "header of a list": lambda content, _: _tensor_file(b"[]"),
    "header with NaN": lambda content, _: _tensor_file(b'{"a": NaN}'),
    "nothing but a header": lambda content, _: _tensor_file({}),
    "bytes after the end": lambda content, _: content + b"\x00" * 8,
    "a megabyte after the end": lambda content, _: content + bytes(1_000_000),
    "cut in the header": lambda content, _: content[:100],
    "cut in the weights": lambda content, _: content[:-4],
    "shape of 2^62": _changed(shape=[2**62]),
    "shape of 2^64 times zero": _changed(shape=[2**64 - 1, 0], data_offsets=[0, 0]),
    "shape that overflows": _changed(shape=[2**32, 2**32, 4]),
    "shape of fractions": _changed(shape=[1.5]),
    "shape below zero": _changed(shape=[-1]),
    "shape of 5,000 dimensions": _changed(shape=[1] * 5_000),
    "no shape": _changed(shape=None),
    "offsets that go back": _changed(data_offsets=[8, 0]),
    "offsets beyond the end": _changed(data_offsets=[0, 2**63]),
    "offsets in the next tensor": _changed(data_offsets=[4, 8]),
    "type of other width": _changed(dtype="F64"),
    "type that NumPy has not": _changed(dtype="BF16"),
    "type that is none": _changed(dtype="\x1b[31m"),
    "NaN": _filled(b"\x00\x00\xc0\x7f"),
    "infinity": _filled(b"\x00\x00\x80\x7f"),
    "weights that overflow": _filled(b"\xff\xff\x7f\x7f"),
}
