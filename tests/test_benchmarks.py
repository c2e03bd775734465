"""The benchmark for GPUs: that its code runs, and that its operations are counted right. What it measures needs a GPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from seqrev.config import load_config
from seqrev.model.transformer import Transformer
from tests.conftest import child_environment

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """``benchmarks/gpu.py`` as a module."""
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--config", str(ROOT / "configs" / "base.yaml")]
    environment = child_environment(PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES="")
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200
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
