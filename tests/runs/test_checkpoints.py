import hashlib
import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqrev.errors import InputError
from seqrev.runs import checkpoints
from seqrev.runs.checkpoints import Checkpoint, best_first, list_checkpoints, newest_first, save_checkpoint
from seqrev.system import files
from tests.helpers import flip_byte

Tensors = dict[str, dict[str, NDArray[Any]]]
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "model": {"a.weight": (3, 4), "b": (2,)},
    "optimizer": {"step.a": (), "t": (3, 4)},
}


def tensors(seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    return {
        "model": {"a.weight": rng.normal(size=(3, 4)).astype(np.float32), "b": np.array([7, 8], dtype=np.float32)},
        "optimizer": {"step.a": np.array(3.0, dtype=np.float32), "t": rng.normal(size=(4, 3)).astype(np.float32).T},
    }


def load_all(checkpoint: Checkpoint) -> Tensors:
    return {name: checkpoint.load(name, shapes) for name, shapes in SHAPES.items()}


def result(exact: float, loss: float = 1.0) -> dict[str, float]:
    return {"exact_match": exact, "token_accuracy": exact, "loss": loss}


def save(folder: Path, step: int, validation: Mapping[str, float] | None = None) -> Checkpoint:
    return save_checkpoint(folder, step, tensors(step), validation)


def forge(checkpoint: Checkpoint, content: bytes) -> None:
    """Put other content in place of the model, with a manifest that fits it: as somebody would who means harm."""
    (checkpoint.path / "model.safetensors").write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    seal(checkpoint, files={**checkpoint.files, "model.safetensors": entry})


def seal(checkpoint: Checkpoint, **changes: Any) -> None:
    """Change the manifest, and its own digest with it."""
    path = checkpoint.path / "manifest.json"
    path.write_bytes(files.to_json(checkpoints._seal({**json.loads(path.read_text()), **changes})))


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    saved = save_checkpoint(folder, 600, tensors(), result(0.5))
    (found,) = list_checkpoints(folder)
    assert found == saved
    assert (found.step, found.validation, found.path.name) == (600, result(0.5), "step-000600")
    for name, arrays in tensors().items():
        loaded = load_all(found)[name]
        assert loaded.keys() == arrays.keys()
        for key, value in arrays.items():
            assert loaded[key].dtype == value.dtype
            assert loaded[key].shape == value.shape
            assert np.array_equal(loaded[key], value)
    assert [path.name for path in folder.iterdir()] == ["step-000600"]


def test_the_manifest_holds_size_and_digest_of_every_file(tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    manifest = json.loads((saved.path / "manifest.json").read_text())
    assert manifest["step"] == 1
    assert set(manifest["files"]) == {"model.safetensors", "optimizer.safetensors"}
    for name, entry in manifest["files"].items():
        assert entry["bytes"] == (saved.path / name).stat().st_size
        assert len(entry["sha256"]) == 64


@pytest.mark.parametrize("name", ["model", "optimizer"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "append", "empty", "remove", "folder"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    saved = save(tmp_path, 1)
    path = saved.path / f"{name}.safetensors"
    match damage:
        case "flip":
            flip_byte(path)
        case "truncate":
            path.write_bytes(path.read_bytes()[:-1])
        case "append":
            path.write_bytes(path.read_bytes() + b"\x00")
        case "empty":
            path.write_bytes(b"")
        case "remove":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
    (found,) = list_checkpoints(tmp_path)
    with pytest.raises(InputError, match=path.name):
        found.load(name, SHAPES[name])
    other = "optimizer" if name == "model" else "model"
    assert found.load(other, SHAPES[other])


def test_a_file_that_is_no_safetensors_is_refused_though_its_digest_fits(tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    forge(saved, b"junk")
    with pytest.raises(InputError, match="cannot be read"):
        list_checkpoints(tmp_path)[0].load("model", SHAPES["model"])


def test_a_file_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    (saved.path / "other.safetensors").write_bytes((saved.path / "model.safetensors").read_bytes())
    with pytest.raises(InputError):
        list_checkpoints(tmp_path)[0].load("other", SHAPES["model"])


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"[]", b"{}", b'{"step": "1", "files": {}}', b'{"step": 1, "files": 3}']
)
def test_a_checkpoint_with_a_damaged_manifest_is_passed_over(tmp_path: Path, content: bytes) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2).path / "manifest.json").write_bytes(content)
    assert [found.step for found in newest_first(tmp_path)] == [1]


@pytest.mark.parametrize(
    "validation",
    [
        {"exact_match": None, "loss": 1.0},
        {"exact_match": "high", "loss": 1.0},
        {"exact_match": [1], "loss": {}},
        {"loss": None},
    ],
)
def test_a_manifest_with_a_senseless_validation_does_no_harm(tmp_path: Path, validation: dict[str, Any]) -> None:
    save(tmp_path, 1, result(0.5))
    seal(save(tmp_path, 2, result(0.4)), validation=validation)
    assert best_first(tmp_path)[0].step == 1


def test_a_result_that_comes_later_is_added_without_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is there at every moment: it is never moved away to be replaced."""
    first = save(tmp_path, 100)
    inode = first.path.stat().st_ino
    monkeypatch.setattr(Path, "rename", lambda *_: pytest.fail("moved"))
    save(tmp_path, 100, result(0.5))
    (found,) = list_checkpoints(tmp_path)
    assert (found.validation, found.files, found.path.stat().st_ino) == (result(0.5), first.files, inode)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000100"]


@pytest.mark.parametrize(
    "change",
    [{"bad": np.zeros(2, np.float32)}, {"b": np.zeros(3, np.float32)}, {"b": np.zeros(2, np.int32)}, {"b": None}],
    ids=["one more", "other shape", "other type", "one less"],
)
def test_other_tensors_than_the_configuration_has_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    arrays = {key: value for key, value in {**tensors()["model"], **change}.items() if value is not None}
    saved = save_checkpoint(tmp_path, 1, {"model": arrays}, None)
    with pytest.raises(InputError, match="does not fit the configuration"):
        saved.load("model", SHAPES["model"])


def test_a_file_that_is_too_large_for_its_tensors_is_not_even_read(tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    with (saved.path / "model.safetensors").open("r+b") as file:
        file.truncate(10**12)  # takes no room: it is all holes
    with pytest.raises(InputError, match="larger than"):
        saved.load("model", SHAPES["model"])


def header(text: bytes, data: bytes = bytes(56), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + data


GOOD = (
    b'{"a.weight":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},'
    b'"b":{"dtype":"F32","shape":[2],"data_offsets":[48,56]}}'
)


@pytest.mark.parametrize(
    "content",
    [
        header(GOOD, length=2**63),
        header(GOOD, length=len(GOOD) + 100),
        header(GOOD, length=3),
        header(GOOD, data=bytes(55)),
        header(GOOD, data=bytes(57)),
        header(GOOD.replace(b"[3,4]", b"[4,4]")),
        header(GOOD.replace(b"[3,4]", b"[-3,-4]")),
        header(GOOD.replace(b"[3,4]", b"[99999999999,4]")),
        header(GOOD.replace(b"[48,56]", b"[0,8]")),
        header(GOOD.replace(b"[48,56]", b"[48,99999999999999]")),
        header(GOOD.replace(b'"b"', b'"a.weight"')),
        header(GOOD.replace(b"F32", b"BF16")),
        header(GOOD.replace(b"F32", b"X99")),
        header(b"[" * 1000),
        header(b'{"a":' * 300),
        header(b"\xff" * 40),
        b"",
        b"\x00" * 7,
        b"\x80\x04cos\nsystem\n.",
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, content: bytes) -> None:
    saved = save(tmp_path, 1)
    forge(saved, header(GOOD))
    assert list_checkpoints(tmp_path)[0].load("model", SHAPES["model"])["b"].shape == (2,)
    forge(saved, content)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        list_checkpoints(tmp_path)[0].load("model", SHAPES["model"])


def test_every_byte_of_a_manifest_counts(tmp_path: Path) -> None:
    path = save(tmp_path, 1, result(0.5)).path / "manifest.json"
    content = path.read_bytes()
    for index in range(len(content)):
        for damaged in (content[:index], content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]):
            path.write_bytes(damaged)
            problems: list[str] = []
            assert list_checkpoints(tmp_path, problems) == []
            assert len(problems) == 1


def test_a_checkpoint_that_is_removed_while_it_is_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a training beside, which prunes."""
    gone, kept = (save(tmp_path, step, result(0.5)).path for step in (1, 2))
    read = checkpoints.read_checkpoint

    def remove_and_read(path: Path) -> checkpoints.Checkpoint:
        shutil.rmtree(gone, ignore_errors=True)
        return read(path)

    monkeypatch.setattr(checkpoints, "read_checkpoint", remove_and_read)
    problems: list[str] = []
    assert [found.path for found in list_checkpoints(tmp_path, problems)] == [kept]
    assert problems == []


def test_a_checkpoint_under_another_name_is_refused(tmp_path: Path) -> None:
    """Its step is what counts, and nobody else may say it."""
    save(tmp_path, 1).path.rename(tmp_path / "step-000009")
    problems: list[str] = []
    assert list_checkpoints(tmp_path, problems) == []
    assert "step-000009" in problems[0]


def test_links_are_neither_read_nor_followed_by_a_deletion(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    saved = save(outside, 7)
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        save(folder, step)
    (folder / "step-000007").symlink_to(saved.path)
    (folder / "step-000008").mkdir()
    (folder / "step-000008" / "manifest.json").symlink_to(saved.path / "manifest.json")
    assert steps_of(newest_first(folder)) == [3, 2]
    save(folder, 7)
    assert steps_of(newest_first(folder)) == [7, 3]
    assert load_all(list_checkpoints(outside)[0])


def steps_of(found: list[Checkpoint]) -> list[int]:
    return [checkpoint.step for checkpoint in found]


def test_what_is_no_checkpoint_is_ignored(tmp_path: Path) -> None:
    save(tmp_path, 1)
    for name in (".step-000002.123.tmp", "step-000003.tmp", "step-4", "other", "step-abcdef"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text('{"step": 9, "validation": null, "files": {}}')
    (tmp_path / "step-000005").write_text("a file")
    assert [found.step for found in list_checkpoints(tmp_path)] == [1]


def test_a_missing_folder_has_no_checkpoints(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path / "none") == []
    (tmp_path / "file").write_text("")
    assert list_checkpoints(tmp_path / "file") == []


def test_the_newest_two_and_the_best_stay(tmp_path: Path) -> None:
    for step, exact in ((100, 0.1), (200, 0.9), (300, 0.2), (400, 0.3), (500, 0.4)):
        save(tmp_path, step, result(exact))
    assert steps(tmp_path) == [200, 400, 500]
    save(tmp_path, 550)
    assert steps(tmp_path) == [200, 500, 550]
    save(tmp_path, 600, result(0.95))
    assert steps(tmp_path) == [550, 600]
    assert [found.step for found in newest_first(tmp_path)] == [600, 550]


def test_best_is_exact_match_then_loss_then_the_later_step_and_unvalidated_last(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(checkpoints, "KEEP", 99)
    for step, validation in (
        (100, result(0.9, loss=0.5)),
        (200, result(0.9, loss=0.1)),
        (300, result(0.8, loss=0.0)),
        (400, result(0.9, loss=0.1)),
        (500, None),
        (600, result(0.0, loss=9.0)),
    ):
        save(tmp_path, step, validation)
    assert [found.step for found in best_first(tmp_path)] == [400, 200, 100, 300, 600, 500]


@pytest.mark.parametrize("validation", [None, result(0.1)])
def test_what_was_just_saved_stays_though_there_are_newer_ones(tmp_path: Path, validation: dict[str, float] | None) -> None:
    """As after going back to an early checkpoint, because the newer ones are damaged."""
    for step in (100, 200, 300):
        save(tmp_path, step, result(step / 1000))
    saved = save(tmp_path, 50, validation)
    assert saved.path.is_dir()
    assert load_all(saved)


def test_damaged_ones_do_not_count_as_kept(tmp_path: Path) -> None:
    for step in (100, 200, 300):
        save(tmp_path, step, result(step / 1000))
    flip_byte(tmp_path / "step-000300" / "model.safetensors")
    save(tmp_path, 400, result(0.4))
    assert steps(tmp_path) == [200, 300, 400]
    assert load_all(newest_first(tmp_path)[2])


def test_a_checkpoint_that_cannot_be_read_just_now_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (100, 200):
        save(tmp_path, step, result(0.5))
    read, failed = checkpoints.read_checkpoint, list[Path]()

    def fail_once(path: Path) -> Checkpoint:
        if path.name == "step-000200" and not failed:
            failed.append(path)
            raise InputError("not now")
        return read(path)

    monkeypatch.setattr(checkpoints, "read_checkpoint", fail_once)
    save(tmp_path, 300, result(0.9))
    assert failed
    assert 200 in steps(tmp_path)


def test_a_step_that_is_saved_again_replaces_the_damaged_one(tmp_path: Path) -> None:
    flip_byte(save(tmp_path, 100).path / "model.safetensors")
    save(tmp_path, 100, result(0.5))
    (found,) = list_checkpoints(tmp_path)
    assert load_all(found)
    assert found.validation == result(0.5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_save_that_fails_leaves_nothing_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: Any) -> None:
        raise error

    save(tmp_path, 100, result(0.5))
    with monkeypatch.context() as patch:
        patch.setattr(files, "to_json", fail)
        with pytest.raises(error):
            save(tmp_path, 200)
    assert steps(tmp_path) == [100]
    assert load_all(list_checkpoints(tmp_path)[0])


def test_a_folder_left_by_a_crash_does_not_hinder_the_next_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 123)
    (tmp_path / ".step-000100.123.tmp").mkdir()
    (tmp_path / ".step-000100.123.tmp" / "model.safetensors").write_bytes(b"half")
    assert load_all(save(tmp_path, 100))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000100"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    arrays = tensors()
    arrays["model"]["b"][0] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        save_checkpoint(tmp_path, 1, arrays, None).load("model", SHAPES["model"])


@pytest.mark.parametrize("name", ["../../x.safetensors", "/dev/zero", "a/b"])
def test_a_manifest_that_lists_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    saved = save(tmp_path, 1)
    seal(saved, files={**saved.files, name: {"bytes": 1, "sha256": "x"}})
    problems: list[str] = []
    assert list_checkpoints(tmp_path, problems) == []
    assert "not in its folder" in problems[0]


def test_the_best_that_can_be_loaded_stays_when_the_best_is_damaged(tmp_path: Path) -> None:
    for step, exact in ((1, 0.9), (2, 0.8), (3, 0.1)):
        save(tmp_path, step, result(exact))
    flip_byte(tmp_path / "step-000001" / "model.safetensors")
    for step in (4, 5):
        save(tmp_path, step, result(0.1))
    assert {2, 4, 5} <= set(steps(tmp_path))
