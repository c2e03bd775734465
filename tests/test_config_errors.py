"""What mends a configuration is said, and mends it."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.cli.usage import next_line
from seqrev.config import fields, load_config
from seqrev.config_files import HINT
from seqrev.errors import UsageError
from tests.helpers import Cli, offered, settings

FIELDS = [name for name, _, _ in fields()]
NAMES = sorted({*FIELDS, *(name.partition(".")[0] for name in FIELDS)})  # and sections
VALUES = (
    "0",
    "-1",
    "3",
    "5000",
    "1e99",
    "true",
    "null",
    "sinusoid",
    "both",
    "pairs",
    "adamw",
    "learned",
    "[",
    "{a: 1}",
    "",
)
values = st.one_of(st.sampled_from(VALUES), st.text(max_size=5))


@st.composite
def assignments(draw: st.DrawFn) -> str:
    """``NAME=VALUE``, perhaps misspelt, and perhaps without a value."""
    name = draw(st.sampled_from(NAMES))
    place = draw(st.integers(0, len(name)))
    name = draw(st.sampled_from([name, name, name[:place] + name[place + 1 :], name.rpartition(".")[2]]))
    return draw(st.sampled_from([f"{name}={draw(values)}"] * 5 + [name]))


@given(st.lists(assignments(), max_size=4))
def test_what_is_offered_is_a_configuration(overrides: list[str]) -> None:
    try:
        load_config(overrides=overrides)
    except UsageError as error:
        if error.hint == HINT:
            return
        _, _, *words = shlex.split(next_line(error.hint, ["train", *settings(overrides)], {"train": None}))
        assert set(words[::2]) == {"--set"}
        load_config(overrides=words[1::2])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["model.head=2"], ["model.heads=2"]),
        (["model.head=2", "train.stepps=7"], ["model.heads=2", "train.steps=7"]),
        (["heads=2", "train.lr=1"], ["train.lr=1", "model.heads=2"]),
        (["model.heads=3"], ["model.heads=3", "model.d_model=66"]),
        (["model.heads=two"], ["model.heads=4"]),
        (["model.heads"], ["model.heads=4"]),
        (["train.lr={"], ["train.lr=0.0015"]),
        (["train.steps=0"], ["train.steps=1"]),
        (["model.positions=sinus"], ["model.positions=sinusoidal"]),
        (["model.positions=rotatory"], ["model.positions=rotary"]),
        (["task.min_length=20"], ["task.min_length=20", "task.max_length=20"]),
        (["task.max_length=5000"], ["task.max_length=5000", "model.max_positions=5002"]),
        (["train.weight_decay=0.1"], ["train.weight_decay=0.1", "train.optimizer=adamw"]),
        (["model.source_from=both"], ["model.source_from=both", "model.positions=rotary"]),
        (["model.random_positions=5"], ["model.random_positions=12"]),
        (["task.rule=repeat", "model.random_positions=50"], ["task.rule=repeat", "model.random_positions=0"]),
        (["task.rule=pairs", "data.stream=true"], ["task.rule=pairs", "data.stream=false"]),
    ],
)
def test_the_whole_command_is_offered_with_what_was_meant(cli: Cli, typed: list[str], meant: list[str]) -> None:
    assert offered(cli("train", "--seed", "3", *settings(typed))) == ["train", "--seed", "3", *settings(meant)]
    load_config(overrides=meant)


def test_a_seed_is_mended_as_an_option_is(cli: Cli) -> None:
    assert offered(cli("train", "--seed", "-3")) == ["train", "--set", "seed=0"]


def test_a_file_is_mended_as_far_as_settings_can(cli: Cli) -> None:
    Path("mine.yaml").write_text("model: {heads: 3}")
    words = ["train", "--config", "mine.yaml", "--set", "model.d_model=66"]
    assert offered(cli(*words[:3])) == words
    Path("mine.yaml").write_text("model: {head: 3}")
    assert offered(cli(*words[:3])) == ["generate", "--config", "small"]
