import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.system.text import printable, shorten


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
