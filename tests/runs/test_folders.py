import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from seqrev.config import Config, load_config
from seqrev.errors import InputError, StorageError
from seqrev.runs.folders import Run, open_run
from tests.helpers import PATIENCE, child_environment


def test_runs_are_numbered_from_one(tmp_path: Path) -> None:
    assert [open_run(tmp_path / "a" / "runs", Config()).path.name for _ in range(3)] == ["001", "002", "003"]


def test_a_number_is_never_used_again(tmp_path: Path) -> None:
    for name in ("001", "007", "notes", "1000", ".002", "3"):
        (tmp_path / name).mkdir()
    (tmp_path / "007" / "mine").write_text("untouched")
    assert open_run(tmp_path, Config()).path.name == "1001"
    assert (tmp_path / "007" / "mine").read_text() == "untouched"


def test_a_number_is_not_used_again_after_its_run_was_moved_or_removed(tmp_path: Path) -> None:
    open_run(tmp_path, Config()).path.rename(tmp_path / "mine")
    run = open_run(tmp_path, Config())
    assert run.path.name == "002"
    shutil.rmtree(run.path)
    assert open_run(tmp_path, Config()).path.name == "003"


@pytest.mark.parametrize("content", [b"\xff\n\n005\nnone 99999999999", b"", b"001\n" * 5_000 + b"005\n"], ids=len)
def test_numbers_that_were_given_are_read_whatever_else_is_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "004").mkdir()
    (tmp_path / ".numbers").write_bytes(content)
    assert open_run(tmp_path, Config()).path.name == ("006" if content else "005")


def test_numbers_are_not_written_through_a_link_nor_needed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".numbers").symlink_to(tmp_path / "victim")
    assert [open_run(tmp_path / "runs", Config()).path.name for _ in range(2)] == ["001", "002"]
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_file_in_place_of_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "001").write_text("mine")
    assert open_run(tmp_path, Config()).path.name == "002"
    assert (tmp_path / "001").read_text() == "mine"


def test_a_run_that_appears_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("001", "002"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(()))  # as if they were not there yet
    assert open_run(tmp_path, Config()).path.name == "003"
    monkeypatch.undo()
    assert list((tmp_path / "001").iterdir()) == []


def test_a_new_run_records_its_configuration_and_where_it_comes_from(tmp_path: Path) -> None:
    config = load_config(overrides=["seed=7", "train.lr=1e-3"])
    run = open_run(tmp_path, config)
    assert run.config() == config
    record = run.record.read()
    assert (record["run"], record["status"], record["seed"]) == ("001", "opened", 7)
    assert {"command", "versions", "platform", "git", "opened"} <= record.keys()
    assert {"python", "torch", "numpy", "seqrev"} <= record["versions"].keys()
    run.record.update(status="done", extra=1)
    assert run.record.read() == {**record, "status": "done", "extra": 1}
    assert run.has_config()
    assert not run.has_dataset()
    assert not run.has_checkpoint()
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "run.json"]


def test_threads_that_open_runs_at_once_get_one_each(tmp_path: Path) -> None:
    barrier = Barrier(16)

    def work(_: int) -> list[str]:
        barrier.wait()
        return [open_run(tmp_path, Config()).path.name for _ in range(2)]

    with ThreadPoolExecutor(16) as pool:
        names = [name for names in pool.map(work, range(16)) for name in names]
    assert sorted(names) == [f"{number:03d}" for number in range(1, 33)]


def test_processes_that_open_runs_at_once_get_one_each(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from seqrev.config import Config\n"
        "from seqrev.runs.folders import open_run\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(*[open_run(pathlib.Path('runs'), Config()).path.name for _ in range(4)])\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    names = [name for worker in workers for name in worker.communicate(timeout=PATIENCE)[0].split()]
    assert sorted(names) == [f"{number:03d}" for number in range(1, 17)]


@pytest.mark.parametrize("name", ["file", "file/runs", "/proc/seqrev", "/dev/null"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        open_run(tmp_path / name, Config())
    assert "No run can be opened in" in str(caught.value)
    assert "--runs-dir" in caught.value.hint


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **options: bool) -> None:
        if not options:  # the run's own folder, not its parents
            raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        open_run(tmp_path, Config())


@pytest.mark.parametrize("failing", ["config.yaml", "run.json"])
def test_a_full_disk_is_refused_as_a_known_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.name == failing:
            raise OSError(28, "No space left on device", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match="No space left"):
        open_run(tmp_path, Config())
    assert list(tmp_path.glob("[!.]*")) == []  # a run that is not whole is not left behind


def test_numbered_files_are_never_given_twice(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    for name in ("001.png", "002.png"):
        path = run.numbered("attention", ".png")
        assert path == run.path / "attention" / name
        path.write_text("")
    (run.path / "attention" / "009.svg").write_text("")
    (run.path / "attention" / "notes.txt").write_text("")
    assert run.numbered("attention", ".png").name == "010.png"


def test_a_numbered_file_is_taken_by_one(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: run.numbered("evaluation", ".json").name, range(24)))
    assert sorted(names) == [f"{number:03d}.json" for number in range(1, 25)]


# --- runs that somebody else made -----------------------------------------------------------------------------------


def test_a_configuration_that_is_a_link_is_refused(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config())
    (run.path / "config.yaml").rename(tmp_path / "elsewhere.yaml")
    (run.path / "config.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(InputError, match="is a link"):
        run.config()


def test_a_number_of_250_digits_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / f"{'9' * 250}.json").touch()
    assert Run(tmp_path).numbered("evaluation", ".json").name == "001.json"
