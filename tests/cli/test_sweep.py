import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqrev.cli.options import ThemeName
from seqrev.errors import TrainingError
from seqrev.training.events import Event
from seqrev.workflows import sweep as workflow
from seqrev.workflows.train import Observer, train
from tests.helpers import Cli, assert_refused, run_process
from tests.workflows.sweeps import write_sweep

pytestmark = pytest.mark.usefixtures("undrawn")

ONE = {"seeds": [0], "variants": {"plain": []}, "lengths": [2]}


def test_a_sweep_is_a_table_and_a_document(cli: Cli) -> None:
    write_sweep(Path())
    result = cli("sweep", "mine.yaml")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].split() == ["variant", "3", "8"]
    assert [line.split()[0] for line in lines[1:3]] == ["plain", "rotary"]
    assert lines[3:] == [f"files: {', '.join(f'runs/sweep-mine/results.{kind}' for kind in ('csv', 'md', 'png'))}"]
    notes = result.err.splitlines()
    assert "1 of 4: plain, reverse, seed 0" in notes
    assert "Run: runs/004" in notes
    again = cli("sweep", "mine.yaml", "--json")
    assert "4 of 4: rotary, reverse, seed 1: runs/004 is done" in again.err.splitlines()
    document = again.document
    assert list(document) == ["sweep", "results", "failed", "csv", "table", "plot"]
    assert (document["sweep"], document["failed"], document["csv"]) == ("mine.yaml", [], "runs/sweep-mine/results.csv")
    assert [(row["variant"], row["seed"], row["length"]) for row in document["results"]][2:5] == [
        ("rotary", 0, 3),
        ("rotary", 0, 8),
        ("plain", 1, 3),
    ]
    runs = cli("runs", "--json").document["runs"]
    assert [row["run"] for row in runs] == [f"runs/00{number}" for number in (1, 2, 3, 4)]  # not the results
    assert [row["differs"]["seed"] for row in runs] == [0, 0, 1, 1]


def test_a_dry_run_lists_what_would_be_trained_without_pytorch(cli: Cli, tmp_path: Path) -> None:
    write_sweep(Path(), rules=["copy"])
    assert cli("generate", "--config", "base.yaml", "--set", "task.rule=copy", "--seed", "1").code == 0
    lines = cli("sweep", "mine.yaml", "--dry-run").out.splitlines()
    assert lines[0].split() == ["status", "run", "seed", "rule", "variant"]
    assert [line.split() for line in lines[1:]] == [
        ["new", "-", "0", "copy", "plain"],
        ["new", "-", "0", "copy", "rotary"],
        ["continue", "runs/001", "1", "copy", "plain"],
        ["new", "-", "1", "copy", "rotary"],
    ]
    document = cli("sweep", "mine.yaml", "--dry-run", "--json").document
    assert document["members"][2] == {
        "variant": "plain",
        "seed": 1,
        "rule": "copy",
        "run": "runs/001",
        "status": "continue",
    }
    assert document["members"][0]["run"] is None
    assert sorted(path.name for path in Path("runs").glob("[!.]*")) == ["001"]
    assert tmp_path == Path.cwd()


def test_ctrl_c_stops_as_in_train_and_says_how_to_go_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(what: Any, device: str, runs_dir: Path, observer: Observer, theme: ThemeName) -> Any:
        def on_event(event: Event) -> None:
            observer.on_event(event)
            if event.step == 3:
                signal.raise_signal(signal.SIGINT)

        return train(what, device, runs_dir, replace(observer, on_event=on_event), theme=theme)

    write_sweep(Path(), **ONE)
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "train", press)
        result = cli("sweep", "mine.yaml", "--runs-dir", "my runs", "--out", "out")
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-2:] == [
        "Stopped at step 3 of 4; nothing is lost.",
        "Continue: seqrev sweep mine.yaml --out out --runs-dir 'my runs'",
    ]
    assert cli("sweep", "mine.yaml", "--runs-dir", "my runs", "--out", "out").code == 0
    assert [path.name for path in Path("my runs").glob("[!.]*")] == ["001"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["results.csv", "results.md", "results.png"]


def test_trainings_that_failed_are_an_error_beside_the_results(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(what: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(what, "seed", None) == 1:
            raise TrainingError("the loss is nan")
        return original(what, *arguments, **options)

    original: Callable[..., Any] = train
    write_sweep(Path(), variants={"plain": []}, lengths=[2])
    monkeypatch.setattr(workflow, "train", fail)
    result = cli("sweep", "mine.yaml", "--json")
    assert result.code == 1
    assert "plain, reverse, seed 1: the loss is nan" in result.err.splitlines()
    assert result.error["message"] == "1 of 2 trainings failed: plain, reverse, seed 1."
    assert result.error["hint"] == "seqrev runs"
    assert result.document["failed"] == [{"variant": "plain", "seed": 1, "rule": "reverse"}]
    assert [row["seed"] for row in result.document["results"]] == [0]


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "says"),
    [
        ({"variants": {"a": ["model.hedas=2"], "b": ["train.lr=no"]}, "x": 1}, (), 2, "no field x"),
        ({"variants": {"a": ["model.hedas=2"], "b": ["train.lr=no"]}, "x": 1}, (), 2, "no field model.hedas"),
        ({"variants": {"a": ["model.hedas=2"], "b": ["train.lr=no"]}, "x": 1}, (), 2, "train.lr: Input should be"),
        ({}, ("--device", "abacus"), 2, "not available here"),
        ({}, ("--out", "base.yaml"), 1, "base.yaml"),
        ({}, ("--runs-dir", "base.yaml"), 1, "base.yaml"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_trained(
    cli: Cli, changes: dict[str, Any], arguments: tuple[str, ...], code: int, says: str
) -> None:
    write_sweep(Path(), **{**ONE, **changes})
    assert_refused(cli("sweep", "mine.yaml", *arguments), code, says)
    assert not Path("runs").exists()


@pytest.mark.parametrize(("name", "content"), [("none.yaml", None), (".", None), ("bad.yaml", b"\x80"), ("bad.yaml", b"[")])
def test_what_is_not_a_file_of_a_sweep_is_refused(cli: Cli, name: str, content: bytes | None) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    result = cli("sweep", name)
    assert_refused(result, 3, name)
    assert result.err.endswith("Try: seqrev sweep ablation\n")


def test_the_command_is_one_of_the_program(tmp_path: Path) -> None:
    write_sweep(tmp_path, **ONE)
    result = run_process("sweep", "mine.yaml", "--dry-run", folder=tmp_path)
    assert result.out.splitlines()[1].split() == ["new", "-", "0", "reverse", "plain"]
