"""What several commands share: which run is meant, and options of which only one may be given."""

from pathlib import Path

import pytest

from seqrev.cli.options import refuse_together
from seqrev.errors import UsageError
from seqrev.runs.checkpoints import best_first, list_checkpoints
from seqrev.runs.folders import Run
from tests.helpers import Cli, assert_refused, flip_byte

each_command = pytest.mark.parametrize("command", [("evaluate",), ("decode", "1", "2"), ("attention", "1", "2")])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"--a": 1, "--b": "x"}, "--a does not go together with --b."),
        ({"--a": None, "--b": False, "--c": 0, "--d": ""}, "--c does not go together with --d."),
        ({"--a": True, "--b": False, "a sequence": ["1"], "--c": True}, "--a does not go together with a sequence."),
    ],
)
def test_the_first_two_options_that_do_not_go_together_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        refuse_together("seqrev decode --help", options)
    assert (str(caught.value), caught.value.hint) == (says, "seqrev decode --help")


@pytest.mark.parametrize("options", [{}, {"--a": 1}, {"--a": None, "--b": False, "--c": 0}])
def test_one_option_goes_together_with_itself(options: dict[str, object]) -> None:
    refuse_together("seqrev decode --help", options)


@each_command
@pytest.mark.parametrize("spec", ["9", "nowhere", "file", ".", "", "a" * 300, "latest"])
def test_a_missing_run_is_refused(cli: Cli, command: tuple[str, ...], spec: str) -> None:
    Path("file").write_text("")
    assert_refused(cli(*command, "--run", spec), 3)
    assert not Path("runs").exists()


@each_command
def test_a_run_without_a_usable_checkpoint_is_refused(cli: Cli, own_run: Run, command: tuple[str, ...]) -> None:
    for checkpoint in list_checkpoints(own_run.checkpoints):
        flip_byte(checkpoint.path / "model.safetensors")
    assert_refused(
        cli(*command, "--run", "1"), 3, "No checkpoint of runs/001 can be used", "damaged", "seqrev train --config"
    )
    for checkpoint in list_checkpoints(own_run.checkpoints):
        (checkpoint.path / "manifest.json").unlink()
    assert_refused(cli(*command, "--run", "1"), 3, "runs/001 does not have a usable checkpoint")
    assert_refused(cli(*command), 3, "No run in runs has a usable checkpoint")


@each_command
def test_a_damaged_best_checkpoint_is_reported_and_the_next_is_used(
    cli: Cli, own_run: Run, command: tuple[str, ...]
) -> None:
    best, second, *_ = best_first(own_run.checkpoints)
    flip_byte(best.path / "model.safetensors")
    result = cli(*command)
    assert result.code == 0
    assert "Warning: " in result.err
    assert best.path.name in result.err
    assert f"checkpoint of step {second.step}" in result.err


@each_command
def test_a_damaged_configuration_of_a_run_is_refused(cli: Cli, own_run: Run, command: tuple[str, ...]) -> None:
    (own_run.path / "config.yaml").write_bytes(b"\x80\xff")
    assert_refused(cli(*command), 3, "config.yaml is not text")


@pytest.mark.parametrize("command", [("evaluate",), ("attention",)])
def test_a_damaged_dataset_is_refused(cli: Cli, own_run: Run, command: tuple[str, ...]) -> None:
    flip_byte(own_run.data / "test.jsonl")
    assert_refused(cli(*command), 3, "test.jsonl is damaged")
