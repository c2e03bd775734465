"""On a GPU: the same numbers as on the CPU, the same training twice, and every command. Skipped where there is none."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Module

import seqrev
from seqrev.api.reverser import Reverser, load
from seqrev.errors import TrainingError
from seqrev.inference.teacher_forcing import teacher_forced
from seqrev.interpret.attention_kinds import ATTENTION_NAMES
from seqrev.runs.folders import PRETRAINED, Run
from seqrev.runs.metrics import read_metrics
from seqrev.training.events import Step
from seqrev.training.trainer import Trainer
from seqrev.workflows.train import train
from tests.helpers import Cli, assert_refused, child_environment, settings, tiny_config
from tests.test_oracle import SCHEMES, SOURCES, save_random
from tests.workflows.training import assert_same_training, fresh, interrupt

DEVICE = os.environ.get("SEQREV_GPU", "cuda")
"""``SEQREV_GPU=cpu`` tries the tests themselves where there is no GPU."""
HAS_GPU = DEVICE != "cuda" or torch.cuda.is_available()
pytestmark = [
    pytest.mark.skipif(not HAS_GPU, reason="needs a GPU that PyTorch can use through CUDA"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),  # of the compiler about itself
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),  # its advice
]


@pytest.fixture(scope="module")
def pair() -> tuple[Reverser, Reverser]:
    """The shipped model on both devices."""
    return load(PRETRAINED, "cpu"), load(PRETRAINED, DEVICE)


# --- the same numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("positions", "source_from"), SCHEMES)
def test_answers_scores_and_maps_are_those_of_the_cpu(tmp_path: Path, positions: str, source_from: str) -> None:
    run = save_random(tmp_path, positions=positions, source_from=source_from, length_scaling=True, d_model=32)
    one, other = load(run, "cpu"), load(run, DEVICE)
    for beam in (1, 3):
        for expected, found in zip(one.decode(SOURCES, beam), other.decode(SOURCES, beam), strict=True):
            assert (found.output, found.finished) == (expected.output, expected.finished)
            assert found.log_probability == pytest.approx(expected.log_probability, rel=1e-4, abs=1e-4)
    forced = [teacher_forced(model.model, SOURCES) for model in (one, other)]
    for expected, found in zip(*forced, strict=True):
        assert found.log_probability == pytest.approx(expected.log_probability, rel=1e-4, abs=1e-4)
    for source in SOURCES:
        maps = [model.attention(source) for model in (one, other)]
        for kind in ATTENTION_NAMES:
            np.testing.assert_allclose(maps[1].all_weights(kind), maps[0].all_weights(kind), atol=2e-5)


def test_the_shipped_model_answers_all_its_test_sequences_as_on_the_cpu(pair: tuple[Reverser, Reverser]) -> None:
    one, other = (model.evaluate().overall for model in pair)
    assert one.exact_match == other.exact_match == 1.0
    assert one.sequences == 1000


def test_causes_are_those_of_the_cpu(pair: tuple[Reverser, Reverser]) -> None:
    def causes(model: Reverser) -> list[Any]:
        seen = model.attention([4, 8, 2, 9])
        with model.ablate("cross.2.1", how="mean"):
            ablated = model.reverse([4, 8, 2, 9])
        patched = model.patch([4, 8, 2, 9], [4, 8, 5, 9])
        maps = [one.recovery for one in patched.maps.values()]
        return [seen.influence().effect, *maps, seen.residual().lens, seen.residual().attribution, np.array(ablated)]

    for expected, found in zip(*map(causes, pair), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("changes", [(), ("model.positions=rotary", "model.source_from=both", "train.ema_decay=0.9")])
def test_losses_are_those_of_the_cpu_where_nothing_is_random(changes: tuple[str, ...]) -> None:
    calm = ("model.dropout=0", "model.attention_dropout=0", "train.steps=20", "train.log_every=1", *changes)
    events = [list(Trainer(tiny_config(*calm), device=device)) for device in ("cpu", DEVICE)]
    one, other = ([event.loss for event in some if isinstance(event, Step)] for some in events)
    assert one == pytest.approx(other, rel=1e-3)


# --- training ---------------------------------------------------------------------------------------------------------

EVERYTHING_RANDOM = (
    "model.attention_noise=0.5",
    "model.query_dropout=0.1",
    "model.self_query_dropout=0.1",
    "model.random_positions=20",
    "train.target_noise=0.1",
    "train.ema_decay=0.9",
)
KINDS = [("model.positions=rotary", "model.source_from=both"), ("model.positions=relative",), ("model.positions=alibi",)]


@pytest.mark.parametrize("changes", [(), *KINDS])
def test_a_training_that_is_stopped_and_continued_is_the_same_to_the_bit(tmp_path: Path, changes: tuple[str, ...]) -> None:
    runs = [fresh(tmp_path, *EVERYTHING_RANDOM, *changes) for _ in range(2)]
    train(runs[0], DEVICE)
    for step in (5, 20, 33):
        interrupt(runs[1], step, device=DEVICE)
    train(runs[1], DEVICE)
    assert_same_training(*runs)


def test_a_training_goes_from_the_cpu_to_the_gpu_and_back(tmp_path: Path) -> None:
    run = fresh(tmp_path)
    interrupt(run, 25)
    interrupt(run, 45, device=DEVICE)
    assert train(run, "cpu").steps == 60
    record = run.record.read()
    assert [attempt["device"] for attempt in (*record["attempts"], record)] == ["cpu", DEVICE, "cpu"]


def test_fast_learns_to_reverse_and_leaves_the_random_numbers_alone() -> None:
    state = torch.cuda.get_rng_state if DEVICE == "cuda" else torch.get_rng_state
    before = state()
    model = seqrev.train("fast", device=DEVICE)
    assert model.evaluate().overall.exact_match > 0.9
    assert model.model.device.type == DEVICE
    assert state().equal(before)


def test_a_compiled_training_in_bfloat16_learns_and_its_run_is_like_any_other(tmp_path: Path) -> None:
    run = fresh(tmp_path, "train.compile=true", "train.precision=bfloat16", "train.steps=250", "train.validate_every=125")
    train(run, DEVICE)
    losses = [row["loss"] for row in read_metrics(run.metrics)]
    assert losses[-1] < 0.5 * losses[0]
    one, other = (load(run, device).evaluate().overall for device in ("cpu", DEVICE))
    assert one.exact == other.exact > 0


def test_a_loss_that_is_no_number_is_told_with_its_step_though_nobody_waited() -> None:
    trainer = Trainer(tiny_config("train.log_every=10", "train.steps=40"), device=DEVICE)
    for _ in range(13):
        next(trainer)
    before = copy.deepcopy(trainer.trained.state_dict())

    def poison(module: Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output * float("nan") if module.training else output

    handle = trainer.trained.output.register_forward_hook(poison)
    with pytest.raises(TrainingError, match="step 14"):
        list(trainer)
    handle.remove()
    for name, value in trainer.trained.state_dict().items():
        assert value.equal(before[name]), name
    assert trainer.state.step == 13


# --- commands ---------------------------------------------------------------------------------------------------------


def test_every_command_works(cli: Cli, tmp_path: Path) -> None:
    on = ["--device", DEVICE]
    assert cli("train", *settings(), *on).code == 0
    assert Run(tmp_path / "runs" / "001").record.read()["device"] == DEVICE

    def documents(*arguments: str) -> list[Any]:
        results = [cli(*arguments, "--json", "--device", device) for device in ("cpu", DEVICE)]
        assert [result.code for result in results] == [0, 0], results
        return [result.document for result in results]

    one, other = documents("evaluate", "--lengths", "3,4,5", "--count", "50")
    assert [row["exact_match"] for row in one["by_length"]] == [row["exact_match"] for row in other["by_length"]]
    one, other = documents("decode", "--beam", "3", "1", "2", "3")
    assert one["output"] == other["output"]
    for options in (
        ["1", "2", "3", "--out", "map.png"],
        ["1", "2", "3", "--out", "page.html"],
        ["--report"],
        ["1", "2", "3", "--influence"],
        ["1", "2", "3", "--lens"],
        ["--patch", "1 2 3", "1 2 4"],
        ["--ablate", "cross.1.1"],
    ):
        result = cli("attention", *options, *on)
        assert result.code == 0, (options, result.err)


def test_too_much_for_the_gpu_is_told_in_a_paragraph(cli: Cli, pair: tuple[Reverser, Reverser]) -> None:
    del pair  # it is loaded, so that the program is, too
    if DEVICE != "cuda":
        pytest.skip("a CPU's memory is another's")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)  # nothing more than what is there
    try:
        for command in (["evaluate", "--run", "pretrained"], ["train", "--set", "train.batch_size=4096"]):
            result = cli(*command, "--device", DEVICE)
            assert_refused(result, 1, "There is not enough memory for this.")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_torchrun_trains_on_the_gpu_and_more_processes_than_gpus_are_refused(tmp_path: Path) -> None:
    if DEVICE != "cuda":
        pytest.skip("NCCL is for CUDA")

    def torchrun(processes: int) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return subprocess.run(
            [*start, "-m", "seqrev", "train", *settings(), "--device", "cuda"],
            cwd=tmp_path,
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    alone = torchrun(1)
    assert alone.returncode == 0, alone.stderr
    refused = torchrun(torch.cuda.device_count() + 1)
    assert refused.returncode == 1
    assert "more processes than GPUs" in refused.stderr
