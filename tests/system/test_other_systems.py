"""What a user does, on Windows (as far as this system can be like it) and in a shared folder without locks."""

import errno
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import TINY, Cli, Result, child_environment, settings

ROOT = Path(__file__).parents[2]
RESERVED = re.compile(r'[<>:"|?*\x00-\x1f]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
LONG = settings([*TINY, "train.steps=4000", "train.validate_every=20", "train.stop_at=null", "data.train=200"])


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    environment = child_environment(PYTHONPATH=str(ROOT), PYTHONIOENCODING="cp850")
    command = [sys.executable, "-m", "tests.system.windows", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, encoding="cp850")


def windows(*arguments: str, folder: Path, code: int = 0) -> Result:
    """A command there, which must end with this code."""
    process = start(*arguments, folder=folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return Result(code, out, err)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_all_that_a_user_does_on_windows(tmp_path: Path) -> None:
    windows("generate", *LONG, folder=tmp_path)
    process = start("train", "--run", "1", folder=tmp_path)
    wait_for(tmp_path / "runs" / "001" / "checkpoints" / "step-000040", process)
    refused = windows("train", "--run", "1", folder=tmp_path, code=3)
    assert "Another process is at work in runs/001" in refused.err
    assert "running" in windows("runs", folder=tmp_path).out
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "Continue: seqrev train --run runs/001"
    step = json.loads((tmp_path / "runs" / "001" / "run.json").read_text())["step"]
    assert "interrupted" in windows("runs", folder=tmp_path).out

    windows("train", "--run", "1", "--set", "seed=1", folder=tmp_path, code=2)
    config = tmp_path / "runs" / "001" / "config.yaml"
    config.write_text(config.read_text().replace("steps: 4000", f"steps: {step + 40}"))
    windows("train", "--run", "1", folder=tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / "runs" / "001" / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == step + 40
    windows("evaluate", folder=tmp_path)
    windows("evaluate", "--lengths", "3", folder=tmp_path)
    assert windows("decode", "--json", "1", "2", folder=tmp_path).document["source"] == [1, 2]
    for name in ("map.png", "map.html"):
        windows("attention", "1", "2", "--out", name, "--text", folder=tmp_path)
        assert (tmp_path / name).stat().st_size > 1000
    windows("attention", "--over-time", "--out", "map.gif", folder=tmp_path)
    folder_as_file = windows("decode", "--file", "runs", folder=tmp_path, code=3)
    assert "runs is a folder" in folder_as_file.err

    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert not [name for name in files if any(RESERVED.search(part) for part in Path(name).parts)]
    assert len({name.lower() for name in files}) == len(files)
    assert not [name for name in files if name.endswith((".tmp", ".old"))]


def test_what_the_other_tests_rely_on_is_refused_there(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib, pytest\n"
        "from tests.system.windows import become\n"
        "become()\n"
        "from seqrev.system import files\n"
        "assert files.WINDOWS and sys.platform != 'win32'\n"
        "with pytest.raises(ImportError): import fcntl\n"
        "with pytest.raises(PermissionError): os.open('.', os.O_RDONLY)\n"
        "pathlib.Path('a').mkdir()\n"
        "with pathlib.Path('a', 'b').open('w'):\n"
        "    for change in (lambda: os.unlink('a/b'), lambda: os.rename('a', 'c'), lambda: os.replace('a/b', 'd')):\n"
        "        with pytest.raises(PermissionError): change()\n"
        "os.rename('a', 'c')\n"
    )
    environment = child_environment(PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "c" / "b").exists()


def test_a_shared_folder_without_locks_that_flushes_no_folder(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, flock, fsync = Path.cwd() / "runs", fcntl.flock, os.fsync
    Path("tmp").mkdir()

    def refuse_locks(handle: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{handle}").resolve().is_relative_to(shared):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(handle, operation)

    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(fcntl, "flock", refuse_locks)
    monkeypatch.setattr(os, "fsync", refuse_folders)
    monkeypatch.setattr("tempfile.tempdir", str(Path("tmp").absolute()))
    result = cli("train", *settings([*TINY, "train.steps=4", "train.validate_every=2"]))
    assert result.code == 0, result.err
    assert cli("evaluate", "--run", "1").code == 0
    assert "done" in cli("runs").out
