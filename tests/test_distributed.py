"""Several processes that train one model: the same batches, the same losses, one run folder, one fate."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch.distributed import HashStore  # type: ignore[attr-defined]  # PyTorch exports it all the same
from torch.nn import Module

from seqrev.batches import Batches
from seqrev.checkpoints import list_checkpoints
from seqrev.distributed import ALONE, EndedElsewhere, World, join
from seqrev.errors import InputError, SeqrevError, TrainingError, UsageError
from seqrev.metrics import read_metrics
from seqrev.runs import Run
from seqrev.signals import Interrupted
from seqrev.task import Array
from seqrev.training import TrainingState, checkpoint_shapes, step_seed, train_step
from tests.conftest import Cli, Result, child_environment, settings, tiny_config

SHORT = ("train.steps=40", "train.validate_every=20", "train.log_every=1", "train.batch_size=31", "data.train=200")
ROOT = Path(__file__).parents[1]


# --- a share of the batch, without processes --------------------------------------------------------------------------


@examples(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([1, 2, 3, 4]),
    batch_size=st.integers(4, 40),
    first=st.integers(0, 500),
    seed=st.integers(0, 2**63 - 1),
    stream=st.booleans(),
)
def test_the_shares_of_all_processes_are_the_global_batch_in_order(
    size: int, batch_size: int, first: int, seed: int, stream: bool
) -> None:
    config = tiny_config(f"train.batch_size={batch_size}", f"seed={seed}")
    rows = None if stream else [[n % 5] * (n % 4 + 1) for n in range(70)]
    whole, ranks = Batches(config, rows), [Batches(config, rows) for _ in range(size)]  # each process has its own
    for step in range(first, first + 3):  # from any step on: as after a resume
        shares = [World(rank, size).share(batches[step]) for rank, batches in enumerate(ranks)]
        np.testing.assert_array_equal(np.concatenate(shares), whole[step])
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


class OneOfMany(World):
    """A process whose others are not there."""

    def replicate(self, model: Module) -> Module:
        return model

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return value


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_mean_over_processes_is_the_gradient_of_the_mean_over_all_rows(size: int) -> None:
    config, batch = tiny_config("train.clip=0"), np.arange(35).reshape(7, 5) % 5  # 7 rows: never the same for all

    def gradients(world: World, rows: Array) -> tuple[float, list[torch.Tensor]]:
        state = TrainingState(config, world=world)
        loss = train_step(state, rows).loss
        return loss, [parameter.grad for parameter in state.model.parameters() if parameter.grad is not None]

    loss, whole = gradients(ALONE, batch)
    each = [gradients(OneOfMany(rank, size), batch) for rank in range(size)]
    assert sum(share for share, _ in each) / size == pytest.approx(loss, rel=1e-6)
    for index, gradient in enumerate(whole):
        mean = torch.stack([shares[index] for _, shares in each]).mean(0)
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-6)


def test_a_step_reports_all_tokens_of_the_batch() -> None:
    state = TrainingState(tiny_config(), world=OneOfMany(1, 3))
    assert train_step(state, np.zeros((7, 4), np.int32)).tokens == 7 * 5


def test_every_rank_has_randomness_of_its_own_and_the_first_that_of_a_process_alone() -> None:
    assert len({step_seed(3, step, rank) for step in range(5) for rank in range(5)}) == 25
    alone = np.random.SeedSequence([3, 4]).generate_state(1, np.uint64)[0] >> 1
    assert step_seed(3, 4, 0) == alone


def test_more_processes_than_sequences_are_refused() -> None:
    with pytest.raises(UsageError, match=r"batch_size is 2, and there are 3 processes"):
        TrainingState(tiny_config("train.batch_size=2"), world=World(0, 3))


# --- how it ends, without processes -----------------------------------------------------------------------------------


def test_a_process_alone_agrees_with_itself_and_does_not_know_of_others() -> None:
    with join("cpu") as world:
        assert world is ALONE
        assert (world.agree(15), world.rank, world.size) == (15, 0, 1)
        world.tell("runs/001")
        world.finish()
    with pytest.raises(InputError, match="gone"), join("cpu"):
        raise InputError("gone")


def two() -> tuple[World, World]:
    store = HashStore()
    return World(0, 2, store), World(1, 2, store)


def test_the_others_hear_which_run_it_is() -> None:
    first, second = two()
    first.tell("runs/007")
    assert second.hear() == "runs/007"
    first.finish()
    second.finish()


@pytest.mark.parametrize("error", [InputError("a"), UsageError("b"), SeqrevError("c"), ValueError("d")])
def test_who_fails_first_reports_it_and_the_others_end_alike_in_silence(error: Exception) -> None:
    code = getattr(error, "exit_code", 1)
    for failing, other in (two(), two()[::-1]):
        with pytest.raises(type(error)) as caught:
            failing.fail(error)
        assert caught.value is error
        for late in (RuntimeError("Connection closed by peer"), Interrupted(15, "Stopped.")):
            if other.rank == 0 or not isinstance(late, Interrupted):
                with pytest.raises(EndedElsewhere) as silent:
                    other.fail(late)
                assert silent.value.exit_code == code
        with pytest.raises(EndedElsewhere):
            other.finish()


def test_a_failure_before_the_run_is_ready_ends_those_who_wait_for_it() -> None:
    first, second = two()
    with pytest.raises(UsageError):
        first.fail(UsageError("no such field"))
    with pytest.raises(EndedElsewhere) as caught:
        second.hear()
    assert caught.value.exit_code == 2


def test_of_a_signal_the_first_process_speaks() -> None:
    first, second = two()
    with pytest.raises(Interrupted):
        first.fail(Interrupted(15, "Stopped at step 8."))
    with pytest.raises(EndedElsewhere) as caught:
        second.fail(Interrupted(15, "Stopped at step 8."))
    assert caught.value.exit_code == 143


# --- two processes ----------------------------------------------------------------------------------------------------


def launch(*arguments: object, folder: Path, script: Sequence[str] = ("-m", "--", "seqrev")) -> "subprocess.Popen[bytes]":
    """``torchrun --nproc-per-node 2 -m -- seqrev ARGUMENTS``; without the ``--`` torchrun takes ``--run`` for its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *script]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(PYTHONPATH=str(ROOT)),
    )


