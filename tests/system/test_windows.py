"""What a user does, on Windows: on the real one, or as far as this system can be like it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import PATIENCE, TINY, Result, child_environment, has_checkpoint, settings, wait_for

ROOT = Path(__file__).parents[2]
RESERVED = re.compile(r'[<>:"|?*\x00-\x1f]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
RUN = Path("runs", "001")
LONG = settings([*TINY, "train.steps=1000000", "train.validate_every=20", "train.stop_at=null", "data.train=200"])
if sys.platform == "win32":
    STOP, CODE = signal.CTRL_BREAK_EVENT, 128 + signal.SIGBREAK
    APART = subprocess.CREATE_NEW_PROCESS_GROUP  # or the tests themselves would be stopped
else:
    STOP, CODE, APART = signal.SIGINT, 130, 0


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Commands, with a + between them, in a process of their own."""
    command, pipe = [sys.executable, "-m", "tests.system.windows", *arguments], subprocess.PIPE
    environment = child_environment(PYTHONPATH=str(ROOT), PYTHONIOENCODING="cp850")
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, encoding="cp850", creationflags=APART
    )


def windows(*arguments: str, folder: Path, code: int = 0) -> Result:
    """Commands there, of which the last must end with this code."""
    process = start(*arguments, folder=folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return Result(code, out, err)


def test_all_that_a_user_does_on_windows(tmp_path: Path) -> None:
    windows("generate", *LONG, folder=tmp_path)
    process = start("train", "--run", "1", folder=tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path / RUN), process)
    seen = windows("runs", "+", "train", "--run", "1", folder=tmp_path, code=3)
    assert "running" in seen.out
    assert f"Another process is at work in {RUN}" in seen.err
    process.send_signal(STOP)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == CODE, err
    assert err.splitlines()[-1] == f"Continue: seqrev train --run {RUN}"
    step = json.loads((tmp_path / RUN / "run.json").read_text())["step"]

    config = tmp_path / RUN / "config.yaml"
    config.write_text(config.read_text().replace("steps: 1000000", f"steps: {step + 40}"))
    after = """runs + train --run 1 + evaluate + evaluate --lengths 3 + decode 1 2 + attention 1 2 --out map.png
        + attention 1 2 --text --out map.html + attention --over-time --out map.gif + runs + generate --config runs"""
    seen = windows(*after.split(), folder=tmp_path, code=3)
    assert seen.out.index("interrupted") < seen.out.index(f"{step + 40:,} steps in ") < seen.out.index("done")
    assert "runs is a folder; a YAML file" in seen.err
    steps = [json.loads(line)["step"] for line in (tmp_path / RUN / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == step + 40
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("map.png", "map.html", "map.gif"))

    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert not [name for name in files if any(RESERVED.search(part) for part in Path(name).parts)]
    assert len({name.lower() for name in files}) == len(files)
    assert not [name for name in files if name.endswith((".tmp", ".old"))]


@pytest.mark.skipif(sys.platform == "win32", reason="there it is so")
def test_what_the_other_test_relies_on_is_refused_there(tmp_path: Path) -> None:
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
