"""The trained run that is part of the package: ``--run pretrained``."""

from pathlib import Path

import pytest

import seqrev
from seqrev.config import load_config
from seqrev.data.dataset import load_split
from seqrev.data.families import families, sequences_up_to
from seqrev.errors import InputError
from seqrev.interpret.alignment import alignment_over
from seqrev.runs.finding import pretrained_run
from seqrev.runs.folders import PRETRAINED, Run
from tests.helpers import Cli, assert_refused

ROOT = Path(__file__).parents[1]
SAID = "There is no run yet; this is the trained model that is part of seqrev (--run pretrained)."


@pytest.fixture(scope="module")
def model() -> seqrev.Reverser:
    return seqrev.load(PRETRAINED, "cpu")


def test_it_is_small_yaml_trained_to_its_end(model: seqrev.Reverser) -> None:
    assert model.config == load_config(ROOT / "configs" / "small.yaml")
    assert model.checkpoint is not None
    assert model.checkpoint.step == model.config.train.steps
    assert model.checkpoint.is_intact()
    assert str(model.run) == PRETRAINED


def test_nothing_in_it_says_where_it_was_made() -> None:
    run = pretrained_run(Path("runs"))
    assert not {"command", "pid", "platform", "git", "started", "opened"} & run.record.read().keys()
    for path in run.path.rglob("*"):
        assert b"/home" not in (content := path.read_bytes() if path.is_file() else b"")
        assert b"/work" not in content
    assert sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()) < 3_000_000


def test_it_makes_no_mistake_in_any_family_nor_in_short_sequences_and_its_picture_is_crisp(model: seqrev.Reverser) -> None:
    """On whatever platform it is loaded: the smallest lead of a right token is far larger than any rounding."""
    for rows in (*sequences_up_to(3, 10), *(rows for _, rows in families(model.config.task))):
        assert model.evaluate(rows).mistakes == []
    test = load_split(pretrained_run(Path()).data, "test", model.config)
    assert len(test) == 1_000
    result = model.evaluate(test)
    assert result.overall.exact_match == 1.0
    mean, *_ = alignment_over(model.model, test)
    assert mean.mass >= 0.95
    assert mean.hit >= 0.995


@pytest.mark.parametrize("command", [("decode", "4", "8", "2", "9"), ("attention", "4", "8", "2", "9")])
def test_commands_take_it_where_there_is_no_run_yet_and_say_so(cli: Cli, command: tuple[str, ...]) -> None:
    result = cli(*command)
    assert result.code == 0, result.err
    assert result.err.splitlines()[0] == SAID
    assert "9 2 8 4" in result.out
    named = cli(*command, "--run", PRETRAINED)
    assert SAID not in named.err
    assert named.out.replace("002.png", "001.png") == result.out


def test_what_is_made_of_it_goes_to_a_folder_of_the_users(cli: Cli) -> None:
    before = {path: path.stat().st_mtime_ns for path in pretrained_run(Path()).path.rglob("*")}
    evaluated = cli("evaluate", "--json")
    assert evaluated.code == 0, evaluated.err
    assert (evaluated.document["run"], evaluated.document["exact_match"]) == (PRETRAINED, 1.0)
    over_time = cli("attention", "--over-time", "--out", "strip.png")
    assert over_time.code == 0, over_time.err
    assert sorted(str(path) for path in Path().rglob("*") if path.is_file()) == [
        str(Path("runs/pretrained/evaluation/001.json")),
        "strip.png",
    ]
    assert {path: path.stat().st_mtime_ns for path in pretrained_run(Path()).path.rglob("*")} == before


def test_a_run_of_ones_own_comes_first(cli: Cli, own_run: Run) -> None:
    assert cli("decode", "4", "2").err.startswith(f"Run: {own_run.path.relative_to(Path.cwd())}")
    assert SAID not in cli("decode", "4", "2").err


def test_latest_and_numbers_do_not_mean_it(cli: Cli) -> None:
    assert_refused(cli("decode", "--run", "latest", "4"), 3, "No run in runs has a usable checkpoint")
    assert_refused(cli("decode", "--run", "1", "4"), 3, "is not a run folder")
    with pytest.raises(InputError, match="No run in runs"):
        seqrev.load("latest")


def test_a_folder_of_runs_that_was_named_is_not_passed_over(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    with monkeypatch.context() as patch:
        patch.setenv("SEQREV_RUNS", "elsewhere")
        assert_refused(cli("decode", "4"), 3, "No run in elsewhere has a usable checkpoint")
    assert_refused(cli("decode", "--runs-dir", "none", "4"), 3, "No run in none has a usable checkpoint")
    assert_refused(cli("decode", "--runs-dir", "file", "4"), 3, "file is not a folder that can be read")


@pytest.mark.parametrize("options", [(), ("--steps", "1000")])
def test_it_is_not_trained_on(cli: Cli, options: tuple[str, ...]) -> None:
    assert_refused(cli("train", "--run", PRETRAINED, *options), 3, "is part of seqrev, and is not changed")
    assert list(Path().iterdir()) == []


def test_its_training_split_is_not_there_and_that_is_said(cli: Cli) -> None:
    assert_refused(cli("evaluate", "--run", PRETRAINED, "--split", "train"), 3, "comes without its training split")
