"""What goes wrong at the command line: real situations, each with what is offered then."""

import errno
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from seqrev.runs.checkpoints import newest_first
from seqrev.runs.folders import Run
from seqrev.system.locks import lock
from seqrev.training.events import Validation
from tests.helpers import flip_byte, run_main, settings
from tests.workflows.sweeps import write_sweep

Prepare = Callable[[Run, pytest.MonkeyPatch], object]
LONG = " ".join(["4 8 2 9"] * 60)
DIVERGING = ("train.lr=1e30", "train.warmup_steps=0")


class Situation(NamedTuple):
    """A command that fails, in a folder with two trained runs, after what ``prepare`` did to them.

    What that returns, if it can be called, takes away what was in the way, as the end of the monkeypatch does.
    """

    typed: str
    prepare: Prepare = lambda run, patch: None


def file(name: str, content: str | bytes) -> Prepare:
    """A file of the user."""
    return lambda run, patch: Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def damaged(pattern: str) -> Prepare:
    """Files of the run in which a bit is wrong."""

    def flip(run: Run, _: pytest.MonkeyPatch) -> None:
        for path in run.path.glob(pattern):
            flip_byte(path)

    return flip


def removed(pattern: str, of: str = "001") -> Prepare:
    """Files and folders of runs that are gone."""

    def remove(run: Run, _: pytest.MonkeyPatch) -> None:
        for path in run.path.parent.glob(f"{of}/{pattern}"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def changed(name: str, pattern: str, by: str) -> Prepare:
    """A file of the run, edited by hand."""

    def change(run: Run, _: pytest.MonkeyPatch) -> None:
        text = (run.path / name).read_text()
        assert re.search(pattern, text)
        (run.path / name).write_text(re.sub(pattern, by, text))

    return change


def written_anew(content: bytes, sealed: bool = True) -> Prepare:
    """The test split of the run, written anew; ``sealed``: and its manifest with it."""

    def write(run: Run, _: pytest.MonkeyPatch) -> None:
        (run.data / "test.jsonl").write_bytes(content)
        manifest = json.loads((run.data / "manifest.json").read_text())
        if sealed:
            manifest["splits"]["test"].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        (run.data / "manifest.json").write_text(json.dumps(manifest))

    return write


def failing(where: str, error: BaseException) -> Prepare:
    """The system refuses, or there is no memory."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    return lambda run, patch: patch.setattr(where, refuse)


def nowhere(_run: Run, _: pytest.MonkeyPatch) -> Callable[[], None]:
    """The current folder is gone."""
    before, gone = Path.cwd(), Path("gone")
    gone.mkdir()
    os.chdir(gone)
    (before / gone).rmdir()
    return lambda: os.chdir(before)


def opened(*options: str) -> Prepare:
    """A third run, with only a dataset."""
    return lambda run, patch: run_main("generate", "--config", "fast", *options)


def trained(*overrides: str) -> Prepare:
    """A third run, trained for a step."""
    return lambda run, patch: run_main("train", "--config", "fast", *settings(("train.steps=1", *overrides)))


def of_pairs(_run: Run, _: pytest.MonkeyPatch) -> None:
    """A third run, of pairs that somebody brought."""
    Path("mine.tsv").write_text("".join(f"{i // 10} {i % 10}\t{i % 10}\n" for i in range(100)))
    run_main("generate", "--config", "fast", "--from", "mine.tsv", "--set", "train.steps=1")
    run_main("train", "--run", "3")


def at_work(run: Run, _: pytest.MonkeyPatch) -> Callable[[], None]:
    """Another process has the lock of the run."""
    stack = ExitStack()
    stack.enter_context(lock(run.path / ".lock"))
    return stack.close


def good_enough(run: Run, patch: pytest.MonkeyPatch) -> None:
    """A run whose training has ended early."""
    changed("config.yaml", "stop_at: null", "stop_at: 0.5")(run, patch)
    (newest, *_) = newest_first(run.checkpoints)
    good = replace(newest, validation={"exact_match": 1.0})
    patch.setattr("seqrev.runs.folders.newest_first", lambda folder: [good])


def smaller(limit: str) -> Prepare:
    """A limit of the program that is reached sooner."""
    return lambda run, patch: patch.setattr(f"seqrev.{limit}", 9999)


def linked(run: Run, _: pytest.MonkeyPatch) -> None:
    """A split that leads out of the run."""
    (run.data / "test.jsonl").unlink()
    (run.data / "test.jsonl").symlink_to("elsewhere")


def sweep_of(**changes: object) -> Prepare:
    """A sweep of the user, of one seed."""
    return lambda run, patch: write_sweep(Path(), **{"seeds": [0], "variants": {"plain": []}, **changes})


def then(*both: Prepare) -> Prepare:
    """One after the other."""
    return lambda run, patch: [prepare(run, patch) for prepare in both]


def interrupting(where: str, kind: type = object) -> Prepare:
    """Ctrl-C, while a command reports how far it is."""

    def interrupt(*arguments: object) -> None:
        if isinstance(arguments[-1], kind):
            signal.raise_signal(signal.SIGINT)

    return lambda run, patch: patch.setattr(where, interrupt)


def unlocked(_run: Run, patch: pytest.MonkeyPatch) -> None:
    """Somebody removes the lock of a run at work."""
    patch.setattr("seqrev.cli.train.Reporter.__call__", lambda *_: Path("runs/003/.lock").unlink(missing_ok=True))


NO_ROOM = OSError(errno.ENOSPC, "No space left on device")
FULL = failing("os.fsync", NO_ROOM)
NO_TENSORBOARD: Prepare = lambda run, patch: patch.setattr("seqrev.runs.tensorboard.find_spec", lambda name: None)  # noqa: E731
EXPERIMENT = "attention --run pretrained"
SITUATIONS = [
    # words
    Situation("train --config fast --theme neon"),
    Situation("train --config fast --json=yes"),
    Situation("train fast"),
    Situation("train ablation"),
    Situation("trian --heads=2 --lr 1e-3 --config fast"),
    Situation("evaluate 1 2"),
    Situation("bogus"),
    Situation("decode"),
    Situation("decode 4 --jsno"),
    Situation("decode ''"),
    Situation("decode 4829"),
    Situation("decode 4 x"),
    Situation(f"decode --run 1 {LONG}"),
    Situation("evaluate --count 5"),
    Situation("evaluate --tokens"),
    Situation("evaluate --run 1 --run 2"),
    Situation("evaluate --split test --families"),
    Situation("evaluate --lengths 20 --min-exact 1"),
    Situation("evaluate --lengths x --run 1"),
    Situation("evaluate --lengths 9:1 --run 1"),
    Situation("evaluate --lengths 1:9000,9001:18001 --run 1"),
    Situation("evaluate --exhaustive 8 --run 1", smaller("data.families.MOST_SEQUENCES")),
    Situation("evaluate --out none/x.json"),
    Situation("evaluate --run 1 --out run.json"),
    Situation("evaluate --split train --run pretrained"),
    Situation("runs --theme dark"),
    Situation("runs 7"),
    Situation("runs --out x.jpg"),
    Situation("runs --out none/x.png"),
    Situation("runs --runs-dir mine.txt", file("mine.txt", "")),
    Situation("train --run 1 --seed 3"),
    Situation("train --config fast --steps 9"),
    Situation("train --run 1 --steps 3"),
    Situation("train --run pretrained"),
    Situation("train --run 7"),
    Situation("decode 4 --run 7"),
    Situation("decode 4 --device cuda:99"),
    Situation("attention --path cross.1.1 --run pretrained"),
    Situation("attention --layer 9 --run 1"),
    Situation("attention --type encoder --run 3", trained("model.encoder_layers=0")),
    Situation(f"{EXPERIMENT} --ablate cros.1"),
    Situation(f"{EXPERIMENT} --ablate cross.1.1.weights --how mean"),
    Situation(f"{EXPERIMENT} --patch '4 8' '4 9' --path decoder.9"),
    Situation(f"{EXPERIMENT} --patch '4 8' '4 9' --path cross.2.1"),
    Situation(f"{EXPERIMENT} --patch '4 8' '4 8 1' --path encoder.1.1"),
    Situation(f"{EXPERIMENT} --patch '4 8' '4 8'"),
    Situation(f"{EXPERIMENT} {LONG}", smaller("interpret.attention.MOST_WEIGHTS")),
    Situation(f"{EXPERIMENT} --influence {LONG}", smaller("interpret.influence.MOST_TOKENS")),
    Situation(f"{EXPERIMENT} {LONG} --out page.html", smaller("plotting.page.page.MOST_RECORDED")),
    # configurations
    Situation("train --config fast --set model.head=2"),
    Situation("train --config fast --set model.heads=3 --set train.stepps=5"),
    Situation("train --set bogus"),
    Situation("train --config ablation"),
    Situation("train --config smal"),
    Situation("train --config mine.yaml", file("mine.yaml", "[1]")),
    Situation("train --set task.rule=pairs"),
    Situation("train --config fast --set data.test=900000 --set task.max_length=3"),
    Situation("train --config fast", lambda run, patch: patch.setattr("seqrev.system.resources._memory", lambda: 1000)),
    Situation("sweep fast"),
    Situation("sweep mine.yaml", file("mine.yaml", "\xff".encode("latin-1"))),
    Situation("sweep mine.yaml", file("mine.yaml", "{")),
    Situation("sweep mine.yaml", file("mine.yaml", "base: fast\nx: 1")),
    Situation("sweep mine.yaml", then(sweep_of(), lambda run, patch: patch.setenv("WORLD_SIZE", "2"))),
    Situation("sweep mine.yaml", sweep_of(variants={"plain": [], "bad": [*DIVERGING]})),
    Situation("sweep mine.yaml --out .", then(sweep_of(), file("results.csv", "mine"))),
    # files
    Situation("decode --file none.txt"),
    Situation("decode --file"),
    Situation(f"decode --file {'a' * 999}"),
    Situation("decode --file runs"),
    Situation("decode --file /dev/null"),
    Situation("decode --file mine.txt", file("mine.txt", "")),
    Situation("decode --file mine.txt", file("mine.txt", b"\xff\n")),
    Situation("decode --file mine.txt", file("mine.txt", "4 8\n4 x\n")),
    Situation("decode --file mine.txt", file("mine.txt", "4\r8\n")),
    Situation("decode --file mine.txt", file("mine.txt", "4\t8\t1\n")),
    Situation("decode --file mine.txt", file("mine.txt", "{\n")),
    Situation("decode --file mine.txt", file("mine.txt", '{"src": 1}\n')),
    Situation("decode --file mine.txt", file("mine.txt", '{"src": [1], "src": [1]}\n')),
    Situation("evaluate --file mine.txt", file("mine.txt", "4\t8\n1\n")),
    Situation("generate --from mine.txt", file("mine.txt", "4 8\n")),
    Situation("generate --from mine.txt", file("mine.txt", "4\t8\n")),
    Situation("generate --from mine.txt", file("mine.txt", "4\t8\n4\t9\n")),
    Situation("generate --config fast --runs-dir mine.txt", file("mine.txt", "")),
    # runs
    Situation("evaluate", removed("checkpoints", of="*")),
    Situation("evaluate --run 1", removed("checkpoints")),
    Situation("decode 4 --run 1", damaged("checkpoints/*/model.safetensors")),
    Situation("decode 4 --run 1", damaged("checkpoints/*/manifest.json")),
    Situation("train --run 1", damaged("checkpoints/*/model.safetensors")),
    Situation("train --run 1", changed("metrics.jsonl", '.*"validation".*\n', "")),
    Situation("train --run 1", changed("run.json", r'"schema": \d+', '"schema": 99')),
    Situation("train --run 1 --steps 9", good_enough),
    Situation("train --run 1", at_work),
    Situation("evaluate --run 1", changed("config.yaml", "seed: 0", "seed: 1")),
    Situation("evaluate --run 1", changed("data/manifest.json", '"test": {', '"tset": {')),
    Situation("evaluate --run 1", damaged("data/test.jsonl")),
    Situation("evaluate --run 1", written_anew(b"4\n" * 99_999)),
    Situation("evaluate --run 1", written_anew(b"99\n")),
    Situation("evaluate --run 1", linked),
    Situation("evaluate --run 3 --lengths 1", trained("task.symbols=2", "task.max_length=9")),
    Situation("evaluate --run 3 --lengths 2", of_pairs),
    Situation("attention --over-time --run 1", removed("snapshots")),
    # trainings
    Situation(f"train --config fast {' '.join(settings(DIVERGING))}"),
    Situation("train --run 3", opened(*settings(DIVERGING))),
    Situation("train --run 3", then(opened(), FULL)),
    Situation("train --config fast", unlocked),
    Situation("train --config fast", interrupting("seqrev.cli.train.Reporter.__call__", Validation)),
    Situation("train --config fast --tensorboard", NO_TENSORBOARD),
    # the system
    Situation("generate --config fast", FULL),
    Situation("generate --config fast", interrupting("seqrev.cli.console.Progress.update")),
    Situation("decode 4", failing("seqrev.api.reverser.load", MemoryError())),
    Situation("decode 4", failing("seqrev.api.reverser.load", RuntimeError("can't start new thread"))),
    Situation("decode 4", nowhere),
    Situation("attention --run 1 4", failing("seqrev.runs.folders.make_folder", NO_ROOM)),
    Situation("decode 4", failing("seqrev.api.reverser.load", NO_ROOM)),
    Situation("decode 4", failing("seqrev.api.reverser.load", ZeroDivisionError())),
    Situation("attention --run 1 4", failing("seqrev.plotting.export._draw", ZeroDivisionError())),
]  # fmt: skip
