import shutil
from pathlib import Path

import pytest

from seqrev.config import load_config, to_yaml
from seqrev.runs.folders import Run
from tests.helpers import Cli, assert_refused

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def three(own_run: Run) -> list[Run]:
    """Three runs that differ in two fields."""
    runs = [own_run]
    for number, overrides in ((2, ("train.lr=0.01",)), (3, ("train.lr=0.01", "model.positions=none"))):
        path = own_run.path.with_name(f"{number:03d}")
        shutil.copytree(own_run.path, path)
        (path / "config.yaml").write_text(to_yaml(load_config(path / "config.yaml", overrides)))
        runs.append(Run(path))
    return runs


@pytest.mark.usefixtures("three")
def test_runs_are_a_table_with_what_differs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "40")  # which matters on a terminal only
    lines = cli("runs").out.splitlines()
    assert lines[0].split() == ["run", "status", "step", "exact", "match", "began", "positions", "lr"]
    assert [line.split()[0] for line in lines[1:]] == ["001", "002", "003"]
    assert [line.split()[-2:] for line in lines[1:]] == [["sinusoidal", "0.005"], ["sinusoidal", "0.01"], ["none", "0.01"]]
    assert lines[1].split()[1:3] == ["done", "250/250"]
    monkeypatch.setattr("seqrev.cli.tables.terminal_width", lambda: 55)  # too narrow for columns
    lines = cli("runs").out.splitlines()
    assert lines[0].split() == ["run", "status", "step", "exact", "match", "began"]
    assert [line.split()[0] for line in lines[1::2]] == ["001", "002", "003"]
    assert lines[2] == "     model.positions=sinusoidal train.lr=0.005"
    assert cli("runs", "2", "3").out.splitlines()[-1] == "     model.positions=none"  # only what differs between these
    monkeypatch.setattr("seqrev.cli.tables.terminal_width", lambda: 45)
    lines = cli("runs").out.splitlines()
    assert lines[0].split() == ["run", "status", "step", "exact", "match"]
    assert lines[2:4] == ["     model.positions=sinusoidal", "     train.lr=0.005"]  # no word is broken
    assert lines[-1] == "Left out: began; --json has all."


def test_the_document_has_what_is_known(cli: Cli, three: list[Run]) -> None:
    (three[2].path / "run.json").write_text("{")
    document = cli("runs", "--json").document
    assert [row["run"] for row in document["runs"]] == ["runs/001", "runs/002", "runs/003"]
    assert [row["status"] for row in document["runs"]] == ["done", "done", "damaged"]
    assert [row["differs"] for row in document["runs"]][1:] == [
        {"model.positions": "sinusoidal", "train.lr": 0.01},
        {"model.positions": "none", "train.lr": 0.01},
    ]
    assert document["runs"][2]["problems"] == ["runs/003/run.json is not valid JSON."]
    assert document["runs"][0]["exact_match"] == document["runs"][2]["exact_match"] > 0
    text = cli("runs").out
    assert text.splitlines()[-1] == "runs/003: runs/003/run.json is not valid JSON."


def test_what_a_folder_contains_cannot_forge_lines_or_steer_the_terminal(cli: Cli, own_run: Run) -> None:
    record = own_run.record.path.read_text()
    for began in (r'"2026-01-01T00:00:00+00:00\nx"', '"9999-12-31T23:59:59-23:00"', "3", '"x"'):
        opened = own_run.record.read()["opened"]
        own_run.record.path.write_text(record.replace(f'"{opened}"', began))
        assert cli("runs").out.splitlines()[1].endswith(" -")
        own_run.record.path.write_text(record)
    Path("runs/002").mkdir()
    Path("runs/002/config.yaml").write_text('"\\e[31m\\n": 1\n')
    result = cli("runs")
    assert result.code == 0
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 4


def test_no_runs_are_no_failure(cli: Cli) -> None:
    result = cli("runs")
    assert (result.code, result.out) == (0, "")
    assert result.err == "There is no run in runs yet: seqrev train --config small\n"
    assert cli("runs", "--json").document == {"runs": []}


def test_a_run_that_is_not_there_is_refused(cli: Cli, own_run: Run) -> None:
    assert_refused(cli("runs", "9"), 3, "'runs/009' is not a run folder.", "Try: seqrev runs")
    assert cli("runs", own_run).code == 0


@pytest.mark.parametrize("command", [("runs",), ("evaluate",), ("decode", "1"), ("attention",)])
def test_a_file_is_no_folder_of_runs(cli: Cli, command: tuple[str, ...]) -> None:
    Path("file").write_text("")
    result = cli(*command, "--runs-dir", "file")
    assert_refused(result, 3, "file is not a folder that can be read", f"Try: seqrev {' '.join(command)} --runs-dir runs")
