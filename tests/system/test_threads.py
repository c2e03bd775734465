"""The threads of the run in every call that computes, and the caller's before and after it."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from seqrev.api.reverser import Reverser, load
from seqrev.cli import main
from seqrev.runs.folders import Run
from seqrev.system.threads import limit_threads
from seqrev.training.trainer import Trainer
from seqrev.workflows.attention import draw, report
from seqrev.workflows.evaluate import EvaluationSet, evaluate
from seqrev.workflows.train import train
from tests.helpers import PATIENCE, child_environment, tiny_config

CALLERS, RUNS = 3, 2


@pytest.fixture(autouse=True)
def _caller() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(CALLERS)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads at every normalisation, of which each pass through the model has some."""
    seen: list[int] = []
    forward = torch.nn.LayerNorm.forward

    def spy(module: torch.nn.LayerNorm, states: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return forward(module, states)

    monkeypatch.setattr(torch.nn.LayerNorm, "forward", spy)
    return seen


@pytest.fixture
def model(own_run: Run) -> Reverser:
    config = own_run.path / "config.yaml"
    config.write_text(config.read_text().replace("threads: 1", f"threads: {RUNS}"))
    return load(own_run, "cpu")


def test_they_are_given_back_even_after_an_error() -> None:
    def fail() -> None:
        with limit_threads(1):
            assert torch.get_num_threads() == 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == CALLERS
    with limit_threads(0):
        assert torch.get_num_threads() == CALLERS


def test_of_calls_that_overlap_the_last_one_gives_them_back() -> None:
    first, second = limit_threads(1), limit_threads(RUNS)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == RUNS
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == CALLERS


def test_every_thread_gets_back_its_own() -> None:
    """The first call ends in this thread while one in another thread goes on, which began with what this one had set."""
    seen: dict[str, int] = {}
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with limit_threads(RUNS):
            inside.set()
            leave.wait(PATIENCE)
        seen["other"] = torch.get_num_threads()

    with limit_threads(1):
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(PATIENCE)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == CALLERS
    leave.set()
    thread.join(PATIENCE)
    later = threading.Thread(target=lambda: seen.update(later=torch.get_num_threads()))
    later.start()
    later.join(PATIENCE)
    assert seen == {"other": CALLERS, "later": CALLERS}
    assert torch.get_num_threads() == CALLERS


def test_a_thread_that_chose_as_many_as_a_call_in_another_thread_keeps_them() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with limit_threads(1):
            inside.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(PATIENCE)
    torch.set_num_threads(1)
    with limit_threads(RUNS):
        pass
    assert torch.get_num_threads() == 1
    leave.set()
    thread.join(PATIENCE)


SETTINGS = """
import os, torch, seqrev
before = dict(os.environ), torch.__config__.parallel_info()
assert seqrev.load("pretrained").reverse([1, 2, 3]) == [3, 2, 1]
assert (dict(os.environ), torch.__config__.parallel_info()) == before
print(torch.get_num_threads())
"""


def test_what_the_environment_says_is_kept() -> None:
    """Also of the libraries below PyTorch; the run that is loaded here computes on one thread."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = child_environment(**dict.fromkeys(names, "2"))
    done = subprocess.run([sys.executable, "-c", SETTINGS], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


CALLS: dict[str, Callable[[Reverser], object]] = {
    "reverse": lambda model: model.reverse([1, 2, 3]),
    "decode": lambda model: model.decode([[1, 2, 3]], beam=2),
    "evaluate": lambda model: model.evaluate([[1, 2, 3]]),
    "attention": lambda model: model.attention([1, 2, 3]),
    "evaluate a split": lambda model: evaluate([model]),
    "evaluate lengths": lambda model: evaluate([model], EvaluationSet(lengths="3", count=2)),
    "evaluate all": lambda model: evaluate([model], EvaluationSet(exhaustive=1)),
    "evaluate families": lambda model: evaluate([model], EvaluationSet(families=True)),
    "draw": lambda model: draw(model, [1, 2, 3]),
    "report": report,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_trained_model_computes_with_those_of_its_run(model: Reverser, seen: list[int], name: str) -> None:
    CALLS[name](model)
    assert set(seen) == {RUNS}
    assert torch.get_num_threads() == CALLERS


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The same, where the first normalisation fails."""
    seen: list[int] = []

    def fail(_: torch.nn.LayerNorm, __: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        raise KeyError

    monkeypatch.setattr(torch.nn.LayerNorm, "forward", fail)
    return seen


@pytest.mark.parametrize("name", CALLS)
def test_a_trained_model_that_fails_gives_them_back(model: Reverser, broken: list[int], name: str) -> None:
    with pytest.raises(KeyError):
        CALLS[name](model)
    assert broken == [RUNS]
    assert torch.get_num_threads() == CALLERS


def test_a_training_that_fails_gives_them_back(broken: list[int], tmp_path: Path) -> None:
    config = tiny_config(f"train.threads={RUNS}")
    with pytest.raises(KeyError):
        next(Trainer(config, device="cpu"))
    assert torch.get_num_threads() == CALLERS
    with pytest.raises(KeyError):
        train(config, "cpu", tmp_path)
    assert broken == [RUNS, RUNS]
    assert torch.get_num_threads() == CALLERS


@pytest.mark.parametrize(
    "command", [("decode", "1", "2"), ("evaluate",), ("attention", "1", "2"), ("attention", "--report")]
)
def test_so_do_the_commands(model: Reverser, seen: list[int], command: tuple[str, ...]) -> None:
    assert main([*command, "--run", str(model.run)]) == 0
    assert set(seen) == {RUNS}
    assert torch.get_num_threads() == CALLERS


def test_a_training_loop_computes_with_those_of_its_configuration_and_its_body_has_the_callers(seen: list[int]) -> None:
    config = tiny_config("train.steps=4", "train.validate_every=2", f"train.threads={RUNS}")
    for _ in Trainer(config, device="cpu"):
        assert torch.get_num_threads() == CALLERS
    assert set(seen) == {RUNS}


@pytest.mark.parametrize("threads", [0, RUNS])
def test_a_training_in_a_run_gives_them_back(seen: list[int], tmp_path: Path, threads: int) -> None:
    summary = train(tiny_config("train.steps=4", "train.validate_every=2", f"train.threads={threads}"), "cpu", tmp_path)
    assert set(seen) == {threads or CALLERS}
    assert summary.run.record.read()["threads"] == (threads or CALLERS)
    assert torch.get_num_threads() == CALLERS


def test_a_saved_trainer_says_with_how_many_it_trained(tmp_path: Path) -> None:
    trainer = Trainer(tiny_config("train.steps=2", f"train.threads={RUNS}"), device="cpu")
    assert list(trainer)
    assert trainer.save(tmp_path).record.read()["threads"] == RUNS
    assert torch.get_num_threads() == CALLERS


@pytest.mark.parametrize("threads", [0, 1])
def test_of_a_configuration_that_leaves_it_open_they_are_the_callers(seen: list[int], threads: int) -> None:
    list(Trainer(tiny_config("train.steps=1", f"train.threads={threads}"), device="cpu"))
    assert set(seen) == {threads or CALLERS}
