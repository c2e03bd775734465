"""The benchmarks: that every part runs, and that what they count is counted right. What they measure is not tested.

The leads and margins of docs/extrapolation.md are tested against the attention and the logits themselves.
"""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seqrev.config import Config, load_config
from seqrev.data.sampling import fresh_sequences
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from seqrev.training.step import token_loss, train_step
from tests.helpers import PATIENCE, child_environment, load_benchmark

ROOT = Path(__file__).parents[1]
LINES = {"perfect": 8, "epoch": 1, "step": 2, "jax": 2, "short": 2, "long": 1, "generate": 6, "start": 1, "growth": 3}
if importlib.util.find_spec("jax") is None:
    LINES["jax"] = 0


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks can import each other."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """``benchmarks/gpu.py`` as a module."""
    return load_benchmark("gpu")


def run(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--config", str(ROOT / "configs" / "base.yaml")]
    environment = child_environment(PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES="")
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def test_without_a_gpu_it_says_so_in_a_sentence(tmp_path: Path) -> None:
    result = run(folder=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "needs a GPU" in result.stderr


def test_the_smoke_test_measures_both_sides_and_writes_json(tmp_path: Path) -> None:
    result = run("--smoke", "--steps", "2", "--repetitions", "3", "--peak", "0.5", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "bench-gpu.json").read_text())
    assert written["device"] == "CPU, smoke test"
    for side in ("seqrev", "nn.Transformer"):
        row = written[side]
        assert len(row["seconds"]) == 3
        assert row["tokens_per_second"] == pytest.approx(written["tokens"] / sorted(row["seconds"])[1])
        assert row["share_of_peak"] == pytest.approx(row["tflops"] / 0.5)
        assert side in result.stdout
    assert written["ratio"] == pytest.approx(
        written["seqrev"]["tokens_per_second"] / written["nn.Transformer"]["tokens_per_second"]
    )


def test_operations_are_those_of_the_matrix_products(gpu: ModuleType) -> None:
    """Written out: forward, and twice that backward. Both sides do the same ones."""
    width, inner, source, target, symbols = 32, 64, 10, 9, 13
    config = load_config(overrides=[*gpu.SMOKE, "task.max_length=8"])

    def attention(queries: int, keys: int) -> int:
        return 2 * width * width * (2 * queries + 2 * keys) + 2 * 2 * queries * keys * width

    def feed_forward(tokens: int) -> int:
        return 2 * 2 * tokens * width * inner

    encoder = attention(source, source) + feed_forward(source)
    decoder = attention(target, target) + attention(target, source) + feed_forward(target)
    expected = 3 * (encoder + decoder + 2 * target * width * symbols)
    batch = np.zeros((4, 8), np.int32)
    for model in (Transformer(config.model, symbols), gpu.Plain(config)):
        assert gpu.operations(model, [batch, batch]) == 8 * expected
    assert torch.get_default_device().type == "cpu"


@pytest.mark.parametrize("seed", range(3))
def test_leads_and_margins_are_those_of_the_attention_and_the_logits(seed: int) -> None:
    """On a model that knows nothing, so that both are of either sign."""
    leads = load_benchmark("leads")
    shape = {"d_model": 16, "heads": 2, "d_ff": 16, "positions": "rotary", "source_from": "end", "length_scaling": True}
    config = Config.model_validate({"seed": seed, "model": shape})
    torch.manual_seed(seed)
    model = Transformer(config.model, 13).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.3)
    sources = fresh_sequences(7, 1, config)
    source, target = to_tensors(np.array(sources), "reverse", torch.device("cpu"))

    log_weights = model.attention_maps(source, target[:, :-1]).cross[-1][0].log()  # differ as the scores do
    gaps = []
    for step in range(7):
        right = 7 - step  # <BOS> comes before the source
        others = [index for index in range(9) if index != right]
        gaps.append(max(float(head[step, right] - head[step, others].max()) for head in log_weights))
    assert leads.lead(model, config, 7) == pytest.approx(min(gaps), abs=1e-3)

    gaps = []
    for step, logits in enumerate(model(source, target[:, :-1])[0].tolist()):
        own = logits.pop(int(target[0, step + 1]))
        gaps.append(own - max(logits))
    assert leads.margin(model, config, 7, 1) == pytest.approx(min(gaps), abs=1e-5)
    assert 1.0 <= leads.waves(model, config) <= 4.0  # of a head with four pairs


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("section", LINES)
def test_every_section_of_the_speed_benchmark_runs(section: str) -> None:
    speed = load_benchmark("speed")
    results = list(speed.SECTIONS[section](speed.SMOKE))
    assert len(results) == LINES[section]
    for result in results:
        assert math.isfinite(result["seconds"])
        assert result["seconds"] > 0
        assert result.get("against", result.get("peak_mb")) > 0
        assert result["what"] in speed.line_of(result)


@pytest.mark.usefixtures("beside")
def test_the_speed_benchmark_has_no_other_sections() -> None:
    assert set(load_benchmark("speed").SECTIONS) == set(LINES)


@pytest.mark.usefixtures("beside")
def test_the_speed_benchmark_writes_json_and_keeps_other_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speed = load_benchmark("speed")
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setitem(speed.SECTIONS, "epoch", lambda plan: [{"what": "x", "seconds": math.inf, "peak_mb": plan.threads}])
    out = tmp_path / "speed.json"
    out.write_text('{"sections": {"start": [], "epoch": ["old"]}}')
    monkeypatch.setattr(sys, "argv", ["speed.py", "--smoke", "--threads", "7", "--only", "epoch", "--out", str(out)])
    speed.main()
    written = json.loads(out.read_text())
    assert written["sections"] == {"start": [], "epoch": [{"what": "x", "seconds": None, "peak_mb": 7}]}
    assert "7 threads" in written["machine"]


@pytest.mark.usefixtures("beside")
def test_a_race_is_over_at_the_first_check_that_is_good_enough() -> None:
    perfect = load_benchmark("perfect")
    checks = [perfect.Check(1.0 * i, f"{i} steps", exact, 0.5, 0.25) for i, exact in enumerate((0.2, 0.9, 0.8, 1.0))]
    race = perfect.Race(checks, 5.0)
    assert race.first(lambda check: check.exact >= 0.9) == 1.0
    assert race.first(lambda check: check.mass >= 0.9) == math.inf
    assert perfect.ends([race], lambda check: check.exact >= 0.9) == "1 steps, 1.0 s"
    assert perfect.ends([race], lambda check: check.mass >= 0.9) == "not within 3 steps (exact 1.000, mass 0.50, hit 0.25)"


@pytest.mark.usefixtures("beside")
def test_the_products_of_a_step_are_all_that_pytorch_counts() -> None:
    """On a padded batch, and their replay is made of as many products."""
    steps, common = load_benchmark("steps"), load_benchmark("common")
    state, batches = common.training_state([[1, 2, 3], [4], [5, 6]] * 4, "train.batch_size=8")
    with FlopCounterMode(display=False) as counter, steps.Products() as products:
        train_step(state, batches.rows(0))
    run, operations = products.replay()
    assert operations == counter.get_total_flops()
    with steps.Products() as again:
        run()
    assert again.calls == products.calls


@pytest.mark.usefixtures("beside")
def test_the_peers_best_map_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One head of the last layer is given an anti-diagonal, which is half of its weight; nobody else looks anywhere."""
    plain = load_benchmark("plain")
    peer = plain.Plain(norm_first=True, dropout=0.0)
    rows = [[1, 2, 3], [4, 5, 6, 7, 8]]
    last = peer.transformer.decoder.layers[-1].multihead_attn
    forward = nn.MultiheadAttention.forward

    def attend(module: nn.MultiheadAttention, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
        states, weights = forward(module, *arguments, **options)
        if module is last and weights is not None:
            weights = torch.full_like(weights, 1e-3)
            for index, row in enumerate(rows):
                for step in range(len(row)):
                    weights[index, 2, step, len(row) - step] = 0.5
        return states, weights

    before = plain.crispness(peer, rows)
    monkeypatch.setattr(nn.MultiheadAttention, "forward", attend)
    assert before[0] < 0.4
    assert plain.crispness(peer, rows) == (0.5, 1.0)


@pytest.mark.usefixtures("beside")
def test_the_jax_peer_is_the_same_model_and_learns() -> None:
    pytest.importorskip("jax", reason="an optional peer")
    jax_peer, common = load_benchmark("jax_peer"), load_benchmark("common")
    state, batches = common.training_state([[1, 2, 3], [4], [5, 6]] * 4, "train.batch_size=8")
    source, target = to_tensors(batches.rows(0), "reverse", torch.device("cpu"))
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)  # biases, too
        ours = float(token_loss(state.model(source, target[:, :-1]), target[:, 1:]))
    weights = {name: value.detach().numpy() for name, value in state.model.named_parameters()}
    training = jax_peer.Training(state.config)
    assert {name: one.shape for name, one in training.weights.items()} == {name: one.shape for name, one in weights.items()}
    assert float(jax_peer.loss_of(weights, source.numpy(), target.numpy())) == pytest.approx(ours, rel=1e-5)
    assert training.take(1) > 2.4
    assert training.take(300) < 1.0
