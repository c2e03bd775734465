"""Property-based fuzzing of everything that a stranger can hand over: six surfaces, random bytes and mutated valid input.

What must hold: either it works, or it is refused with a known error; soon, in one paragraph, without a control character.
"""

import contextlib
import hashlib
import io
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from seqrev import api
from seqrev.checkpoints import Shapes, _seal, best_first
from seqrev.config import Config, fields, load_config, to_yaml
from seqrev.console import LONGEST_MESSAGE, Console
from seqrev.data import SPLITS, Split, check_possible, load_split
from seqrev.errors import SeqrevError
from seqrev.files import to_json
from seqrev.learning import load_frames
from seqrev.metrics import MetricsWriter
from seqrev.runs import Run, find_run
from seqrev.training import checkpoint_shapes
from tests.conftest import Result, run_main
from tests.conftest import settings as options
from tests.torture.common import Outcome, Size, scratch

EXAMPLES = {"fast": 200, "long": 10_000}
SECONDS = 2.0  # of computing, for one example
PATIENCE = 300.0  # seconds of waiting
KNOWN = ("not enough memory", "cannot be written", "refused an operation")  # what an exit code of 1 may be about
MODEL = ("model.d_model=8", "model.d_ff=8", "train.steps=4", "train.validate_every=2", "train.warmup=1")
SMALL = ("data.train=9", "data.validation=5", "data.test=5")

# --- what is tried --------------------------------------------------------------------------------------------------

TOKENS = [
    *(
        b"\x00",
        b"\xff",
        b"\x1b[31m",
        b"\x9b",
        b"\x7f",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
    ),
    *(
        b"-1",
        b"0",
        b"1e999",
        b"NaN",
        b".nan",
        b"-.inf",
        b"9" * 5_000,
        b"9" * 30,
        b"0x" + b"f" * 4_000,
        b"1:" * 300 + b"1.5",
    ),
    *(b"[" * 1_500, b"{", b"}", b"[", b"]", b'"', b"'", b":", b",", b"=", b"#", b"- ", b"? ", b"|", b">", b"%", b"@", b"`"),
    *(b"&a ", b"*a", b"!!int ", b"!!python/object/apply:os.system ", b"<<: ", b"---\n", b"...", b"null", b"true", b"~"),
    *(
        b"$\\frac$",
        b"[red]",
        b"../../x",
        b"--",
        b"-",
        b"--json",
        b"\\u0000",
        b"\\ud800",
        b"2001-01-01",
        b"0000-00-00",
        b"a" * 9_000,
    ),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**4_000), 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "1", "x", "\x1b[31m", "\u202e", "../../x", "9" * 5_000, "$\\frac$", [], {}, [[]], [1], {"": 0}, {"a": {"a": {}}}),
    *(json.loads("[" * 60 + "]" * 60), [0] * 2_000, {f"k{number}": number for number in range(300)}),
]
TEXTS = [json.dumps(value) for value in VALUES]
places = st.integers(0, 2**16)
edits = st.lists(st.tuples(st.integers(0, 5), places, places), min_size=1, max_size=4)
trees = st.lists(st.tuples(st.integers(0, 3), places, places), min_size=1, max_size=3)
Edits = list[tuple[int, int, int]]


def mutate(content: bytes, changes: Edits) -> bytes:
    """Valid content with something put in, taken out, doubled, overwritten, cut or flipped."""
    for kind, place, choice in changes:
        start = place % (len(content) + 1)
        token, end = TOKENS[choice % len(TOKENS)], start + choice % 40
        match kind:
            case 0:
                content = content[:start] + token + content[start:]
            case 1:
                content = content[:start] + content[end:]
            case 2:
                content = content[:end] + content[start:]
            case 3:
                content = content[:start] + token + content[start + len(token) :]
            case 4:
                content = content[:start]
            case 5:
                content = (
                    content[:start] + bytes([content[start] ^ 1 << choice % 8]) + content[start + 1 :]
                    if end < len(content)
                    else content
                )
    return content


