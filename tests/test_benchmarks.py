"""The benchmark for GPUs: that its code runs, and that its operations are counted right; what it measures needs a GPU.

And the leads and margins of docs/extrapolation.md, against the attention and the logits themselves.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from seqrev.config import Config, load_config
from seqrev.data.sampling import fresh_sequences
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from tests.helpers import child_environment, load_benchmark

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """``benchmarks/gpu.py`` as a module."""
    return load_benchmark("gpu")


def run(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--config", str(ROOT / "configs" / "base.yaml")]
    environment = child_environment(PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES="")
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
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
    source, target = to_tensors(np.array(sources), torch.device("cpu"))

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
