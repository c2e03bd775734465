"""Several processes that train one model, as ``torchrun`` starts them: the losses of one process, one run, one fate."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from torch._C._distributed_c10d import TCPStore

from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.training.state import checkpoint_shapes
from tests.helpers import (
    PATIENCE,
    Cli,
    Result,
    child_environment,
    flip_byte,
    has_checkpoint,
    run_main,
    settings,
    wait_for,
)
from tests.torture.server import Server, serving

SHORT = ("train.steps=40", "train.validate_every=20", "train.log_every=1", "train.batch_size=31", "data.train=200")
ROOT = Path(__file__).parents[2]


def launch(*arguments: object, folder: Path, script: Sequence[str] = ("-m", "--", "seqrev")) -> "subprocess.Popen[bytes]":
    """``torchrun --nproc-per-node 2 -m -- seqrev ARGUMENTS``; without the ``--`` torchrun takes ``--run`` for its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *script]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(PYTHONPATH=str(ROOT), TORCH_ELASTIC_SHUTDOWN_TIMEOUT=str(PATIENCE)),
    )


def finish(process: "subprocess.Popen[bytes]") -> Result:
    out, err = process.communicate(timeout=PATIENCE)
    return Result(process.returncode, out.decode(), err.decode())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def train_together(server: Server, folder: Path, *arguments: object, processes: int = 2) -> None:
    """``seqrev train ARGUMENTS`` in several processes; torchrun would start them so, and let each import PyTorch."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun has one for its processes
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(processes)}
    elastic = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    ranks = [
        server.start(folder / f"rank{rank}", "train", *arguments, environment={**place, **elastic, "RANK": str(rank)})
        for rank in range(processes)
    ]
    for child in ranks:
        assert child.wait() == 0, child.output
        assert "Warning" not in child.output


def losses(run: Path) -> list[tuple[str, int, float]]:
    return [(row["event"], row["step"], row["loss"]) for row in read_metrics(run / "metrics.jsonl")]


def assert_same_curve(one: Path, other: Path) -> None:
    first, second = losses(one), losses(other)
    assert [row[:2] for row in first] == [row[:2] for row in second]
    assert len(first) == 42
    assert [row[2] for row in first] == pytest.approx([row[2] for row in second], rel=1e-4)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """The same training by one process and by two, and what the two printed."""
    folder = tmp_path_factory.mktemp("processes")
    arguments = ["train", *settings(), *settings(SHORT), "--json"]
    assert run_main(*arguments, "--runs-dir", folder / "one").code == 0
    result = finish(launch(*arguments, "--runs-dir", "two", folder=folder))
    assert result.code == 0, result.err
    return folder / "one" / "001", folder / "two" / "001", result


def test_two_processes_have_the_losses_of_one(both: tuple[Path, Path, Result]) -> None:
    one, two, _ = both
    assert_same_curve(one, two)


def test_two_processes_leave_one_run_and_one_document(both: tuple[Path, Path, Result]) -> None:
    one, two, result = both
    assert [path.name for path in two.parent.glob("[!.]*")] == ["001"]
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    assert json.loads(result.out)["run"] == "two/001"
    assert result.err.count("Run: two/001") == 1
    assert [Run(path).record.read()["world_size"] for path in (one, two)] == [1, 2]


def test_two_processes_end_early_at_the_same_step(server: Server, tmp_path: Path) -> None:
    changes = (*SHORT, "train.steps=100000", "train.validate_every=10", "train.stop_at=1e-6")
    train_together(server, tmp_path, *settings(), *settings(changes), "--runs-dir", tmp_path / "runs")
    run = Run(tmp_path / "runs" / "001")
    found = [row for row in read_metrics(run.metrics) if row["event"] == "validation"]
    assert [row["exact_match"] > 0 for row in found] == [False] * (len(found) - 1) + [True]
    assert run.record.read()["step"] == found[-1]["step"] < 100_000


def half(run: Path, target: Path) -> Path:
    """A copy of a run as it was when half of its training was done."""
    shutil.copytree(run, target)
    shutil.rmtree(target / "checkpoints" / "step-000040")
    return target


def test_what_two_began_one_completes(both: tuple[Path, Path, Result], cli: Cli, tmp_path: Path) -> None:
    one, two, _ = both
    resumed = half(two, tmp_path / "resumed")
    assert cli("train", "--run", resumed).code == 0
    assert_same_curve(one, resumed)


def test_what_one_began_two_complete(both: tuple[Path, Path, Result], server: Server, tmp_path: Path) -> None:
    one, _, _ = both
    resumed = half(one, tmp_path / "resumed")
    train_together(server, tmp_path, "--run", resumed)
    assert_same_curve(one, resumed)


def test_three_processes_that_stop_and_go_on_have_the_weights_of_those_that_did_not_to_the_bit(
    server: Server, tmp_path: Path
) -> None:
    """Three numbers have more than one sum: what a library decides in its first step must not begin again after a stop."""
    changes = ("train.steps=6", "train.validate_every=3", "train.log_every=1", "train.batch_size=7", "model.dropout=0.1")
    train_together(server, tmp_path, *settings(), *settings(changes), "--runs-dir", tmp_path / "runs", processes=3)
    whole, resumed = tmp_path / "runs" / "001", tmp_path / "resumed"
    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "checkpoints" / "step-000006")
    train_together(server, tmp_path, "--run", resumed, processes=3)
    assert losses(resumed) == losses(whole)
    for name in ("model.safetensors", "optimizer.safetensors"):
        saved = Path("checkpoints", "step-000006", name)
        assert (resumed / saved).read_bytes() == (whole / saved).read_bytes()


def test_a_signal_to_the_launcher_stops_all_at_one_step_with_a_checkpoint(tmp_path: Path) -> None:
    process = launch("train", *settings(), *settings([*SHORT, "train.steps=1000000"]), folder=tmp_path)
    run = tmp_path / "runs" / "001"
    wait_for(lambda: has_checkpoint(run), process)
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.err.count("nothing is lost") == 1
    assert result.err.count("Continue: seqrev train --run runs/001") == 1
    record = Run(run).record.read()
    assert record["status"] == "interrupted"
    last = list_checkpoints(run / "checkpoints")[-1]
    assert last.step == record["step"] == losses(run)[-1][1]
    assert last.load("model", checkpoint_shapes(Run(run).config())["model"])


FAILING = """
import os, sys
from seqrev.cli import main
from seqrev.errors import InputError
from seqrev.training import step

