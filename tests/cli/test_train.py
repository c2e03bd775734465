import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.folders import Run
from seqrev.workflows.generate import new_run
from tests.cli.trainings import QUICK, assert_document, history, load_all, tiny
from tests.helpers import TINY, Cli, assert_refused, flip_byte, settings, tiny_config

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_training_leaves_a_whole_run(trained_run: Run) -> None:
    names = {path.name for path in trained_run.path.iterdir()}
    assert {"config.yaml", "run.json", "data", "metrics.jsonl", "checkpoints", "loss.png", "attention.png"} <= names
    for name in ("loss.png", "attention.png"):
        assert (trained_run.path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert trained_run.record.read()["status"] == "done"
    assert trained_run.config() == tiny_config()
    assert not list(trained_run.path.rglob("*.tmp"))


def test_the_document_is_the_last_validation(cli: Cli) -> None:
    result = cli("train", *tiny(*QUICK), "--json")
    assert_document(result, "runs/001", 20)
    assert "Run: runs/001" in result.err
    assert "step 10: validation loss" in result.err
    assert "\x1b" not in result.err


def test_people_get_the_result_and_what_is_next(cli: Cli) -> None:
    result = cli("train", *tiny(*QUICK))
    assert result.code == 0
    assert result.out.startswith("runs/001: 20 steps in ")
    assert "validation: exact match 0." in result.out
    assert "pictures: runs/001/loss.png, runs/001/attention.png" in result.out
    assert result.err.endswith("Next: seqrev decode --run runs/001 4 3 2 4\n")
    assert "\x1b" not in result.out + result.err


def test_a_run_with_only_a_dataset_is_trained_in_place(cli: Cli) -> None:
    assert cli("generate", *tiny(*QUICK)).code == 0
    before = {path.name: path.read_bytes() for path in Path("runs/001/data").iterdir()}
    assert_document(cli("train", "--run", "1", "--json"), "runs/001", 20)
    assert {path.name: path.read_bytes() for path in Path("runs/001/data").iterdir()} == before
    assert [path.name for path in Path("runs").glob("[!.]*")] == ["001"]


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [("max_length", "4", "3"), ("seed", "0", "1"), ("symbols", "5", "6"), ("validation", "30", "20")],
)
def test_a_configuration_that_was_edited_after_its_dataset_was_made_is_not_trained(
    cli: Cli, field: str, old: str, new: str
) -> None:
    assert cli("generate", *tiny(*QUICK)).code == 0
    path = Path("runs/001/config.yaml")
    before = path.read_text()
    path.write_text(
        before.replace(f"{field}: {old}", f"{field}: {new}").replace("random_positions: 0", "random_positions: 6")
    )
    assert_refused(cli("train", "--run", "1"), 3, f"{field}={new}, but the dataset", f"{field}={old}: one of them")
    assert not list(Path("runs/001").glob("checkpoints/*"))
    path.write_text(before.replace("lr: 0.005", "lr: 0.006"))  # which the dataset does not depend on
    assert_document(cli("train", "--run", "1", "--json"), "runs/001", 20)


def test_a_run_that_was_opened_only_gets_its_dataset_first(cli: Cli) -> None:
    run = new_run(tiny_config(*QUICK), Path("runs"))
    assert_document(cli("train", "--run", run, "--json"), "runs/001", 20)
    assert run.has_dataset()


def test_latest_is_the_latest_run_with_a_configuration(cli: Cli) -> None:
    for _ in range(2):
        new_run(tiny_config(*QUICK), Path("runs"))
    assert_document(cli("train", "--run", "latest", "--json"), "runs/002", 20)


def test_a_finished_run_is_left_as_it_is(own_run: Run, cli: Cli) -> None:
    kept = ("metrics.jsonl", "config.yaml", "data/train.jsonl")
    before = [(own_run.path / name).read_bytes() for name in kept]
    stores = [(found.step, found.files) for found in list_checkpoints(own_run.checkpoints)]
    result = cli("train", "--run", "runs/001", "--json")
    assert_document(result, "runs/001", 250)
    assert "all 250 steps were done. To go on: seqrev train --run runs/001 --steps 500" in result.err
    assert [(own_run.path / name).read_bytes() for name in kept] == before
    assert [(found.step, found.files) for found in list_checkpoints(own_run.checkpoints)] == stores
    assert own_run.record.read()["status"] == "done"


