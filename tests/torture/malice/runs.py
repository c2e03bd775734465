"""Files of a run."""

import json
from collections.abc import Sequence
from typing import Any

from tests.torture.malice.case import DECODE, DEEP, DIGITS, ESC, EVALUATE, TRAIN, Arguments

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
    "nesting that can be read but not written": b'{"attempts": ' + b"[" * 500 + b"]" * 500 + b"}",
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
