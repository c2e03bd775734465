import codecs
import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.errors import command_line
from seqrev.system.text import pasteable, printable, shorten, spell

BASH = shutil.which("bash")


@pytest.mark.parametrize("value", ["short", "x" * 100, "\x1b[0m\n", 7])
def test_shorten_is_short_and_printable(value: object) -> None:
    text = shorten(value)
    assert len(text) <= 24
    assert text.isprintable()
    assert text[:5] == ascii(value)[:5]


@pytest.mark.parametrize("length", [8, 9, 10, 11, 12, 50])
def test_shorten_marks_what_it_leaves_out(length: int) -> None:
    text = shorten("a" * length, width=12)
    assert text == (f"'{'a' * length}'" if length <= 10 else "'aaaaaaaaaa…")


def nested(depth: int) -> list[object]:
    """Lists in lists."""
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def test_what_python_cannot_print_is_named() -> None:
    assert shorten(-(10**5_000), width=40) == "a int too large to print"
    assert shorten(nested(100_000), width=40) == "a list too large to print"


@given(st.text())
def test_printable_text_cannot_steer_a_terminal(text: str) -> None:
    shown = printable(text)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.count("\n") == text.count("\n")
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("two\nlines, ünï €", "two\nlines, ünï €"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb\tc\0", "a\\rb\\tc\\x00"),
        ("\x9b2J", "\\x9b2J"),  # the same escape in one byte
        ("\u202egnp.exe", "\\u202egnp.exe"),  # would be shown from right to left
        ("\u2028", "\\u2028"),
        ("\udcff", "\\udcff"),  # of a file name that is not UTF-8
    ],
)
def test_control_characters_are_written_out_and_line_ends_stay(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("4 → 2 … 0.1–0.9 Delétang", "ascii", b"4 -> 2 ... 0.1-0.9 Deletang"),
        ("4 → 2 … 0.1–0.9 Delétang", "cp1252", b"4 -> 2 \x85 0.1\x960.9 Del\xe9tang"),
        ("2π × ½ ✓ \udcff", "ascii", b"2pi x 12 ? ?"),
    ],
)
def test_what_an_encoding_lacks_is_spelt_as_people_would(text: str, encoding: str, expected: bytes) -> None:
    codecs.register_error("test.spell", spell)
    assert text.encode(encoding, "test.spell") == expected


@given(st.text(), st.sampled_from(["ascii", "cp1252", "cp437", "latin-1", "utf-8"]))
def test_no_text_fails_to_be_encoded(text: str, encoding: str) -> None:
    codecs.register_error("test.spell", spell)
    assert len(text.encode(encoding, "test.spell")) >= len(text)


def test_bytes_that_are_no_text_are_still_refused() -> None:
    codecs.register_error("test.spell", spell)
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "test.spell")


@pytest.mark.skipif(BASH is None, reason="there is no Bash")
@settings(deadline=None, max_examples=25)
@given(st.text(st.sampled_from("a ü'\"\\$`!*~-\n\r\t\x1b\x7f\x85\u2028\U000e0001\udcff"), min_size=1, max_size=9))
def test_a_line_is_read_back_by_bash_whatever_is_in_a_path(path: str) -> None:
    line = printable(pasteable(command_line("train", "--run", path)))
    assert "\n" not in line
    assert BASH is not None
    done = subprocess.run(
        [BASH, "-c", line.replace("seqrev", "printf '%s\\0'", 1)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]] == ["train", "--run", path]
