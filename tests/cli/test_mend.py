"""What Typer refuses is offered as it was meant."""

import shlex
from pathlib import Path

import pytest

from seqrev.config import fields
from tests.helpers import Cli, offered


@pytest.mark.parametrize("field", [name for name, _, _ in fields() if name not in ("seed", "train.steps")])
@pytest.mark.parametrize("command", ["generate", "train"])
def test_any_field_as_an_option_is_offered_as_a_setting(cli: Cli, command: str, field: str) -> None:
    option = "--" + field.rpartition(".")[2].replace("_", "-")
    expected = [command, "--config", "mine.yaml", "--set", f"{field}=7", "--json"]
    result = cli(command, "--config", "mine.yaml", f"{option}=7", "--json")
    assert result.code == 2
    assert shlex.split(result.error["hint"]) == ["seqrev", *expected]
    assert f"did you mean --set {field}=7" in result.error["message"]
    assert offered(cli(command, f"--{field}", "7")) in (
        [command, "--set", f"{field}=7"],
        [command, "--help"],  # of a switch, which has no such value
    )


def test_a_number_is_taken_along_and_a_switch_is_turned_on(cli: Cli) -> None:
    assert offered(cli("train", "--heads", "2", "--seed", "3")) == ["train", "--set", "model.heads=2", "--seed", "3"]
    assert offered(cli("train", "--heads", "--seed", "3")) == ["train", "--set", "model.heads=4", "--seed", "3"]
    assert offered(cli("train", "--stream", "--seed", "3")) == ["train", "--set", "data.stream=true", "--seed", "3"]
    assert offered(cli("train", "--stream", "false")) == ["train", "--set", "data.stream=false"]
    assert offered(cli("train", "--steps", "9", "--seed", "3")) == ["train", "--seed", "3", "--set", "train.steps=9"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("trian", "--seed", "3"), ["train", "--seed", "3"]),
        (("evalute",), ["evaluate"]),
        (("train", "--confg", "a b.yaml"), ["train", "--config", "a b.yaml"]),
        (("train", "--confg=a b.yaml"), ["train", "--config=a b.yaml"]),
        (("generate", "--warmup", "5"), ["generate", "--set", "train.warmup_steps=5"]),
        (("evaluate", "--length", "20"), ["evaluate", "--lengths", "20"]),
        (("decode", "--rnu", "1", "4"), ["decode", "--run", "1", "4"]),
        (("decode", "4", "--jsno"), ["decode", "4", "--json"]),
        (("sweep", "x.yaml", "--dryrun"), ["sweep", "x.yaml", "--dry-run"]),
        (("attention", "--overtime"), ["attention", "--over-time"]),
        (("bogus",), ["--help"]),
        (("bogus", "train"), ["train"]),
        (("bogus", "words"), ["--help"]),
        (("", "--set", "train"), ["--help"]),
        (("evaluate", "--bogus"), ["evaluate", "--help"]),
        (("evaluate", "--heads", "2"), ["evaluate", "--help"]),  # which does not take --set
        (("decode", "4", "--bogus"), ["decode", "--help"]),
        (("train", "-x"), ["train", "--help"]),
        (("train", "--lr", "3", "--help"), ["train", "--help"]),
        (("train", "--heads=2", "--lr", "1e-3"), ["train", "--set", "model.heads=2", "--set", "train.lr=1e-3"]),
        (("trian", "--heads", "2", "--jsno"), ["train", "--set", "model.heads=2", "--json"]),
        (("decode", "4", "--jsno", "--rnu", "1"), ["decode", "4", "--json", "--run", "1"]),
        (("trian", "--heads", "2", "--bogus"), ["--help"]),
        (("train", "--theme", "neon"), ["train", "--theme", "paper"]),
        (("runs", "--theme=drak", "--out", "x.png"), ["runs", "--theme", "dark", "--out", "x.png"]),
        (("evaluate", "--split", "trian"), ["evaluate", "--split", "train"]),
        (("evaluate", "--split", "val"), ["evaluate", "--split", "validation"]),
        (("evaluate", "--split", ""), ["evaluate"]),
        (("attention", "--patch", "4 8"), ["attention", "--patch", "4 8 2 9", "4 8 5 9"]),
        (("train", "--set"), ["train", "--set", "train.lr=1e-3"]),
        (("evaluate", "--beam", "1001"), ["evaluate", "--beam", "1000"]),
        (("evaluate", "--beam", "x"), ["evaluate", "--beam", "1"]),
        (("train", "--run", "1", "--steps", "0"), ["train", "--run", "1"]),
        (("train", "--run", "1", "--lr", "3"), ["train", "--help"]),  # that run has a configuration
        (("train", "--run", "1", "small"), ["train", "--help"]),
        (("train", "--seed", "3", "--config"), ["train", "--seed", "3", "--config", "small"]),
        (("train", "--json=yes", "--seed", "3"), ["train", "--json", "--seed", "3"]),
        (("sweep",), ["sweep", "--help"]),
        (("train", "small"), ["train", "--config", "small"]),
        (("generate", "--seed", "3", "mine.yaml"), ["generate", "--seed", "3", "--config", "mine.yaml"]),
        (("train", "ablation"), ["sweep", "ablation"]),
        (("train", "model.heads=2", "train.lr=1"), ["train", "--set", "model.heads=2", "--set", "train.lr=1"]),
        (("train", "--set", "model.heads", "2"), ["train", "--set", "model.heads=2"]),
        (("train", "--set", "model.heads", "=", "2", "--seed", "3"), ["train", "--set", "model.heads=2", "--seed", "3"]),
        (("train", "--set", "model.heads=", "2"), ["train", "--set", "model.heads=2"]),
        (("train", "what"), ["train", "--help"]),
        (("sweep", "ablation", "rules"), ["sweep", "--help"]),
        (("evaluate", "4", "8"), ["decode", "4", "8"]),
    ],
)
def test_what_was_misspelt_is_offered_as_it_was_meant(cli: Cli, typed: tuple[str, ...], meant: list[str]) -> None:
    assert offered(cli(*typed)) == meant


@pytest.mark.usefixtures("own_run")
def test_runs_and_files_are_offered_as_such(cli: Cli) -> None:
    assert offered(cli("train", "1")) == ["train", "--run", "1"]
    assert offered(cli("evaluate", "1", "--beam", "2")) == ["evaluate", "--beam", "2", "--run", "1"]
    several = ["evaluate", "--run", "1", "--run", "latest", "--lengths", "20,50,100"]
    assert offered(cli("evaluate", "1", "latest")) == several
    assert offered(cli("evaluate", "--run", "1", "latest")) == several
    Path("mine.txt").write_text("1 2\n")
    assert offered(cli("evaluate", "mine.txt", "--run", "1")) == ["evaluate", "--run", "1", "--file", "mine.txt"]
