import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import seqrev
from seqrev.cli import entry
from seqrev.runs.folders import Run
from tests.helpers import PATIENCE, Cli, assert_refused, child_environment, run_process, settings

COMMANDS = ("generate", "train", "runs", "sweep", "evaluate", "decode", "attention")
WITHOUT_TORCH = """
import contextlib, io, json, sys
from seqrev.cli import main
found = {}
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    found[" ".join(arguments)] = [code, out.getvalue(), err.getvalue(), "torch" in sys.modules]
print(json.dumps(found))
"""


def outcomes(folder: Path, calls: list[list[str]]) -> Any:
    """What some calls of ``main`` do in a new process: code, stdout, stderr, and whether torch was imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps(calls)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=child_environment(COLUMNS="100"),
        timeout=PATIENCE,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> Any:
    calls = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
    return outcomes(tmp_path_factory.mktemp("help"), calls)


@pytest.mark.parametrize("call", ["--help", "--version", *(f"{command} --help" for command in COMMANDS)])
def test_help_is_on_stdout_without_escapes_and_without_torch(helps: Any, call: str) -> None:
    code, out, err, torch = helps[call]
    assert (code, err) == (0, "")
    assert out.startswith("Usage: seqrev" if "help" in call else f"seqrev {seqrev.__version__}\n")
    assert "\x1b" not in out
    assert not torch


def test_help_names_every_command_and_every_command_its_options(helps: Any) -> None:
    for command in COMMANDS:
        assert f"  {command} " in helps["--help"][1]
        text = helps[f"{command} --help"][1]
        assert "--json" in text
        assert "--runs-dir" in text
        assert ("--config" in text) == (command in ("generate", "train"))
        assert ("--beam" in text) == (command in ("evaluate", "decode", "attention"))


WRONG_USAGE = (
    [],
    ["bogus"],
    *([command, "--bogus"] for command in COMMANDS),
    *([command, "--runs-dir"] for command in COMMANDS),
    ["generate", "surplus"],
    ["generate", "--seed", "many"],
    ["generate", "--set", "data.trian=3"],
    ["train", "--set", "task.symbols=1"],
    ["train", "--run", "9", "--seed", "1"],
    ["train", "--steps", "300"],
    ["evaluate", "--split", "test", "--lengths", "20"],
    ["evaluate", "--protocol", "forced"],
    ["evaluate", "--beam", "2", "--protocol", "teacher-forced"],
    ["sweep"],
    ["evaluate", "--count", "3"],
    ["evaluate", "--run", "9", "--run", "9"],
    ["evaluate", "--min-exact", "2"],
    ["decode"],
    ["decode", "1", "--file", "mine.txt"],
    ["decode", "1", "--beam", "0"],
    ["attention", "--type", "self"],
    ["attention", "1", "--over-time"],
    ["attention", "--over-time", "--report"],
    ["attention", "--report", "--out", "map.png"],
)
MISSING_INPUT = (
    ["generate", "--config", "missing.yaml"],
    ["train", "--config", "missing.yaml"],
    *(["train", "--run", "9", *more] for more in ([], ["--steps", "300"], ["--tensorboard"])),
    *(["evaluate", "--run", *more] for more in (["latest"], ["9"], ["9", "--lengths", "20"], ["9", "--file", "mine.txt"])),
    ["runs", "9"],
    ["sweep", "missing.yaml"],
    *(["decode", "--run", *more] for more in (["latest", "1"], ["9", "1"], ["9", "-"], ["9", "--file", "mine.txt"])),
    *(["attention", "--run", *more] for more in (["latest"], ["9", "1"], ["9", "--out", "page.html"], ["9", "--report"])),
    *(["attention", "--over-time", *more] for more in (["--runs-dir", "none"], ["--run", "9"], ["--run", "latest"])),
)


@pytest.mark.parametrize(
    ("calls", "code"),
    [((["generate", *settings()], ["runs"], ["runs", "1", "--json"]), 0), (WRONG_USAGE, 2), (MISSING_INPUT, 3)],
    ids=["generate", "wrong usage", "missing input"],
)
def test_torch_is_imported_only_by_what_needs_it(tmp_path: Path, calls: tuple[list[str], ...], code: int) -> None:
    found = outcomes(tmp_path, [*calls])
    assert {call: returned for call, (returned, *_) in found.items()} == {" ".join(call): code for call in calls}
    assert [call for call, (*_, torch) in found.items() if torch] == []


def test_the_module_is_a_program(tmp_path: Path) -> None:
    assert_refused(run_process("decode", "1", "--run", "9", folder=tmp_path), 3, "is not a run folder")


def test_without_a_command_help_is_shown(cli: Cli) -> None:
    result = cli()
    assert result.code == 2
    assert "Usage: seqrev" in result.out + result.err
    assert "Error: Usage" not in result.err


def test_a_home_after_an_equals_sign_is_the_one_of_the_user(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No shell writes it out there, and nobody wants a folder named ``~``."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cli("generate", *settings(), "--runs-dir=~/x").code == 0
    assert (tmp_path / "home" / "x" / "001").is_dir()
    assert not Path("~").exists()


def test_a_current_folder_that_was_removed_is_said(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that PyTorch multiplies with would end the process, without an error that could be caught."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = cli("decode", "4", "8")
    assert_refused(result, 3, "The current folder was removed")


def test_an_unknown_command_is_refused_with_a_command_that_works(cli: Cli) -> None:
    result = cli("bogus")
    assert_refused(result, 2, "bogus")
    hint = result.err.splitlines()[-1].removeprefix("Try: seqrev ").split()
    assert cli(*hint).code == 0


@pytest.mark.parametrize("command", ["generate", "train", "evaluate", "attention"])
def test_an_unknown_option_is_refused_with_where_to_look(cli: Cli, command: str) -> None:
    assert_refused(cli(command, "--bogus"), 2, "--bogus", f"Try: seqrev {command} --help")


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage_in_json_mode_is_an_object_on_stderr(cli: Cli, command: str) -> None:
    result = cli(command, "--json", "--runs-dir")
    assert (result.code, result.out) == (2, "")
    assert set(result.error) == {"type", "message", "hint"}
    assert result.error["type"] == "UsageError"


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_an_unexpected_failure_is_one_paragraph_and_code_1(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, flag: tuple[str, ...]
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("seqrev.workflows.generate.new_run", fail)
    result = cli("generate", *flag)
    assert (result.code, result.out) == (1, "")
    assert "Traceback" not in result.err
    assert "ZeroDivisionError: by nought" in (result.error["message"] if flag else result.err)
    monkeypatch.setenv("SEQREV_DEBUG", "1")
    assert "Traceback" in cli("generate", *flag).err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("std::bad_alloc"),
        RuntimeError("std::bad_alloc"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"
        ),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
    ids=repr,
)
def test_memory_that_is_used_up_is_called_that_whatever_runs_out_of_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("seqrev.api.reverser.load", mock.Mock(side_effect=error))
    assert_refused(cli("decode", "--run", "pretrained", "1"), 1, "not enough memory")


@pytest.mark.filterwarnings("default")
def test_a_warning_of_a_library_is_one_line_on_stderr(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def old_driver() -> bool:
        warnings.warn("CUDA initialization: the driver is too old (Triggered internally at /x.cpp:1.)", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", old_driver)
    result = cli("decode", "--run", "pretrained", "4", "8")
    assert result.code == 0
    assert "Warning: CUDA initialization: the driver is too old\n" in result.err
    assert ".py" not in result.err


def test_a_refusal_of_the_system_names_the_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "the/file")

    monkeypatch.setattr("seqrev.workflows.generate.new_run", fail)
    result = cli("generate")
    assert (result.code, result.out) == (1, "")
    assert "the/file: Permission denied" in result.err


def test_a_second_ctrl_c_while_the_first_is_answered_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("seqrev.cli.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        entry()
    assert ended.value.code == 130


def test_ctrl_c_outside_of_training_is_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("seqrev.workflows.generate.new_run", fail)
    result = cli("generate")
    assert (result.code, result.out) == (130, "")
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--config", "\x1b[31m.yaml"),
        ("generate", "--config", "keys.yaml"),
        ("generate", "--set", "\x1b[31m=1"),
        ("generate", "--runs-dir", "/proc/\x1b[31m"),
        ("train", "--run", "\x1b[31m"),
        ("\x1b[31m",),
        ("train", "--\x1b[31m"),
    ],
)
def test_no_escape_byte_of_an_argument_or_file_is_repeated(cli: Cli, arguments: tuple[str, ...]) -> None:
    Path("keys.yaml").write_text('"\\e[31m": 1\n')
    result = cli(*arguments)
    assert result.code in (2, 3)
    assert "\x1b" not in result.out + result.err


def test_what_json_promises_is_one_document_on_stdout(cli: Cli, own_run: Run) -> None:
    for call in (
        ("generate", *settings()),
        ("train", "--run", own_run),
        ("runs",),
        ("evaluate", "--run", own_run),
        ("decode", "--run", own_run, "1", "2"),
        ("attention", "--run", own_run, "1", "2"),
    ):
        result = cli(*call, "--json")
        assert result.code == 0
        assert result.out.count("\n") == 1
        assert isinstance(result.document, dict)
