import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seqrev.config import TrainConfig, load_config
from tests.helpers import PATIENCE, Cli, assert_refused, child_environment, settings

pytestmark = pytest.mark.usefixtures("undrawn")

IMPOSSIBLE = ("task.symbols=2", "task.max_length=3")


def test_the_document_says_what_was_written(cli: Cli) -> None:
    result = cli("generate", *settings(), "--json")
    assert result.code == 0
    document = result.document
    assert document["run"] == "runs/001"
    assert document["sequences"] == {"train": 600, "validation": 30, "test": 30}
    assert document["overlap"] == 0
    counted: dict[int, dict[str, int]] = {}
    digests = ""
    for split, rows in document["sequences"].items():
        content = Path(document["run"], "data", f"{split}.jsonl").read_bytes()
        digests += hashlib.sha256(content).hexdigest()
        assert content.count(b"\n") == rows
        for line in content.splitlines():
            length = len(json.loads(line)["src"])
            counted.setdefault(length, dict.fromkeys(document["sequences"], 0))[split] += 1
    assert document["by_length"] == [{"length": length, **counted[length]} for length in sorted(counted)]
    assert document["sha256"] == hashlib.sha256(digests.encode()).hexdigest()
    assert "seqrev train --run runs/001" in result.err


def test_people_get_a_table(cli: Cli) -> None:
    result = cli("generate", *settings())
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "runs/001/data: 600 train, 30 validation, 30 test"
    assert lines[1].split() == ["length", "train", "validation", "test"]
    assert [line.split()[0] for line in lines[2:-1]] == ["1", "2", "3", "4"]
    assert lines[-1] == "sequences in more than one split: 0"
    assert "\x1b" not in result.out + result.err


def test_every_call_opens_a_new_run_with_the_same_data_for_the_same_seed(cli: Cli) -> None:
    documents = [cli("generate", *settings(), "--seed", seed, "--json").document for seed in (3, 3, 4)]
    assert [document["run"] for document in documents] == ["runs/001", "runs/002", "runs/003"]
    assert documents[0]["sha256"] == documents[1]["sha256"] != documents[2]["sha256"]


def test_a_stream_has_no_training_split(cli: Cli) -> None:
    result = cli("generate", *settings(), "--set", "data.stream=true", "--json")
    assert result.document["sequences"] == {"validation": 30, "test": 30}
    assert not Path("runs/001/data/train.jsonl").exists()


def test_the_folder_of_runs_is_an_option_or_an_environment_variable(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("generate", *settings(), "--runs-dir", "a/b", "--json").document["run"] == "a/b/001"
    monkeypatch.setenv("SEQREV_RUNS", "elsewhere")
    assert cli("generate", *settings(), "--json").document["run"] == "elsewhere/001"


def test_a_configuration_file_is_read_and_kept_resolved(cli: Cli) -> None:
    Path("my.yaml").write_text("task: {symbols: 6, max_length: 4}\ndata: {train: 50, validation: 20, test: 20}\n")
    assert cli("generate", "--config", "my.yaml", "--set", "data.test=10").code == 0
    kept = Path("runs/001/config.yaml")
    assert load_config(kept) == load_config(Path("my.yaml"), ["data.test=10"])
    assert set(yaml.safe_load(kept.read_text())["train"]) == set(TrainConfig.model_fields)  # defaults as well


@pytest.mark.parametrize("command", ["generate", "train"])
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--set", "data.trian=3"), 2, "did you mean data.train"),
        (("--set", "task.symbols=ten"), 2, "task.symbols is 'ten'"),
        (("--set", "task.symbols=true"), 2, "task.symbols is True"),
        (("--set", "task.max_length=1000000000000"), 2, "task.max_length is 1000000000000"),
        (("--set", "task.max_length=1e12"), 2, "task.max_length is '1e12'"),
        (("--set", "data.train=1e12"), 2, "data.train"),
        (("--set", "nonsense"), 2, "has no value"),
        (("--seed", "-1"), 2, "seed is -1"),
        (("--seed", "many"), 2, "--seed"),
        (("--set", "task.symbols=2", "--set", "task.max_length=3"), 2, "at most"),
        (("--set", "task.symbols=5", "--set", "task.max_length=4"), 2, "at most 90"),
        (("--config", "missing.yaml"), 3, "missing.yaml does not exist"),
        (("--config", "."), 3, ". is a folder"),
        (("--config", "binary.yaml"), 3, "binary.yaml is not text"),
        (("--config", "broken.yaml"), 3, "broken.yaml is not valid YAML (line "),
        (("--config", "list.yaml"), 2, "must hold named fields"),
        (("--config", "unknown.yaml"), 2, "unknown.yaml is not valid: there is no field trian"),
        (("--runs-dir", "file"), 3, "No run can be opened in file"),
        (("--runs-dir", "/proc/seqrev"), 3, "No run can be opened in /proc/seqrev"),
        (("--unknown",), 2, "No such option"),
        (("surplus",), 2, "surplus"),
    ],
)
def test_bad_input_is_refused_and_opens_no_run(
    cli: Cli, command: str, arguments: tuple[str, ...], code: int, says: str
) -> None:
    Path("file").write_text("")
    Path("binary.yaml").write_bytes(b"\x80\xff\x00\x01")
    Path("broken.yaml").write_text("seed: [1\n")
    Path("list.yaml").write_text("- 1\n")
    Path("unknown.yaml").write_text("trian: {steps: 3}\n")
    assert_refused(cli(command, *arguments), code, says)
    assert not Path("runs").exists()


