"""Where a stranger can hand something over: each function tries one example."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from seqrev.config import Config, fields, load_config, to_yaml
from seqrev.data.dataset import load_split
from seqrev.data.sampling import check_possible
from seqrev.data.splits import SPLITS, Split
from seqrev.interpret.snapshots import load_snapshots
from seqrev.runs.checkpoints import Shapes, _seal, best_first
from seqrev.runs.finding import find_run
from seqrev.runs.folders import Run
from seqrev.runs.metrics import MetricsWriter
from seqrev.runs.stages import load_stages
from seqrev.system.files import to_json
from seqrev.training.state import checkpoint_shapes
from tests.helpers import Result, run_main
from tests.torture.fuzz.checks import attempt, check, hard_limit
from tests.torture.fuzz.inputs import TOKENS, edits, mutate, mutate_tree, trees


@dataclass(frozen=True)
class Target:
    """A sound run, whose files are changed for a moment."""

    run: Run
    valid: Mapping[str, bytes]
    """Its files, as they were written."""
    config: Config
    tree: dict[str, Any]
    """The configuration as plain values."""
    fields: list[str]
    shapes: Mapping[str, Shapes]

    @classmethod
    def of(cls, run: Run) -> "Target":
        config = run.config()
        paths = [path for path in run.path.rglob("*") if path.suffix in (".json", ".jsonl", ".yaml", ".safetensors")]
        valid = {str(path.relative_to(run.path)): path.read_bytes() for path in paths}
        return cls(run, valid, config, config.model_dump(), [name for name, _, _ in fields()], checkpoint_shapes(config))


@contextlib.contextmanager
def _files(target: Target, changed: dict[str, bytes]) -> Iterator[None]:
    for name, content in changed.items():
        (target.run.path / name).write_bytes(content)
    try:
        yield
    finally:
        for name in changed:
            (target.run.path / name).write_bytes(target.valid[name])


def configuration_file(data: st.DataObject, target: Target) -> None:
    path = target.run.path.parent / "evil.yaml"
    content = target.valid["config.yaml"]
    match data.draw(st.integers(0, 3)):
        case 0:
            path.write_bytes(data.draw(st.binary(max_size=300)))
        case 1:
            path.write_bytes(mutate(content, data.draw(edits)))
        case 2:
            path.write_text(yaml.safe_dump(mutate_tree(target.tree, data.draw(trees))))
        case 3:  # JSON is YAML, and has other nesting
            path.write_text(json.dumps(mutate_tree(target.tree, data.draw(trees))))
    _load_config(path)


def assignments(data: st.DataObject, target: Target) -> None:
    given_ = []
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(target.fields))
        value = data.draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=30))).decode(errors="replace")
        text = f"{name}={value}"
        given_.append(
            mutate(text.encode(), data.draw(edits)).decode(errors="replace") if data.draw(st.booleans()) else text
        )
    _load_config(None, given_)


def _load_config(path: Path | None, given_: list[str] | None = None) -> None:
    def load() -> None:
        config = load_config(path, given_ or ())
        again = yaml.safe_load(to_yaml(config))
        assert type(config).model_validate(again) == config
        check_possible(config)

    attempt(load)


def dataset_files(data: st.DataObject, target: Target) -> None:
    names = ["data/manifest.json", *(f"data/{split}.jsonl" for split in SPLITS)]
    name = data.draw(st.sampled_from(names))
    content = target.valid[name]
    match data.draw(st.integers(0, 2)):
        case 0:
            content = mutate(content, data.draw(edits))
        case 1:
            rows = [json.loads(line) for line in content.splitlines()] if name.endswith("l") else [json.loads(content)]
            content = b"\n".join(json.dumps(row).encode() for row in _listed(mutate_tree(rows, data.draw(trees))))
        case 2:
            content = data.draw(st.binary(max_size=200))
    changed = {name: content}
    if name.endswith("l") and data.draw(st.integers(0, 4)):
        manifest = json.loads(target.valid["data/manifest.json"])
        manifest["splits"][Path(name).stem].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        changed["data/manifest.json"] = to_json(manifest)
    with _files(target, changed):
        for split in SPLITS:
            attempt(partial(_load_rows, target, split))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _load_rows(target: Target, split: Split) -> None:
    rows = load_split(target.run.data, split, target.config)
    assert rows
    assert all(type(symbol) is int and 0 <= symbol < target.config.task.symbols for row in rows for symbol in row)


def run_folder(data: st.DataObject, target: Target) -> None:
    name = data.draw(st.sampled_from([name for name in target.valid if not name.startswith("data/")]))
    content = target.valid[name]
    if name.endswith("json") and data.draw(st.booleans()):
        with contextlib.suppress(ValueError):
            content = to_json(mutate_tree(json.loads(content), data.draw(trees)))
    elif name.endswith("safetensors") and data.draw(st.booleans()):
        size = int.from_bytes(content[:8], "little")
        header = json.dumps(mutate_tree(json.loads(content[8 : 8 + size]), data.draw(trees))).encode()
        content = len(header).to_bytes(8, "little") + header + content[8 + size :]
    elif name.endswith("jsonl") and data.draw(st.booleans()):
        rows = [json.loads(line) for line in content.splitlines()]
        content = b"\n".join(json.dumps(row).encode() for row in _listed(mutate_tree(rows, data.draw(trees))))
    else:
        content = mutate(content, data.draw(edits))
    changed = {name: content, **_sealed(target, name, content)}
    with _files(target, changed):
        if name == "config.yaml":
            attempt(target.run.config)
        elif name == "run.json":
            attempt(lambda: target.run.record.begin_attempt(device="cpu"))
        elif name.startswith("snapshots"):
            attempt(lambda: load_snapshots(target.run.snapshots, "reverse"))
            load_stages(target.run.snapshots, target.shapes["model"])  # which passes over what is damaged
        elif name == "metrics.jsonl":
            attempt(lambda: MetricsWriter(target.run.metrics, 2).close())
        else:
            attempt(lambda: find_run(str(target.run), target.run.path.parent, Run.has_checkpoint, "a checkpoint"))
            for checkpoint in best_first(target.run.checkpoints):
                for group, shapes in target.shapes.items():
                    attempt(partial(checkpoint.load, group, shapes))


def _sealed(target: Target, name: str, content: bytes) -> dict[str, bytes]:
    """The manifest that goes with a changed file of a checkpoint, so that the parser behind the checksum is reached."""
    folder = str(Path(name).parent)
    if not folder.startswith("checkpoints"):
        return {}
    manifest = json.loads(target.valid[f"{folder}/manifest.json"])
    if name.endswith("safetensors"):
        manifest["files"][Path(name).name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    elif name.endswith("manifest.json"):
        try:
            manifest = json.loads(content)
        except (ValueError, RecursionError):
            return {}
    try:
        return {f"{folder}/manifest.json": to_json(_seal(manifest))} if manifest and isinstance(manifest, dict) else {}
    except (ValueError, RecursionError):
        return {}


def decode_input(data: st.DataObject, target: Target) -> None:
    if data.draw(st.booleans()):
        path = target.run.path.parent / "evil.txt"
        path.write_bytes(_lines(data))
        arguments = ["--file", str(path)]
    else:
        text = mutate(b"1 2 3 4", data.draw(edits)) if data.draw(st.booleans()) else data.draw(st.sampled_from(TOKENS))
        arguments = text.decode(errors="replace").replace("\x00", "").split(" ")
    json_mode = data.draw(st.booleans())
    _decode(target.run, *["--json"] * json_mode, *arguments)


def standard_input(data: st.DataObject, target: Target) -> None:
    _decode(target.run, *["--json"] * data.draw(st.booleans()), "-", stdin=_lines(data))


def _lines(data: st.DataObject) -> bytes:
    if not data.draw(st.integers(0, 5)):
        return data.draw(st.binary(max_size=200))
    valid = data.draw(st.sampled_from([b"1 2 3\n4,3\n0\n", b'{"src": [1, 2], "tgt": [2, 1]}\n{"src": [4]}\n']))
    return mutate(valid, data.draw(edits))


def _decode(run: Run, *arguments: str, stdin: bytes = b"") -> None:
    with hard_limit():
        result = run_main("decode", "--run", run, *arguments, stdin=stdin)
    lines = result.out.splitlines()
    if "--json" in arguments:
        assert all(isinstance(json.loads(line), dict) for line in lines), result.out
        if result.code:
            assert json.loads(result.err.splitlines()[-1])["error"]["message"]
            result = Result(result.code, "", f"Error: {result.error['message']}\nTry: {result.error['hint']}\n")
    elif "--help" not in arguments:
        assert all(symbol.isdigit() for line in lines for symbol in line.split()), result.out
    check(result)


SURFACES = (configuration_file, assignments, dataset_files, run_folder, decode_input, standard_input)
