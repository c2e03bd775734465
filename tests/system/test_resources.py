import os
import signal
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.errors import StorageError, UsageError
from seqrev.system import resources
from seqrev.system.resources import _size, check_disk, check_memory, thread_errors
from seqrev.system.signals import Interrupted
from tests.helpers import assert_refused
from tests.unprivileged import with_one_thread


def test_what_fits_is_accepted(tmp_path: Path) -> None:
    check_disk(tmp_path, 1, "A checkpoint")
    check_disk(tmp_path / "not" / "yet" / "there", 1, "A checkpoint")
    check_memory(1, "The model")


def test_what_the_disk_cannot_hold_is_refused_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**12, 10**12 - 5_000_000, 5_000_000))
    check_disk(tmp_path, 5_000_000, "A checkpoint")
    with pytest.raises(StorageError, match="A checkpoint needs about 6 MB of disk, and 5 MB are free") as caught:
        check_disk(tmp_path / "none", 6_000_000, "A checkpoint")
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_a_size_is_left_to_the_system() -> None:
    check_disk(Path("/proc/seqrev"), 10**9, "A checkpoint")


def test_what_memory_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match=r"The model needs at least 5 EB of memory, and there are .* here"):
        check_memory(5 * 10**18, "The model")


@given(st.integers(0, 10**24))
def test_a_size_is_short_and_never_too_large(count: int) -> None:
    number, unit = _size(count).split()
    factor = {"bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15, "EB": 10**18}[unit]
    shown = int(number.replace(",", "")) * factor
    assert shown <= count < shown + factor


@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("0::/", "memory.max"),
        ("0::/slurm/job/step", "memory.max"),
        ("0::/slurm/job/step", "slurm/job/memory.max"),
        ("0::/slurm/job/step", "slurm/job/step/memory.max"),
        ("3:memory:/docker/a", "memory/memory.limit_in_bytes"),
    ],
)
def test_a_container_or_a_job_has_the_memory_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, file: str
) -> None:
    (tmp_path / "self").write_text(f"{group}\n")
    for name, limit in (("slurm/job/step/memory.max", "max"), (file, "5000000")):
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(f"{limit}\n")
    monkeypatch.setattr(resources, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(resources, "OWN_GROUP", tmp_path / "self")
    check_memory(5_000_000, "The model")
    with pytest.raises(UsageError, match="at least 6 MB of memory, and there are 5 MB here"):
        check_memory(6_000_000, "The model")


def test_where_no_thread_can_be_started_one_is_enough_for_answers(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    commands = ("decode --run pretrained 4 8 2 9", "attention --run pretrained 1 2 --out map.png", "generate")
    decoded, drawn, generated = with_one_thread(*commands, folder=tmp_path)
    assert decoded == (0, "9 2 8 4\n", "")
    assert drawn.code == 0
    assert (tmp_path / "map.png").is_file()
    assert_refused(generated, 1, "No more threads", "ulimit -u")


@pytest.mark.skipif(os.cpu_count() == 1, reason="then OpenBLAS starts none")
def test_so_it_is_where_openblas_interrupts_the_process_that_loads_it(tmp_path: Path) -> None:
    for command in ("--help", "decode --run pretrained 1"):
        (told,) = with_one_thread(command, folder=tmp_path, OMP_NUM_THREADS="2")
        assert_refused(told, 1, "No more threads", "OMP_NUM_THREADS=1", "ulimit -u")


def test_an_interruption_that_has_another_reason_stays_one() -> None:
    with pytest.raises(Interrupted), thread_errors():
        raise Interrupted(signal.SIGINT, "Stopped by SIGINT.")
    with pytest.raises(RuntimeError, match="another"), thread_errors():
        raise RuntimeError("another")