def test_an_error_in_json_mode_is_an_object_on_stderr(cli: Cli) -> None:
    result = cli("generate", *settings(IMPOSSIBLE), "--json")
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert result.error["type"] == "UsageError"
    assert "at most" in result.error["message"]
    assert result.error["hint"].startswith("seqrev generate --set ")
    assert " --set data." in result.error["hint"]


def test_a_read_only_folder_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: bool) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_refused(cli("generate", *settings()), 3, "Read-only file system")


def test_a_full_disk_is_one_paragraph_and_leaves_no_half_dataset(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device", str(handle))

    monkeypatch.setattr("os.fsync", refuse)
    result = cli("generate", *settings())
    assert result.code in (1, 3)
    assert result.err.startswith("Error: ")
    assert "No space left on device" in result.err
    assert "Traceback" not in result.err
    assert not Path("runs/001/data/manifest.json").exists()
    assert not list(Path("runs").rglob("*.tmp"))


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_a_full_output_is_one_error_and_no_traceback(tmp_path: Path, flag: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "seqrev", "generate", *settings(), *flag],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(),
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_own_pairs_become_a_run(cli: Cli) -> None:
    pairs = [([a, b], [b] * (1 + a)) for a in range(6) for b in range(6)]
    rows = [" ".join(map(str, source)) + "\t" + " ".join(map(str, target)) for source, target in pairs]
    Path("mine.tsv").write_text("\n".join(rows))
    document = cli("generate", "--from", "mine.tsv", "--json").document
    assert sum(document["sequences"].values()) == len(pairs)
    assert document["overlap"] == 0
    config = yaml.safe_load(Path(document["run"], "config.yaml").read_text())
    assert (config["task"]["rule"], config["task"]["max_answer"]) == ("pairs", 6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1 2\n", "Line 1 of mine.tsv has no target"),
        ("1\t2\n1\t3\n", "Lines 1 and 2 of mine.tsv give different targets"),
        ("1\t2\t3\n", "mine.tsv, line 1: There is more than one tab"),
        ("1\t2\n", "none belongs to the split"),
        ("", "mine.tsv is empty"),
    ],
)
def test_what_are_no_pairs_is_refused_and_opens_no_run(cli: Cli, content: str, says: str) -> None:
    Path("mine.tsv").write_text(content)
    result = cli("generate", "--from", "mine.tsv")
    assert result.code in (2, 3)
    assert says in result.err
    assert "seqrev train" not in result.err
    assert not Path("runs").exists()


def test_pairs_do_not_go_with_a_stream(cli: Cli) -> None:
    rows = "".join(f"{a} {b}\t{b}\n" for a in range(9) for b in range(9))
    Path("mine.tsv").write_text(rows)
    result = cli("generate", "--from", "mine.tsv", "--set", "data.stream=true")
    assert result.code == 2
    assert "data.stream does not go with task.rule=pairs" in result.err


def test_a_run_of_pairs_that_is_not_good_enough_is_to_be_trained_on(cli: Cli) -> None:
    Path("mine.tsv").write_text("".join(f"{a} {b}\t{b}\n" for a in range(9) for b in range(9)))
    assert cli("generate", "--from", "mine.tsv", "--set", "train.steps=2", "--set", "model.d_model=16").code == 0
    assert cli("train", "--run", "1").code == 0
    result = cli("evaluate", "--run", "1", "--min-exact", "1")
    assert result.code == 4
    assert result.err.endswith("Try: seqrev train --run runs/001 --steps 4\n")


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("train={steps: 5, steps: 6}", "the value has 'steps' twice"),
        ("train.steps=0100", "the value has '0100' in it, which YAML reads as another number"),
        ("data.train=1:30", "the value has '1:30' in it"),
    ],
)
def test_a_setting_that_can_be_read_in_two_ways_is_refused(cli: Cli, assignment: str, says: str) -> None:
    assert_refused(cli("generate", "--set", assignment), 2, says)
    name, _, value = assignment.partition("=")
    section, _, leaf = name.partition(".")
    Path("mine.yaml").write_text(f"seed: 1\n{section}: {{{leaf}: {value}}}\n" if leaf else f"seed: 1\n{section}: {value}\n")
    assert_refused(
        cli("generate", "--config", "mine.yaml"), 3, says.removeprefix("the value ").split(" in it")[0], "(line 2)"
    )
    assert not Path("runs").exists()


def test_a_training_on_pairs_with_another_configuration_begins_with_the_pairs(cli: Cli) -> None:
    Path("mine.tsv").write_text("".join(f"{a} {b}\t{b}\n" for a in range(9) for b in range(9)))
    changes = ("model.positions=rotary", "model.source_from=end", "model.d_model=16", "train.steps=1")
    assert cli("generate", "--from", "mine.tsv", *(part for change in changes for part in ("--set", change))).code == 0
    advice = "for pairs, try seqrev generate --from FILE --config runs/001/config.yaml --set model.source_from=both"
    assert advice in cli("train", "--run", "1").err
