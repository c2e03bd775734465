"""What is offered after an error can be typed as it stands."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.cli.usage import next_line
from seqrev.config import fields
from seqrev.errors import command_line
from tests.helpers import Cli, Result, assert_refused

COMMANDS = dict.fromkeys(("generate", "train", "evaluate", "decode", "attention", "runs"))


def offered(result: Result) -> list[str]:
    """The words after "Try: seqrev"."""
    assert_refused(result, 2)
    name, *words = shlex.split(result.err.splitlines()[-1].removeprefix("Try: "))
    assert name == "seqrev"
    return words


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
        [command, "--set", f"{field}=true", "7"],
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
        (("evaluate", "--bogus"), ["evaluate", "--help"]),
        (("evaluate", "--heads", "2"), ["evaluate", "--help"]),  # which does not take --set
        (("decode", "4", "--bogus"), ["decode", "--help"]),
        (("train", "-x"), ["train", "--help"]),
    ],
)
def test_what_was_misspelt_is_offered_as_it_was_meant(cli: Cli, typed: tuple[str, ...], meant: list[str]) -> None:
    assert offered(cli(*typed)) == meant


words = st.text(min_size=1, max_size=8)


@given(words, words)
def test_a_line_is_read_back_by_a_shell_as_the_same_words(run: str, other: str) -> None:
    assert shlex.split(command_line("train", "--run", run, other)) == ["seqrev", "train", "--run", run, other]


@given(st.text(alphabet=" '\"$()ab/;`\\", min_size=1, max_size=8), st.booleans())
def test_the_runs_and_their_folder_stay_with_the_next_line(folder: str, apart: bool) -> None:
    typed = ["decode", *(("--runs-dir", folder) if apart else (f"--runs-dir={folder}",)), "--run", "2", "11"]
    assert shlex.split(next_line("seqrev decode 4 8", typed, COMMANDS))[1:] == [
        *("decode", "4", "8", "--run", "2"),
        *("--runs-dir", folder),
    ]


@pytest.mark.parametrize(
    ("hint", "typed", "expected"),
    [
        ("seqrev decode 4 8", ("evaluate", "--run", "2", "--file", "x"), "seqrev decode 4 8 --run 2"),
        ("seqrev decode 4 8", ("train", "--run", "2"), "seqrev decode 4 8"),
        ("seqrev train --run a/001", ("decode", "--runs-dir", "a", "4"), "seqrev train --run a/001"),
        ("seqrev train --run 1", ("decode", "--runs-dir", "a", "4"), "seqrev train --run 1 --runs-dir a"),
        ("seqrev decode --help", ("decode", "--runs-dir", "a"), "seqrev decode --help"),
        ("seqrev evaluate --run pretrained", ("evaluate", "--run", "pretrained"), "seqrev evaluate --help"),
        ("seqrev evaluate --run pretrained", ("evaluate", "--run", "3"), "seqrev evaluate --run pretrained"),
        ("seqrev evaluate --split test", ("decode", "--run=2"), "seqrev evaluate --split test --run 2"),
        ("--device auto", ("decode", "--device", "abacus", "4"), "seqrev decode 4 --device auto"),
        ("--set data.test=5", ("train", "--set", "data.test=9", "--set", "data.train=9"),
         "seqrev train --set data.train=9 --set data.test=5"),
        ("--set data.test=5", ("train", "--set=data.test=9"), "seqrev train --set data.test=5"),
        ("make room on that disk", ("train", "--run", "1"), "make room on that disk"),
        ("it's a quote", ("train",), "it's a quote"),
        ("--device auto", (), "--device auto"),
    ],
)  # fmt: skip
def test_the_next_line_is_a_whole_command(hint: str, typed: tuple[str, ...], expected: str) -> None:
    assert next_line(hint, typed, COMMANDS) == expected


def test_no_command_is_offered_that_has_just_failed(cli: Cli) -> None:
    """The usual hint after a missing file is to train with a configuration, which may be the one that is missing."""
    result = cli("train", "--config", "configs/small.yaml")
    assert_refused(result, 3, "configs/small.yaml does not exist", "Try: seqrev train --help")
    Path("empty.txt").write_text("")
    assert_refused(cli("decode", "--file", "empty.txt", "--run", "pretrained"), 3, "--run pretrained")
