"""The weights of a few steps: which steps, what is saved, and what is passed over."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from seqrev.runs import stages
from seqrev.runs.stages import is_stage_step, load_stages, save_stage

SHAPES = {"one": (3, 2), "two": (4,)}


def weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


@given(st.integers(16, 1_000_000))
def test_there_are_three_steps_before_the_middle_of_a_training(last: int) -> None:
    steps = [1 << exponent for exponent in range(20) if is_stage_step(1 << exponent, last)]
    assert len(steps) == 3
    assert last <= 16 * steps[0]
    assert 2 * steps[-1] < last
    assert not any(is_stage_step(step + 1, last) for step in steps[1:])


def test_what_is_saved_is_read_back_in_the_order_of_the_steps(tmp_path: Path) -> None:
    for step in (2_000_000, 8, 64):
        save_stage(tmp_path / "snapshots", step, weights(step))
    (tmp_path / "snapshots" / ".weights-000004.safetensors.1.tmp").write_bytes(b"half")
    found = load_stages(tmp_path / "snapshots", SHAPES)
    assert list(found) == [8, 64, 2_000_000]
    for step, tensors in found.items():
        for name, tensor in weights(step).items():
            assert tensors[name].dtype == np.float32
            np.testing.assert_array_equal(tensors[name], tensor.astype(np.float16))


def test_a_number_too_large_for_half_precision_becomes_the_largest(tmp_path: Path) -> None:
    save_stage(tmp_path, 1, {"one": np.array([1e6, -1e6], np.float32)})
    assert load_stages(tmp_path, {"one": (2,)})[1]["one"].tolist() == [65504.0, -65504.0]


def test_of_a_large_model_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_stage(tmp_path, 1, weights())
    monkeypatch.setattr(stages, "MOST_WEIGHTS", 9)
    save_stage(tmp_path, 2, weights())
    assert [path.name for path in tmp_path.iterdir()] == ["weights-000001.safetensors"]
    assert load_stages(tmp_path, SHAPES) == {}


def test_where_nothing_was_kept_there_is_no_stage(tmp_path: Path) -> None:
    (tmp_path / "step-000001.safetensors").write_bytes(b"attention")
    assert load_stages(tmp_path, SHAPES) == load_stages(tmp_path / "none", SHAPES) == {}


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "name", "shape", "type", "nan", "large", "link", "folder"])
def test_a_damaged_file_is_a_stage_less_and_named(tmp_path: Path, damage: str) -> None:
    save_stage(tmp_path, 1, weights())
    save_stage(tmp_path, 2, weights())
    path = tmp_path / "weights-000002.safetensors"
    content = path.read_bytes()
    tensors = load(content)
    other = {
        "name": {**tensors, "three": tensors["one"]},
        "shape": {**tensors, "one": tensors["one"][1:].copy()},
        "type": {**tensors, "one": tensors["one"].astype(np.float32)},
        "nan": {**tensors, "one": tensors["one"] * np.float16(np.nan)},
    }
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "link":
        path.symlink_to(tmp_path / "weights-000001.safetensors")
    elif damage in other:
        path.write_bytes(save(other[damage]))
    else:
        path.write_bytes({"empty": b"", "text": b"x" * 900, "cut": content[:-1], "large": content * 100}[damage])
    problems: list[str] = []
    assert list(load_stages(tmp_path, SHAPES, problems)) == [1]
    assert len(problems) == 1
    assert str(path) in problems[0]


@given(byte=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_is_damage(byte: int, bit: int) -> None:
    with TemporaryDirectory() as folder:
        save_stage(Path(folder), 1, weights())
        (path,) = Path(folder).iterdir()
        content = bytearray(path.read_bytes())
        content[byte % len(content)] ^= 1 << bit
        path.write_bytes(content)
        assert load_stages(Path(folder), SHAPES) == {}


def test_a_file_of_an_older_version_has_no_checksum_and_is_read(tmp_path: Path) -> None:
    halves = {name: tensor.astype(np.float16) for name, tensor in weights().items()}
    (tmp_path / "weights-000001.safetensors").write_bytes(save(halves))
    assert list(load_stages(tmp_path, SHAPES)) == [1]