def mutate_tree(tree: Any, changes: Edits) -> Any:
    """A document in which values have other types and sizes, keys are gone or have other names, or something is nested."""
    tree = json.loads(json.dumps(tree))
    for kind, place, choice in changes:
        nodes = list(_nodes(tree))
        parent, key = nodes[place % len(nodes)] if nodes else (None, None)
        value = json.loads(TEXTS[choice % len(TEXTS)])  # a new one: a value that is put into itself has no end
        if parent is None:
            return value
        match kind:
            case 0:
                parent[key] = value
            case 1:
                del parent[key]
            case 2:
                parent[key] = [parent[key]] if choice % 2 else {"a": parent[key]}
            case 3 if isinstance(parent, dict):
                parent[str(value)[:60]] = parent.pop(key)
            case 3:
                parent.insert(key, value)
    return tree


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        if len(tree) < 100:
            yield from _nodes(tree[key])


# --- what must hold -------------------------------------------------------------------------------------------------


class HangError(BaseException):
    """It took too long."""


def _alarm(signum: int, _frame: FrameType | None) -> None:
    raise HangError(signal.Signals(signum).name)


@contextlib.contextmanager
def hard_limit() -> Iterator[None]:
    """End what computes, or waits, for too long."""
    previous = [signal.signal(signum, _alarm) for signum in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        for timer, signum, handler in zip(
            (signal.ITIMER_PROF, signal.ITIMER_REAL), (signal.SIGPROF, signal.SIGALRM), previous, strict=True
        ):
            signal.setitimer(timer, 0)
            signal.signal(signum, handler)


def attempt(function: Callable[[], object]) -> bool:
    """Whether it worked. If not, it was refused as it should be."""
    try:
        with hard_limit():
            function()
    except SeqrevError as error:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            Console().error(error)
        check(Result(error.exit_code, "", err.getvalue()))
        return False
    return True


def check(result: Result) -> None:
    """The exit code is a documented one, and what is printed may be."""
    code, out, err = result
    assert code in (0, 2, 3, 4) or (code == 1 and any(words in err for words in KNOWN)), err
    assert "should not have happened" not in err
    assert all(char.isprintable() or char == "\n" for char in out + err), ascii(err)
    if code:
        message, hint = err.splitlines()[-2:]
        assert message.startswith("Error: ")
        assert hint.startswith("Try: ")
        assert len(message) < LONGEST_MESSAGE + 20


# --- the surfaces -------------------------------------------------------------------------------------------------


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
            attempt(lambda: target.run.begin(device="cpu"))
        elif name.startswith("learning"):
            attempt(lambda: load_frames(target.run.learning))
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

# --- how -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _files(target: Target, changed: dict[str, bytes]) -> Iterator[None]:
    for name, content in changed.items():
        (target.run.path / name).write_bytes(content)
    try:
        yield
    finally:
        for name in changed:
            (target.run.path / name).write_bytes(target.valid[name])


def fuzz(size: Size, seed_: int) -> Outcome:
    """Every surface, as often as the size asks for."""
    with scratch() as folder:
        run = Run(Path(folder) / "runs" / "001")
        assert run_main("train", *options(), *options((*MODEL, *SMALL)), "--runs-dir", run.path.parent).code == 0
        target, model, counts = Target.of(run), api.load(run), {}
        with (
            mock.patch.object(api, "load", return_value=model),
            mock.patch("seqrev.runs._git", return_value=None),
            mock.patch("os.fsync"),
        ):
            for surface in SURFACES:
                counts[surface.__name__] = _explore(surface, target, EXAMPLES[size], seed_)
                print(f"  {surface.__name__.replace('_', ' ')}: {counts[surface.__name__]:,}", flush=True)
                there = {path.name for path in run.path.parent.iterdir()}
                assert there <= {"001", "evil.yaml", "evil.txt"}, there
        assert [path.name for path in Path(folder).iterdir()] == ["runs"]
        for name, content in target.valid.items():
            assert (run.path / name).read_bytes() == content, name
    return Outcome(sum(counts.values()), "; ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()))


def _explore(surface: Callable[[st.DataObject, Target], None], target: Target, examples: int, seed_: int) -> int:
    count = 0

    @seed(seed_)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.data())
    def explored(data: st.DataObject) -> None:
        nonlocal count
        count += 1
        surface(data, target)

    explored()
    assert count >= examples, count
    return count
