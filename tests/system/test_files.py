import errno
import hashlib
import io
import json
import os
import socket
import stat
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.errors import InputError, StorageError
from seqrev.system import files


def write_half(path: Path, error: type[BaseException]) -> None:
    with files.atomic_open(path) as file:
        file.write(b"half")
        raise error


def test_a_file_has_its_content_and_nothing_is_beside_it(tmp_path: Path) -> None:
    files.atomic_write(tmp_path / "a.txt", b"content")
    assert (tmp_path / "a.txt").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_exception_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_half(tmp_path / "a.txt", error)
    assert list(tmp_path.iterdir()) == []


def test_after_an_exception_the_old_content_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_meets_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with files.atomic_open(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    files.atomic_write(path, b"old")
    with files.atomic_open(path) as file:
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
        with pytest.raises(StorageError, match=r"a.txt cannot be written: No space"):
            files.atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_the_file_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(handle: int) -> None:
        calls.append("fsync")
        fsync(handle)

    def recorded_replace(self: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    files.atomic_write(tmp_path / "a.txt", b"content")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_that_is_there_is_flushed_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it may have been killed before it was on disk."""
    flushed: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", flushed.append)
    for _ in range(2):
        files.make_folder(tmp_path / "a")
    assert flushed == [tmp_path, tmp_path]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_its_system_cannot_flush_is_no_error_and_a_failing_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """CIFS and other shared folders have no flush of folders."""
    fsync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError) if code == errno.EIO else nullcontext():
        files.atomic_write(tmp_path / "a.txt", b"content")
    assert (tmp_path / "a.txt").read_bytes() == b"content"


@pytest.mark.parametrize("windows", [True, False])
def test_on_windows_a_rename_waits_for_whoever_has_the_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool
) -> None:
    refusals, replace = [True, True], Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if refusals:
            refusals.pop()
            raise PermissionError(errno.EACCES, "Access is denied")
        return replace(self, target)

    monkeypatch.setattr(files, "WINDOWS", windows)
    monkeypatch.setattr(Path, "replace", refuse)
    with nullcontext() if windows else pytest.raises(StorageError, match="Access is denied"):
        files.atomic_write(tmp_path / "a.txt", b"content")
    assert (tmp_path / "a.txt").exists() == windows


def test_a_junction_is_a_link_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows says of it that it is a folder, and with a number of its own that it leads elsewhere."""
    found = tmp_path.lstat()
    assert files.is_folder(tmp_path)
    assert not files.is_link(tmp_path)
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(Path, "lstat", lambda _: SimpleNamespace(st_mode=found.st_mode, st_reparse_tag=files.JUNCTION))
    assert not files.is_folder(tmp_path)
    assert files.is_link(tmp_path)


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
        (b'{"b": {"a": 1, "a": 2}}', "not valid JSON: 'a' is in it twice"),
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
    for read in (files.read_json, files.sha256_of):
        with pytest.raises(InputError, match="does not exist"):
            read(tmp_path / "none.json")
        with pytest.raises(InputError, match="is a folder"):
            read(tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "device", "link", "dangling link", "socket"])
def test_what_is_no_regular_file_of_the_run_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "link":
            (tmp_path / "b.json").write_text("{}")
            path.symlink_to("b.json")
        case "dangling link":
            path.symlink_to("none")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
    for read in (files.read_json, files.sha256_of):
        with pytest.raises(InputError, match=r"is a link|is not a regular file|cannot be read"):
            read(path)


def test_a_link_to_a_file_of_the_user_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    assert files.read_regular(tmp_path / "b", 7) == b"content"
    with pytest.raises(InputError, match="larger than 6 bytes"):
        files.read_regular(tmp_path / "b", 6)


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=9), st.integers(1, 9))
def test_lines_come_whole_or_are_refused(lines: list[bytes], longest: int) -> None:
    file = io.BytesIO(b"\n".join(lines))
    parts = [line + b"\n" for line in lines[:-1]] + lines[-1:]
    parts = [part for part in parts if part]
    if all(len(part) <= longest for part in parts):
        assert list(files.read_lines(file, "name", longest)) == parts
    else:
        with pytest.raises(InputError, match="is longer than"):
            list(files.read_lines(file, "name", longest))


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".step-000100.12.tmp", ".step-000100.12.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".run.json.7.tmp").write_bytes(b"half")
    kept = [".hidden", "run.json", ".a.tmp", "x.1.tmp", ".a.1.tmp.txt"]
    for name in kept:
        (tmp_path / name).write_text("")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".link.3.tmp").symlink_to("elsewhere")
    files.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "elsewhere"])
    files.remove_leftovers(tmp_path / "none")


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content" * 100_000)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(b"content" * 100_000).hexdigest()


def test_a_file_is_not_built_through_a_link_that_somebody_put_there(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"untouched")
    files.temporary_path(tmp_path / "a.txt").symlink_to("theirs")
    files.atomic_write(tmp_path / "a.txt", b"content")
    assert (tmp_path / "theirs").read_bytes() == b"untouched"
    assert (tmp_path / "a.txt").read_bytes() == b"content"
    assert not (tmp_path / "a.txt").is_symlink()


@pytest.mark.parametrize(
    "content", [b'{"a": NaN}', b'{"a": [-Infinity]}', b'{"a": {"b": 1e999}}', b'{"a": ' * 33 + b"1" + b"}" * 33]
)
def test_json_that_could_not_be_written_again_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"NaN or infinity|nested more than"):
        files.parse_json(content, "a.json")


def test_a_huge_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(InputError, match="larger than"):
        files.read_regular(tmp_path / "a", 10**11)


@pytest.mark.parametrize(
    ("number", "look"),
    [
        (errno.EACCES, "make a b a folder that you may write in; "),
        (errno.EPERM, "make a b a folder that you may write in; "),
        (errno.EROFS, "make a b a folder that you may write in; "),
        (errno.ENOSPC, "make room on that disk; "),
    ],
)
def test_what_to_do_depends_on_why_it_was_refused(number: int, look: str) -> None:
    with pytest.raises(StorageError) as caught, files.storage_errors(Path("a b/c")):
        raise OSError(number, os.strerror(number))
    assert caught.value.hint.startswith(look)
    assert caught.value.hint.endswith("; then the same command again, or one with --runs-dir on another disk")
