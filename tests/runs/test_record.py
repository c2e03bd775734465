import json
from pathlib import Path
from typing import Any

import pytest

import seqrev
from seqrev.config import Config
from seqrev.errors import InputError
from seqrev.runs.finding import find_run
from seqrev.runs.folders import Run, open_run
from seqrev.runs.record import SCHEMA
from tests.helpers import Cli, assert_refused


def set_schema(run: Run, **schema: Any) -> str:
    """Make the record one of another version; returns what is in the file then."""
    path = run.path / "run.json"
    record = {key: value for key, value in run.record.read().items() if key != "schema"}
    path.write_text(json.dumps({**record, **schema}))
    return path.read_text()


@pytest.mark.parametrize("content", [b"", b"\x80\x00", b"[]"])
def test_a_damaged_record_is_refused(tmp_path: Path, content: bytes) -> None:
    run = open_run(tmp_path, Config())
    (run.path / "run.json").write_bytes(content)
    for read in (run.record.read, lambda: find_run("1", tmp_path, lambda _: True, "anything")):
        with pytest.raises(InputError, match=r"run\.json"):
            read()


# --- runs of other versions -----------------------------------------------------------------------------------------


def test_a_record_says_of_which_schema_its_run_is(tmp_path: Path) -> None:
    assert open_run(tmp_path, Config()).record.read()["schema"] == SCHEMA == 2


@pytest.mark.parametrize("spec", [None, "latest", "1", "PATH"])
def test_a_run_of_another_schema_is_refused_in_one_sentence(tmp_path: Path, spec: str | None) -> None:
    run = open_run(tmp_path, Config())
    set_schema(run, schema=1)
    with pytest.raises(InputError) as caught:
        find_run(str(run) if spec == "PATH" else spec, tmp_path, Run.has_config, "a configuration")
    assert str(caught.value) == (
        f"{run} was made by another version of seqrev (run folders of schema 1); this version reads schema 2."
    )
    assert caught.value.hint.startswith("seqrev train ")


def test_nothing_is_written_into_a_run_of_another_schema(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    content = set_schema(run, schema=3)
    config = (run.path / "config.yaml").read_text()
    with pytest.raises(InputError, match="another version"):
        run.record.begin_attempt()
    with pytest.raises(InputError, match="another version"):
        run.record.update(status="done")
    with pytest.raises(InputError, match="another version"):
        run.extend(run.config().train.steps + 1)
    assert (run.path / "run.json").read_text() == content
    assert (run.path / "config.yaml").read_text() == config


@pytest.mark.parametrize(
    "schema", [{}, {"schema": None}, {"schema": "2"}, {"schema": [2]}, {"schema": "\x1b[31m" * 10_000}]
)
def test_a_schema_that_is_no_number_is_another_one_and_shown_in_short(tmp_path: Path, schema: dict[str, Any]) -> None:
    run = open_run(tmp_path, Config())
    set_schema(run, **schema)
    with pytest.raises(InputError, match="another version") as caught:
        run.record.read()
    assert len(str(caught.value)) < len(str(run)) + 150
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("command", [("decode", "1", "2"), ("evaluate",), ("attention", "1", "2"), ("train",)])
def test_every_command_refuses_a_run_of_another_schema(cli: Cli, own_run: Run, command: tuple[str, ...]) -> None:
    set_schema(own_run, schema=1)
    assert_refused(cli(*command, "--run", "1"), 3, "was made by another version of seqrev", "reads schema 2")


def test_the_library_refuses_a_run_of_another_schema(own_run: Run) -> None:
    set_schema(own_run, schema=1)
    for run in ("1", str(own_run), own_run):
        with pytest.raises(InputError, match="another version"):
            seqrev.load(run, "cpu")


# --- attempts -------------------------------------------------------------------------------------------------------


def test_an_attempt_begins_and_the_one_before_is_kept(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    run.record.update(dataset_sha256="d")
    run.record.begin_attempt(device="cpu", parent=None)
    record = run.record.read()
    assert {"command", "pid", "versions", "platform", "git", "started", "device"} <= record.keys()
    assert (record["status"], record["attempts"], record["dataset_sha256"]) == ("running", [], "d")
    run.record.update(status="interrupted", step=5, ended="now")
    run.record.begin_attempt(device="cuda", parent={"step": 5, "sha256": "x"})
    record = run.record.read()
    assert (record["status"], record["device"], record["parent"]["step"]) == ("running", "cuda", 5)
    assert "ended" not in record
    (first,) = record["attempts"]
    assert (first["status"], first["step"], first["device"], first["ended"]) == ("interrupted", 5, "cpu", "now")
    assert not {"seed", "opened", "attempts", "dataset_sha256"} & first.keys()


def test_an_attempt_that_never_ended_was_a_crash(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    for _ in range(3):
        run.record.begin_attempt()
    assert [attempt["status"] for attempt in run.record.read()["attempts"]] == ["crashed", "crashed"]
