"""A result that was computed is not lost, nor its gate left open: the reader has gone, or nothing can be saved."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seqrev.runs.folders import Run
from tests.helpers import PATIENCE, Cli, assert_refused, child_environment, settings
from tests.workflows.sweeps import write_sweep

COMMANDS = (
    ("generate", *settings()),
    ("train", "--run", "1", "--steps", "251"),
    ("train", "--run", "1", "--tensorboard"),
    ("runs",),
    ("sweep", "mine.yaml"),
    ("evaluate", "--run", "1", "--lengths", "9", "--min-exact", "1"),
    ("evaluate", "--run", "1", "--file", "long.txt", "--min-exact", "1", "--json"),
    ("evaluate", "--run", "1", "--out", "result.json"),
    ("decode", "--run", "1", "1", "2"),
    ("attention", "--run", "1", "1", "2"),
    ("attention", "--run", "1", "1", "2", "--arrays", "maps.npz", "--text"),
    ("attention", "--run", "1", "--over-time", "--out", "strip.png"),
    ("attention", "--run", "1", "--report"),
)
CODES = """
import json, sys
from seqrev.cli import main
print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]), file=sys.stderr)
"""


def outcome(folder: Path, stdout: int) -> tuple[list[int], set[str]]:
    """The exit codes of the commands, one after the other in a new process, and the files that are there then."""
    done = subprocess.run(
        [sys.executable, "-c", CODES, json.dumps(COMMANDS)],
        cwd=folder,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
        timeout=PATIENCE,
        check=False,
    )
    codes: list[int] = json.loads(done.stderr.splitlines()[-1])
    return codes, {str(path.relative_to(folder)) for path in folder.rglob("*.*") if "tfevents" not in path.name}


def test_a_reader_that_has_gone_changes_neither_the_files_nor_the_code(own_run: Run, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        shutil.copytree(own_run.path, tmp_path / name / "runs" / "001")
        write_sweep(tmp_path / name, seeds=[0], variants={"plain": []}, lengths=[2])
        (tmp_path / name / "long.txt").write_text("".join(f"{i % 5} 1 2 3 4 0 1 2 3 4 3 3 0 1\n" for i in range(9)))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer):
        codes, files = outcome(tmp_path / "one", writer)
    assert (codes, files) == outcome(tmp_path / "other", subprocess.DEVNULL)
    assert codes == [4 if "--min-exact" in command else 0 for command in COMMANDS]


@pytest.fixture(params=["mkdir", "touch", "fsync"])
def unwritable(own_run: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Run:
    """A run in which nothing can be written: there is no room for a folder, for a file, or for what is in it."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    owner = os if request.param == "fsync" else Path
    monkeypatch.setattr(owner, request.param, refuse)
    return own_run


@pytest.mark.parametrize("source", [("--split", "test"), ("--lengths", "9")])
def test_what_cannot_be_saved_is_printed_and_judged(cli: Cli, unwritable: Run, source: tuple[str, str]) -> None:
    result = cli("evaluate", *source)
    assert result.code == 0, result.err
    assert "exact match" in result.out
    assert "Warning: this result is not saved. " in result.err
    assert "--out FILE.json" in result.err
    document = cli("evaluate", *source, "--json").document
    assert "plot" not in document
    worse = cli("evaluate", "--lengths", "9", "--min-exact", "1", "--json")
    assert (worse.code, worse.error["type"]) == (4, "QualityError")
    assert worse.document["exact_match"] < 1
    assert not [path for path in unwritable.path.glob("evaluation/*") if path.is_file()]


def test_the_result_goes_to_another_place_on_request(cli: Cli, own_run: Run) -> None:
    document = cli("evaluate", "--out", "mine.json", "--json").document
    assert json.loads(Path("mine.json").read_text()) == document
    two = cli("evaluate", "--run", "1", "--run", own_run, "--lengths", "2", "--out", "two.json", "--json").document
    assert json.loads(Path("two.json").read_text()) == {"runs": two["runs"]}
    assert two["plot"] == "two.png"
    assert Path("two.png").is_file()
    assert not (own_run.path / "evaluation").exists()


def test_a_place_that_was_asked_for_must_be_one(cli: Cli, own_run: Run) -> None:
    assert_refused(cli("evaluate", "--out", "mine.txt"), 2, "mine.txt must end in .json")
    assert_refused(cli("evaluate", "--out", "none/mine.json"), 2, "There is no folder none")
    before = own_run.record.path.read_bytes()
    for name in ("run.json", "RUN.json", "data/manifest.json"):
        assert_refused(
            cli("evaluate", "--out", own_run.path / name), 2, "is the name of a file of runs, and is not replaced"
        )
    assert own_run.record.path.read_bytes() == before
    Path("rows.json").write_text("1 2\n")
    Path("same.json").hardlink_to("rows.json")
    for name in ("rows.json", "same.json"):
        assert_refused(cli("evaluate", "--file", "rows.json", "--out", name), 2, "is read here, and is not replaced")
    Path("taken.json").mkdir()
    failed = cli("evaluate", "--run", own_run, "--out", "taken.json", "--json")
    assert failed.code == 1
    assert failed.document["sequences"] == 30  # it is printed all the same
    assert "taken.json" in failed.error["message"]
    assert cli("evaluate", "--lengths", "9", "--out", "taken.json", "--min-exact", "1").code == 4
