"""One of several processes that train one model: its share of a batch, and how it ends. The others are not there."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch.distributed import DistError
from torch.nn import Module

from seqrev.data.batches import Batches
from seqrev.errors import InputError, SeqrevError, TrainingError, UsageError
from seqrev.system.signals import Interrupted
from seqrev.task import ENDED, Array
from seqrev.training.distributed import SINGLE_PROCESS, Processes, ProcessLostError, is_first, join
from seqrev.training.state import TrainingState
from seqrev.training.step import step_seed, train_step
from tests.data.common import to_lists
from tests.helpers import PATIENCE, Cli, child_environment, tiny_config

# --- a shard of the batch ---------------------------------------------------------------------------------------------


@examples(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([1, 2, 3, 4]),
    batch_size=st.integers(4, 40),
    first=st.integers(0, 500),
    seed=st.integers(0, 2**63 - 1),
    stream=st.booleans(),
)
def test_the_shards_of_all_processes_are_the_global_batch_in_order(
    size: int, batch_size: int, first: int, seed: int, stream: bool
) -> None:
    config = tiny_config(f"train.batch_size={batch_size}", f"seed={seed}")
    rows = None if stream else [[n % 5] * (n % 4 + 1) for n in range(70)]
    whole, ranks = Batches(config, rows), [Batches(config, rows) for _ in range(size)]  # each process has its own
    for step in range(first, first + 3):  # from any step on: as after a resume
        parts = [Processes(rank, size).share(batch_size) for rank in range(size)]
        shards = [to_lists(batches.rows(step, part)) for batches, part in zip(ranks, parts, strict=True)]
        assert list(itertools.chain(*shards)) == to_lists(whole.rows(step))
        assert max(map(len, shards)) - min(map(len, shards)) <= 1


class OneOfMany(Processes):
    """A process whose others are not there."""

    def replicate(self, model: Module, *_example: torch.Tensor) -> Module:
        return model

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return value


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_mean_over_processes_is_the_gradient_of_the_mean_over_all_rows(size: int) -> None:
    """Seven rows are never the same number for all, and of different lengths: nor are tokens."""
    config, batch = tiny_config("train.max_grad_norm=0"), np.arange(35).reshape(7, 5) % 5
    batch[[0, 2, 3], 2:] = ENDED
    batch[5, 4:] = ENDED
    tokens = int((batch != ENDED).sum()) + 7

    def gradients(processes: Processes, rows: Array) -> tuple[float, list[torch.Tensor]]:
        state = TrainingState(config, processes=processes)
        loss = train_step(state, rows[processes.share(7)], tokens).loss
        return loss, [parameter.grad for parameter in state.model.parameters() if parameter.grad is not None]

    loss, whole = gradients(SINGLE_PROCESS, batch)
    each = [gradients(OneOfMany(rank, size), batch) for rank in range(size)]
    assert sum(part for part, _ in each) / size == pytest.approx(loss, rel=1e-6)
    for index, gradient in enumerate(whole):
        mean = torch.stack([parts[index] for _, parts in each]).mean(0)
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-6)


def test_a_step_reports_all_tokens_of_the_batch() -> None:
    state = TrainingState(tiny_config(), processes=OneOfMany(1, 3))
    assert train_step(state, np.zeros((2, 4), np.int32), tokens=7 * 5).tokens == 7 * 5


def test_every_rank_has_randomness_of_its_own_and_the_first_that_of_a_process_alone() -> None:
    assert len({step_seed(3, step, rank) for step in range(5) for rank in range(5)}) == 25
    alone = np.random.SeedSequence([3, 4]).generate_state(1, np.uint64)[0] >> 1
    assert step_seed(3, 4, 0) == alone


def test_more_processes_than_sequences_are_refused() -> None:
    with pytest.raises(UsageError, match=r"batch_size is 2, and there are 3 processes"):
        TrainingState(tiny_config("train.batch_size=2"), processes=Processes(0, 3))


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_a_process_alone_agrees_with_itself_and_does_not_know_of_others() -> None:
    with join("cpu") as processes:
        assert processes is SINGLE_PROCESS
        assert (processes.largest(15), processes.rank, processes.size) == (15, 0, 1)
        assert processes.broadcast("runs/001") == "runs/001"
    with pytest.raises(InputError, match="gone"), join("cpu"):
        raise InputError("gone")


class FakeStore:
    """Where two processes meet."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, name: str, amount: int) -> int:
        self.counts[name] = self.counts.get(name, 0) + amount
        return self.counts[name]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """As if another process were there."""
    store = FakeStore()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(
        sys.modules["torch.distributed.rendezvous"], "rendezvous", lambda url: iter([(store, int(os.environ["RANK"]), 2)])
    )
    monkeypatch.setattr("torch.distributed.distributed_c10d.PrefixStore", mock.Mock())
    for name in ("init_process_group", "destroy_process_group", "all_reduce"):
        monkeypatch.setattr(torch.distributed, name, mock.Mock())
    return store


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "error",
    [RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer"), DistError("NCCL")],
)
def test_a_connection_that_breaks_is_said_in_our_words(error: RuntimeError) -> None:
    with pytest.raises(ProcessLostError, match="Another process of this training has ended") as caught, join("cpu"):
        raise error
    assert caught.value.exit_code == TrainingError.exit_code
    assert caught.value.hint == "the same command with --run"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "error", [InputError("a"), UsageError("b"), SeqrevError("c"), RuntimeError("d"), Interrupted(15, "e")], ids=repr
)
def test_what_fails_in_this_process_is_raised_as_it_is(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.training.distributed.SECONDS_TO_SAVE", 0.1)
    with pytest.raises(type(error)) as caught, join("cpu"):
        raise error
    assert caught.value is error


def test_processes_know_their_rank_and_wait_for_each_other_at_the_end(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqrev.training.distributed.SECONDS_TO_END", PATIENCE)
    other_ends = threading.Timer(0.3, lambda: store.add("ended", 1))
    with join("cpu") as processes:
        assert (processes.rank, processes.size) == (1, 2)
        other_ends.start()
    assert store.add("ended", 0) == 2


def test_nobody_waits_for_ever_for_one_that_has_gone(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqrev.training.distributed.SECONDS_TO_END", 0.1)
    with join("cpu"):  # which has worked to its end, and left before it said so
        pass
    assert store.add("ended", 0) == 1
    monkeypatch.setattr("torch.distributed.all_reduce", mock.Mock(side_effect=RuntimeError("gloo: Connection closed")))
    with pytest.raises(ProcessLostError, match="Another process of this training has ended"), join("cpu"):
        pass


def test_a_store_that_has_gone_when_all_is_done_is_no_failure(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "add", mock.Mock(side_effect=RuntimeError("Connection reset by peer")))
    with join("cpu"):
        pass


def test_the_first_process_which_may_have_the_store_in_it_leaves_last(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqrev.training.distributed.SECONDS_TO_END", PATIENCE)
    monkeypatch.setenv("RANK", "0")
    store.add("ended", 1)
    left = threading.Event()

    def leave() -> None:
        left.set()
        store.add("left", 1)

    other_leaves = threading.Timer(0.3, leave)
    with join("cpu"):
        other_leaves.start()
    assert left.is_set()


@pytest.mark.parametrize("size", ["", "x", "1", "-1"])
def test_a_senseless_number_of_processes_counts_as_one(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with join("cpu") as processes:
        assert (processes.rank, processes.size) == (0, 1)


def test_processes_that_nobody_started_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="cannot meet") as caught, join("cpu"):
        pass
    assert "torchrun" in caught.value.hint


@pytest.mark.parametrize(("rank", "first"), [("", True), ("0", True), ("1", False), ("12", False)])
def test_the_first_process_speaks_to_the_user(monkeypatch: pytest.MonkeyPatch, rank: str, first: bool) -> None:
    monkeypatch.setenv("RANK", rank)
    assert is_first()  # a number that was left over means nothing
    monkeypatch.setenv("WORLD_SIZE", "13")
    assert is_first() is first


@pytest.mark.parametrize("arguments", [[], ["train", "--nonsense"], ["nonsense"]])
@pytest.mark.parametrize("size", ["", "2"])
def test_help_and_wrong_usage_are_answered_by_every_process(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: list[str], size: str
) -> None:
    """Variables of another program, or left over, must not silence this one."""
    expected = cli(*arguments)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", size)
    assert cli(*arguments) == expected
    assert expected.code == 2
    assert expected.err


ALONE = "import sys, torch.distributed; from seqrev.cli import main; print('begins', flush=True); sys.exit(main(['train']))"


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_waiting_for_a_process_that_never_comes_ends_with_the_first_signal(
    tmp_path: Path, rank: str, signum: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = child_environment(WORLD_SIZE="2", RANK=rank, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    command = [sys.executable, "-c", ALONE]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begins\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            process.send_signal(signum)
            assert process.wait(timeout=PATIENCE) in (-signum, 128 + signum)  # the latter if it was too slow to wait yet
        finally:
            process.kill()
    assert not list(tmp_path.iterdir())


def test_the_first_process_says_that_it_waits(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    store.add("ended", 1)
    with join("cpu", told.append):
        assert told == []  # this is the second
    monkeypatch.setenv("RANK", "0")
    for name in ("ended", "left"):
        store.add(name, 1)
    with join("cpu", told.append):
        assert told == ["Waiting for the other processes: WORLD_SIZE is 2."]
