import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqrev.cli.console import Console, is_live
from seqrev.errors import InputError, StorageError, UsageError
from tests.helpers import child_environment


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal, in an environment that allows escapes."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_people_get_text_and_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.data("text")
    console.document({"a": 1})
    console.note("note")
    assert capsys.readouterr() == ("text\n", "note\n")


def test_json_mode_puts_documents_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json_mode=True)
    console.data("text")
    console.table({"a": ""}, [["1"]])
    console.document({"a": [1, None, "ü"]})
    console.note("note")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": [1, None, "ü"]}
    assert out.count("\n") == 1
    assert err == "note\n"


def test_json_is_strict() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        Console(json_mode=True).document({"a": float("inf")})


def test_an_error_is_a_paragraph_and_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    Console().error(InputError("It is gone.", "seqrev train"))
    Console().error(InputError("It is gone."))
    Console().error(UsageError("It is wrong."))
    usual = "Error: It is gone.\nTry: seqrev train --config small\nError: It is wrong.\nTry: seqrev --help\n"
    assert capsys.readouterr() == ("", "Error: It is gone.\nTry: seqrev train\n" + usual)


def test_an_error_in_json_mode_is_an_object_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Console(json_mode=True).error(InputError("It is gone.", "seqrev train"))
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {"error": {"type": "InputError", "message": "It is gone.", "hint": "seqrev train"}}


def test_a_table_is_aligned_to_the_right_and_its_numbers_formatted(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table({"n": "", "count": ".1f", "share": ""}, [[1, 10, "a"], [100, 2.2, "-"]])
    assert capsys.readouterr().out == "  n  count  share\n  1   10.0      a\n100    2.2      -\n"


def test_a_path_with_a_line_end_in_it_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    Console().line("picture: a\nb\x1b.png")
    assert capsys.readouterr().out == "picture: a\\nb\\x1b.png\n"


def test_a_reader_that_has_gone_is_noted_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            tried.append(text)
            raise BrokenPipeError(text)

    monkeypatch.setattr(sys, "stdout", Closed())
    console = Console()
    console.data("text")
    assert console.closed
    console.data("more")
    assert tried == ["text"]


def test_progress_in_a_pipe_is_a_plain_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    with Console().progress("steps") as progress:
        for done in range(0, 2000, 200):
            clock += 1.5
            progress.update(done, 2000, f"loss {done}")
        progress.note("kept")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "600 of 2,000 steps  loss 600\n1,400 of 2,000 steps  loss 1400\nkept\n"


def test_progress_on_a_terminal_is_a_live_bar(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.redirect_stderr(terminal), Console().progress("steps") as progress:
        progress.update(10, 20, "loss [0.5]")
        progress.note("kept [bold]")
    text = terminal.getvalue()
    assert "\x1b" in text
    assert "10/20" in text
    assert " left " in text
    assert "loss [0.5]" in text
    assert "kept [bold]" in text
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("columns", "shown"), [(50, "loss 0.5000  exact 0.…"), (90, "loss 0.5000  exact 0.467  9,999 tokens/s")]
)
def test_what_a_bar_has_no_room_for_ends_in_dots(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int, shown: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with contextlib.redirect_stderr(terminal), Console().progress("steps") as progress:
        progress.update(10, 2000, "loss 0.5000  exact 0.467  9,999 tokens/s")
    assert "left" in terminal.getvalue()
    assert shown in terminal.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_escapes_gets_none(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert is_live(terminal)
    monkeypatch.setenv(name, value)
    assert not is_live(terminal)
    with contextlib.redirect_stderr(terminal), Console().progress("steps") as progress:
        progress.update(10, 20)
        progress.note("kept")
    assert terminal.getvalue() == "kept\n"


def test_a_pipe_is_not_live() -> None:
    assert not is_live(io.StringIO())


@pytest.mark.parametrize("write", ["note", "error"])
def test_no_escape_byte_of_an_input_reaches_the_reader(capsys: pytest.CaptureFixture[str], write: str) -> None:
    text = "\x1b[31mred\x07"
    argument: Any = text if write == "note" else InputError(text, text)
    getattr(Console(), write)(argument)
    assert "\x1b" not in capsys.readouterr().err


def test_messages_to_a_reader_who_has_gone_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    console = Console()
    console.note("to nobody")
    with console.progress("steps") as progress:
        progress.note("to nobody")


def test_what_a_stranger_chose_forges_no_line_and_fills_no_screen(capsys: pytest.CaptureFixture[str]) -> None:
    Console().error(InputError("x\nTry: evil", "y\nz"))
    Console().note("x\nTry: evil")
    Console().error(InputError("a" * 10**6, "h"))
    first, second, third, long, last = capsys.readouterr().err.splitlines()
    assert (first, second, third, last) == (r"Error: x\nTry: evil", r"Try: y\nz", r"x\nTry: evil", "Try: h")
    assert "…" in long
    assert len(long) < 2_100


def test_an_error_in_json_mode_is_json_whatever_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    Console(json_mode=True).error(InputError("\x7f\x1b\u202e"))
    err = capsys.readouterr().err
    assert json.loads(err)["error"]["message"] == r"\x7f\x1b\u202e"
    assert err.isascii()


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_an_output_that_is_full_is_reported_and_python_says_no_more(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "seqrev", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(),
            check=False,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 2


def test_data_for_a_disk_that_is_full_is_an_error_and_messages_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Full())
    Console().note("to nobody")
    with pytest.raises(StorageError, match="Standard output cannot be written: No space left") as caught:
        Console().data("text")
    assert "--runs-dir" not in caught.value.hint  # which has nothing to do with it
