import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from seqrev import files
from seqrev.errors import InputError


def write_half(path: Path, error: type[BaseException]) -> None:
    with files.open_whole(path) as file:
        file.write(b"half")
        raise error


def test_a_file_written_whole_has_its_content_and_nothing_beside_it(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "a.txt", b"content")
    assert (tmp_path / "a.txt").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_after_an_exception_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_half(tmp_path / "a.txt", error)
    assert list(tmp_path.iterdir()) == []


def test_after_an_exception_the_old_content_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_meets_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with files.open_whole(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    files.write_whole(path, b"old")
    with files.open_whole(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"half"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_the_file_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def told_fsync(handle: int) -> None:
        calls.append("fsync")
        fsync(handle)

    def told_replace(self: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(Path, "replace", told_replace)
    files.write_whole(tmp_path / "a.txt", b"content")
    assert calls == ["fsync", "replace", "fsync"]


def test_json_is_strict_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": [1, None, "ü"]})
    assert files.read_json(path) == {"a": [1, None, "ü"]} == json.loads(path.read_text())
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": [1, None, "ü"]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\x80\xff\x00", "not valid JSON"),
        (b"[1]", "does not hold a JSON object"),
        (b"3", "does not hold a JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": "' + b"x" * 100 + b'"}', "larger than"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        files.read_json(path, largest=100 if says == "larger than" else 10_000_000)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="is missing"):
        files.read_json(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        files.sha256_of(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read"):
        files.sha256_of(tmp_path)


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content" * 100_000)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(b"content" * 100_000).hexdigest()