def test_a_finished_run_is_trained_further_with_a_note_of_the_difference(own_run: Run, cli: Cli) -> None:
    before = history(own_run)
    result = cli("train", "--run", "1", "--steps", "260", "--json")
    assert_document(result, "runs/001", 260)
    assert "would not give the same weights" in result.err
    assert "nothing was left" not in result.err
    after = history(own_run)
    assert after[: len(before)] == before
    assert [(row["event"], row["step"]) for row in after[len(before) :]] == [("train", 260), ("validation", 260)]
    record = own_run.record.read()
    assert [(entry["from"], entry["to"]) for entry in record["extended"]] == [(250, 260)]
    assert (record["status"], record["parent"]["step"], record["attempts"][0]["step"]) == ("done", 250, 250)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--run", "1", "--steps", "250"), "is planned for 250 steps"),
        (("--run", "1", "--steps", "0"), "--steps"),
        (("--run", "1", "--steps", str(10**15)), "--steps"),
        (("--steps", "300"), "--set train.steps=300"),
    ],
)
def test_steps_that_make_no_sense_are_refused(own_run: Run, cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    before = own_run.record.read()
    assert_refused(cli("train", *arguments), 2, says)
    assert own_run.record.read() == before


@pytest.mark.parametrize("has_dataset", [True, False])
def test_a_second_trainer_is_refused(own_run: Run, cli: Cli, has_dataset: bool) -> None:
    if not has_dataset:
        shutil.rmtree(own_run.data)
    before = own_run.record.read()
    with own_run.locked():
        assert_refused(cli("train", "--run", "1"), 3, "Another process is at work in runs/001")
    assert own_run.record.read() == before
    assert cli("decode", "1", "2").code == 0  # readers need no lock


@pytest.mark.parametrize(
    ("override", "code", "says"),
    [
        ("model.d_model=65536", 2, "of memory"),
        ("data.train=1000000000", 2, "of memory"),
        ("task.symbols=1000000", 2, "of memory"),
    ],
)
def test_what_this_machine_cannot_hold_is_refused_at_once(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, override: str, code: int, says: str
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 2**15)  # a machine with a gigabyte
    assert_refused(cli("train", *tiny("model.encoder_layers=9", "model.d_model=2048", override)), code, says)


def test_a_full_disk_is_reported_with_the_file_and_the_training_goes_on_later(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, trained_run: Run
) -> None:
    fsync, left = os.fsync, 60

    def fill_up(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fill_up)
        result = cli("train", *settings())
    assert (result.code, result.out) == (1, "")
    assert "cannot be written: No space left on device" in result.err
    assert result.err.splitlines()[-1] == "Try: make room on that disk; then seqrev train --run runs/001"
    assert cli("train", "--run", "1").code == 0
    run = Run(Path("runs/001"))
    assert history(run) == history(trained_run)
    assert load_all(run, -1)["model"].keys() == load_all(trained_run, -1)["model"].keys()
    assert not [path for path in run.path.rglob("*") if path.suffix in (".tmp", ".old")]


def test_a_damaged_checkpoint_is_reported_and_passed_over(own_run: Run, cli: Cli) -> None:
    before = history(own_run)
    flip_byte(own_run.checkpoints / "step-000250" / "model.safetensors")
    result = cli("train", "--run", "1", "--json")
    assert_document(result, "runs/001", 250)
    assert "step-000250" in result.err
    assert "damaged" in result.err
    assert history(own_run) == before
    assert load_all(own_run, -1)


@pytest.mark.parametrize("option", [("--config", "x.yaml"), ("--set", "seed=1"), ("--seed", "1")])
def test_a_run_cannot_get_another_configuration(own_run: Run, cli: Cli, option: tuple[str, str]) -> None:
    assert_refused(cli("train", "--run", own_run, *option), 2, "--run carries on with the configuration of that run")


@pytest.mark.parametrize("spec", ["9", "nowhere", "runs", "file", "latest", "a" * 300])
def test_a_missing_run_is_refused(cli: Cli, spec: str) -> None:
    Path("file").write_text("")
    Path("runs").mkdir()
    assert_refused(cli("train", "--run", spec), 3)
    assert list(Path("runs").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data/train.jsonl", b'{"src": [1], "tgt": [1]}\n', "train.jsonl is damaged"),
        ("data/validation.jsonl", b"", "validation.jsonl is damaged"),
        ("data/manifest.json", b"\x00\xff", "manifest.json is not valid JSON"),
        ("config.yaml", b"\x80\x00", "config.yaml is not text"),
        ("run.json", b"{", "run.json is not valid JSON"),
        ("metrics.jsonl", b'\x00\n{"step": 1}\n', "metrics.jsonl is damaged in line 1"),
    ],
)
def test_a_damaged_run_is_refused(own_run: Run, cli: Cli, name: str, content: bytes, says: str) -> None:
    (own_run.path / name).write_bytes(content)
    assert_refused(cli("train", "--run", "1"), 3, says)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_missing_file_of_the_dataset_is_refused(own_run: Run, cli: Cli, name: str) -> None:
    shutil.rmtree(own_run.checkpoints)
    (own_run.data / f"{name}.jsonl").unlink()
    path = own_run.path / "config.yaml"
    path.write_text(path.read_text().replace("steps: 250", "steps: 5"))
    assert_refused(cli("train", "--run", "1"), 3, f"{name}.jsonl")


