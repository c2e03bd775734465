"""The order of what a write asks of the disk: nothing is renamed into sight before all of it would survive a power cut."""

import random
from pathlib import Path

from seqrev.runs.folders import Run, open_run
from seqrev.system.files import TEMPORARY
from tests.helpers import tiny_config
from tests.torture import strace
from tests.torture.common import Outcome, Size, scratch
from tests.torture.scenes import SCENES, Scene
from tests.torture.shim import CHANGES, Call, Watch, watching

IN_PLACE = ("metrics.jsonl", ".lock")  # the one is appended to, the other is always empty
TRACES = {"fast": 1, "long": 20}


def trace(size: Size, seed: int) -> Outcome:
    """Every scene of ``faults`` by the shim; some by strace, which must have seen the same calls."""
    rng, reason = random.Random(seed), strace.unusable()
    for scene in SCENES:
        with scratch() as folder:
            run = _prepared(Path(folder), scene, 4)
            watch = Watch(run.path)
            with watching(watch):
                scene.act(run, 4)
            check_order([call for call in watch.calls if call.name in CHANGES], scene.name)
    if reason:
        return Outcome(len(SCENES), f"writes, by the shim; none by strace: {reason}")
    for _ in range(TRACES[size]):
        scene = rng.choice(SCENES)
        with scratch() as name:
            seen = _both_see(Path(name), scene, rng.choice((4, 100, 600)))
        check_order(seen, f"{scene.name}, seed {seed}")
    return Outcome(len(SCENES) + TRACES[size], f"writes: {len(SCENES)} by the shim, {TRACES[size]} by strace")


def _prepared(folder: Path, scene: Scene, width: int) -> Run:
    run = open_run(folder, tiny_config("data.train=20", "data.validation=5", "data.test=5"))
    scene.prepare(run, width)
    return run


def _both_see(folder: Path, scene: Scene, width: int) -> list[Call]:
    """The calls by strace; the shim must see the same, or ``faults`` would miss some."""
    run = _prepared(folder / "strace", scene, width)
    result = strace.traced(lambda: scene.act(run, width))
    assert result.code == 0, result
    seen = result.calls(run.path)
    other = _prepared(folder / "shim", scene, width)
    watch = Watch(other.path)
    with watching(watch):
        scene.act(other, width)
    mine = [call for call in watch.calls if call.name in CHANGES]
    one, two = _comparable(seen, run.path), _comparable(mine, other.path)
    assert one == two, f"{scene.name}: strace saw\n{one}\nthe shim saw\n{two}"
    return seen


def _comparable(calls: list[Call], under: Path) -> list[tuple[str, str, str]]:
    """Without what differs between two processes: the folder, the number in temporary names, the order of a deletion."""

    def plain(path: str) -> str:
        parts = path.removeprefix(str(under)).split("/")
        return "/".join(".".join(part.split(".")[:-2]) if TEMPORARY.fullmatch(part) else part for part in parts)

    rows = [(call.name, plain(call.path), plain(call.target)) for call in calls]
    removed = [index for index, row in enumerate(rows) if row[0] == "unlink"]
    for index, row in zip(removed, sorted(rows[index] for index in removed), strict=True):
        rows[index] = row
    return rows


def check_order(calls: list[Call], name: str) -> None:
    """Hold a write against the rules; AssertionError names the call."""
    unsynced: set[Path] = set()  # files with content, folders with entries, that a power cut would lose
    owed: set[Path] = set()  # folders into which something was renamed, and which must be flushed
    fragile: set[Path] = set()  # folders in which a folder was made, and which must be flushed before that is used
    sealed: set[Path] = set()  # temporary folders with a manifest: complete
    for number, (what, word, target_word) in enumerate(calls):
        path, target = Path(word), Path(target_word)
        where = f"{name}: call {number}, {what} {word} {target_word}"
        if what in ("unlink", "rmdir"):
            assert not owed, f"{where}: removed before {owed} was flushed"
        if what == "fsync":
            for names in (unsynced, owed, fragile):
                names.discard(path)
        if what in ("create", "write"):
            assert _hidden(path) or path.name in IN_PLACE, f"{where}: written in place"
            assert path.parent not in sealed, f"{where}: written after the manifest"
            unsynced.add(path)
            if ".manifest.json." in path.name:
                others = {one for one in unsynced if one.parent == path.parent and one != path}
                assert not others, f"{where}: the manifest is written before {others} is flushed"
        if what == "mkdir" and not _hidden(path):
            fragile.add(path.parent)
        if what == "rename":
            lost = {one for one in unsynced if one == path or path in one.parents}
            assert not lost, f"{where}: renamed before {lost} was flushed"
            if path.name.startswith(".manifest.json.") and _hidden(path.parent):
                sealed.add(path.parent)
            if not _hidden(target):
                assert target.parent.parent not in fragile, f"{where}: the folder that it is in may be lost"
                owed.add(target.parent)
            unsynced.add(target.parent)
    assert not owed, f"{name}: never flushed: {owed}"


def _hidden(path: Path) -> bool:
    """Whether it is, or is in, something that is not yet, or no more, in its place."""
    return any(TEMPORARY.fullmatch(part) for part in path.parts)