def finish(process: "subprocess.Popen[bytes]") -> Result:
    out, err = process.communicate(timeout=300)
    return Result(process.returncode, out.decode(), err.decode())


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
    from tests.conftest import run_main

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
    assert [path.name for path in two.parent.iterdir()] == ["001"]
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    assert json.loads(result.out)["run"] == "two/001"
    assert result.err.count("Run: two/001") == 1
    assert [Run(path).record()["world_size"] for path in (one, two)] == [1, 2]


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


def test_what_one_began_two_complete(both: tuple[Path, Path, Result], tmp_path: Path) -> None:
    one, _, _ = both
    resumed = half(one, tmp_path / "resumed")
    result = finish(launch("train", "--run", resumed, folder=tmp_path))
    assert result.code == 0, result.err
    assert_same_curve(one, resumed)


def wait_for(metrics: Path, process: "subprocess.Popen[bytes]") -> None:
    last = time.monotonic() + 200
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert process.poll() is None, finish(process).err
        assert time.monotonic() < last
        time.sleep(0.1)


def test_a_signal_to_the_launcher_stops_all_at_one_step_with_a_checkpoint(tmp_path: Path) -> None:
    process = launch("train", *settings(), *settings([*SHORT, "train.steps=100000"]), folder=tmp_path)
    run = tmp_path / "runs" / "001"
    wait_for(run / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.err.count("nothing is lost") == 1
    assert result.err.count("Continue: seqrev train --run runs/001") == 1
    record = Run(run).record()
    assert record["status"] == "interrupted"
    last = list_checkpoints(run / "checkpoints")[-1]
    assert last.step == record["step"] == losses(run)[-1][1]
    assert last.load("model", checkpoint_shapes(Run(run).config())["model"])


FAILING = """
import os, signal, sys
from seqrev import training
from seqrev.cli import main
from seqrev.errors import InputError

def fail(*arguments):
    if {kill}:
        os.kill(os.getpid(), signal.SIGKILL)
    raise InputError("A file of this machine is missing.")

real, calls = training.to_tensors, []
def broken(*arguments):
    calls.append(arguments)
    return fail() if len(calls) == 5 else real(*arguments)

if os.environ["RANK"] == "1":
    training.to_tensors = broken
code = main()
open("code-" + os.environ["RANK"], "w").write(str(code))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("kill", "message"),
    [(False, "Error: A file of this machine is missing."), (True, "Error: Another process of this training has gone")],
    ids=["fails", "is killed"],
)
def test_a_process_that_fails_ends_all_with_one_message(kill: bool, message: str, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING.format(kill=kill))
    result = finish(launch("train", *settings(), *settings(SHORT), folder=tmp_path, script=["failing.py"]))
    assert result.code != 0
    assert [line for line in result.err.splitlines() if line.startswith("Error: ")] == [
        line for line in result.err.splitlines() if line.startswith(message)
    ]
    assert result.err.count(message) == 1
    code = TrainingError.exit_code if kill else InputError.exit_code
    codes = {path.name: int(path.read_text()) for path in tmp_path.glob("code-*")}
    assert codes == ({"code-0": code} if kill else {"code-0": code, "code-1": code})
    assert Run(tmp_path / "runs" / "001").record()["status"] == "failed"


@pytest.mark.parametrize("size", ["", "x", "1", "-1"])
def test_a_senseless_number_of_processes_counts_as_one(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with join("cpu") as world:
        assert (world.rank, world.size) == (0, 1)


def test_processes_that_nobody_started_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="cannot meet") as caught, join("cpu"):
        pass
    assert "torchrun" in caught.value.hint