@pytest.mark.parametrize("arguments", [("--device", "abacus"), ("--device", "mps" if sys.platform != "darwin" else "tpu")])
def test_a_device_that_is_not_there_is_refused(cli: Cli, arguments: tuple[str, ...]) -> None:
    result = cli("train", *tiny(*QUICK), *arguments)
    assert result.code == 2
    assert "not available here; there is cpu" in result.err


def test_a_diverged_training_says_what_to_try(cli: Cli) -> None:
    result = cli("train", *tiny(*QUICK, "train.lr=1e30", "train.warmup_steps=0"), "--json")
    assert (result.code, result.out) == (1, "")
    assert result.error["type"] == "TrainingError"
    assert cli(*shlex.split(result.error["hint"])[1:]).code == 0
    again = cli("train", "--run", "1", "--json")  # which goes on with its own configuration
    assert (again.code, again.error["hint"]) == (1, result.error["hint"])
    assert Run(Path("runs/001")).record.read()["status"] == "failed"


def test_an_error_in_json_mode_is_an_object_on_stderr(cli: Cli) -> None:
    result = cli("train", "--run", "7", "--json")
    assert (result.code, result.out) == (3, "")
    assert result.error["type"] == "InputError"


@pytest.mark.parametrize("device", ["tpu", "cuda:99"])
def test_a_device_that_is_not_there_opens_no_run(cli: Cli, device: str) -> None:
    result = cli("train", "--device", device)
    assert result.code == 2
    assert "not available" in result.err
    assert not Path("runs").exists()


def test_an_extension_that_cannot_be_trained_here_changes_no_plan(own_run: Run, cli: Cli) -> None:
    before = (own_run.path / "config.yaml").read_bytes()
    result = cli("train", "--run", own_run, "--steps", 9_999, "--device", "abacus")
    assert_refused(result, 2, "The device abacus is not available")
    assert (own_run.path / "config.yaml").read_bytes() == before


def test_a_training_that_is_good_enough_says_that_it_has_ended(cli: Cli) -> None:
    options = tiny(*QUICK, "train.steps=250", "train.stop_at=0.001")
    began = cli("train", *options, "--json")
    assert began.code == 0, began.err
    steps = began.document["steps"]
    ended = f"the exact match has reached train.stop_at (0.001) at step {steps} of 250."
    assert steps < 250
    assert f"Note: {ended}" in began.err.splitlines()
    again = cli("train", "--run", "1", "--json")
    assert f"Note: nothing was left to train, {ended}" in again.err.splitlines()
    assert again.document == began.document
    assert_refused(cli("train", "--run", "1", "--steps", "500"), 2, "has ended", "--set train.stop_at=null")


@pytest.mark.parametrize(
    ("rule", "source_from", "advised"), [("copy", "end", True), ("reverse", "end", False), ("copy", "both", False)]
)
def test_a_rule_that_is_not_learned_from_the_end_is_told_of_both(
    cli: Cli, rule: str, source_from: str, advised: bool
) -> None:
    changes = ("model.positions=rotary", f"model.source_from={source_from}", f"task.rule={rule}", "train.steps=1")
    notes = cli("train", *settings((*TINY, *changes))).err
    assert ("seqrev train --config runs/001/config.yaml --set model.source_from=both" in notes) == advised