real, calls = step.to_tensors, []
def broken(*arguments):
    calls.append(arguments)
    if len(calls) == 25:
        raise InputError("A file of this machine is missing.")
    return real(*arguments)

if os.environ["RANK"] == "1":
    step.to_tensors = broken
sys.exit(main())
"""


def test_a_process_that_fails_says_why_ends_all_and_the_training_can_go_on(
    both: tuple[Path, Path, Result], cli: Cli, tmp_path: Path
) -> None:
    one, _, _ = both
    (tmp_path / "failing.py").write_text(FAILING)
    result = finish(launch("train", *settings(), *settings(SHORT), folder=tmp_path, script=["failing.py"]))
    assert result.code != 0
    assert result.err.count("Error: A file of this machine is missing.") == 1
    run = tmp_path / "runs" / "001"
    assert [checkpoint.step for checkpoint in list_checkpoints(run / "checkpoints")] == [20]
    assert Run(run).record.read()["status"] != "done"
    assert cli("train", "--run", run).code == 0
    assert_same_curve(one, run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.step=3", "there is no field train.step (did you mean train.steps"),  # rank 0 alone finds this
        ("train.batch_size=1", "train.batch_size is 1, and there are 2 processes"),
    ],
)
def test_a_configuration_that_is_refused_ends_all_with_a_message(tmp_path: Path, change: str, message: str) -> None:
    result = finish(launch("train", *settings(), "--set", change, folder=tmp_path))
    assert result.code != 0
    assert message in result.err
    assert "should not have happened" not in result.err
    assert result.out == ""


def test_a_damaged_dataset_ends_all_with_a_message(both: tuple[Path, Path, Result], tmp_path: Path) -> None:
    damaged = half(both[1], tmp_path / "damaged")
    flip_byte(damaged / "data" / "train.jsonl")
    before = losses(damaged)
    result = finish(launch("train", "--run", damaged, folder=tmp_path))
    assert result.code != 0
    assert "train.jsonl is damaged" in result.err
    assert "should not have happened" not in result.err
    assert losses(damaged) == before
