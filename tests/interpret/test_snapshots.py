"""The attention of one sequence over a training: which steps, what is saved, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from seqrev.errors import InputError
from seqrev.interpret.alignment import alignment_over
from seqrev.interpret.snapshots import is_snapshot_step, load_snapshots, save_snapshot
from seqrev.model.tensors import to_tensors
from seqrev.model.transformer import Transformer
from seqrev.training.state import TrainingState
from seqrev.training.step import token_loss
from tests.helpers import tiny_config

SOURCE = [4, 2, 1]


def model_of(seed: int = 0) -> Transformer:
    model = TrainingState(tiny_config(f"seed={seed}", "model.decoder_layers=2")).model
    for parameter in model.parameters():
        parameter.data *= 5  # maps that are not flat
    return model


def test_the_series_is_logarithmic_and_has_the_last_step() -> None:
    saved = [step for step in range(1, 100_001) if is_snapshot_step(step, last=100_000)]
    assert saved[:8] == [1, 2, 3, 4, 6, 8, 12, 16]
    assert saved[-1] == 100_000
    assert len(saved) == 34


def test_what_is_saved_is_the_attention_on_the_right_answer(tmp_path: Path) -> None:
    model = model_of()
    save_snapshot(tmp_path / "snapshots", model, SOURCE, 12)
    (snapshot,) = load_snapshots(tmp_path / "snapshots", "reverse")
    assert (snapshot.step, snapshot.source) == (12, SOURCE)
    source, target = to_tensors(np.array([SOURCE]), "reverse", torch.device("cpu"))
    with torch.no_grad():
        maps = model.eval().attention_maps(source, target[:, :-1]).cross
        loss = token_loss(model(source, target[:, :-1]), target[:, 1:])
    assert np.array_equal(snapshot.cross, [layer[0].numpy() for layer in maps])
    assert snapshot.cross.shape == (2, 2, 4, 5)
    assert snapshot.loss == pytest.approx(float(loss))
    assert snapshot.alignment == [3, 2, 1]
    for layer in (1, 2):
        expected = alignment_over(model, [SOURCE], layer)
        for head in (None, 1, 2):
            assert snapshot.score(layer, head) == expected[head or 0]


def test_maps_that_would_be_large_are_not_saved(tmp_path: Path) -> None:
    save_snapshot(tmp_path / "snapshots", model_of(), [1] * 101, 1)
    assert list(tmp_path.iterdir()) == []


def test_snapshots_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (2_000_000, 3, 12, 100):
        save_snapshot(tmp_path, model_of(), SOURCE, step)
    (tmp_path / ".step-000004.safetensors.1.tmp").write_bytes(b"half")
    assert [snapshot.step for snapshot in load_snapshots(tmp_path, "reverse")] == [3, 12, 100, 2_000_000]


def test_saving_changes_nothing(tmp_path: Path) -> None:
    model = model_of()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    generator, legacy = torch.get_rng_state(), repr(np.random.get_state())
    save_snapshot(tmp_path, model, SOURCE, 1)
    assert torch.equal(torch.get_rng_state(), generator)
    assert repr(np.random.get_state()) == legacy
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_snapshot(tmp_path / name, model_of(), SOURCE, 1)
    save_snapshot(tmp_path / "other", model_of(seed=1), SOURCE, 1)
    one, two, other = ((tmp_path / name / "step-000001.safetensors").read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


@pytest.mark.parametrize("damage", ["empty", "text", "shape", "missing", "flat", "no source", "step", "bit"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    save_snapshot(tmp_path, model_of(), SOURCE, 1)
    path = tmp_path / "step-000001.safetensors"
    arrays = load(path.read_bytes())
    if damage == "shape":
        arrays["cross"] = arrays["cross"][:, :, :, 1:].copy()
    elif damage == "missing":
        del arrays["loss"]
    elif damage == "flat":
        arrays["cross"] = arrays["cross"].reshape(-1)
    elif damage == "no source":
        arrays["source"] = arrays["source"][:0]
    elif damage == "step":
        arrays["step"] = np.array([1, 2])
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes({"empty": b"", "text": b"x" * 1000, "bit": bytes(flipped)}.get(damage, save(arrays)))
    with pytest.raises(InputError, match=r"step-000001\.safetensors is damaged"):
        load_snapshots(tmp_path, "reverse")


def test_where_nothing_was_saved_there_is_nothing_to_show(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="There are no snapshots in"):
            load_snapshots(folder, "reverse")


@pytest.mark.parametrize("change", ["loss", "cross", "no layers", "no heads", "fractions", "two steps", "other model"])
def test_attention_with_other_numbers_than_a_training_saves_is_refused(tmp_path: Path, change: str) -> None:
    good: dict[str, NDArray[Any]] = {
        "step": np.array(1),
        "loss": np.array(0.5, np.float32),
        "source": np.array([1, 2]),
        "cross": np.full((1, 2, 3, 4), 0.25, np.float32),
    }
    changed = {
        "loss": {"loss": np.array(np.nan, np.float32)},
        "cross": {"cross": good["cross"] * np.float32(np.inf)},
        "no layers": {"cross": good["cross"][:0]},
        "no heads": {"cross": good["cross"][:, :0]},
        "fractions": {"source": np.array([1.5, 2.5])},
        "two steps": {"step": np.array([1, 2])},
        "other model": {"cross": np.full((1, 3, 3, 4), 0.25, np.float32)},
    }[change]
    (tmp_path / "step-000001.safetensors").write_bytes(save(good))
    assert load_snapshots(tmp_path, "reverse")[0].step == 1
    (tmp_path / "step-000002.safetensors").write_bytes(save({**good, **changed}))
    says = (
        "are damaged: they are of different models" if change == "other model" else r"step-000002\.safetensors is damaged"
    )
    with pytest.raises(InputError, match=says):
        load_snapshots(tmp_path, "reverse")
