"""Sequences and pairs as lines of text: what is read, and what is refused with its line."""

import io
from pathlib import Path

import pytest

from seqrev.config import TaskConfig
from seqrev.data.lines import parse_lines, read_sequences
from seqrev.data.sequences import Pairs
from seqrev.errors import InputError, UsageError


def test_sequences_are_read_as_words_or_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text('4 8 2 9\n1,2\n{"src": [3, 4]}\n {"src": [5, 6], "note": 1}\r\n7')
    assert read_sequences(path, TaskConfig()) == [[4, 8, 2, 9], [1, 2], [3, 4], [5, 6], [7]]


def test_a_file_as_windows_writes_it_begins_with_a_mark_and_has_other_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for lines in ("4 8\r\n2 9\r\n", '{"src": [4, 8]}\r\n2 9'):
        path.write_bytes(lines.encode("utf-8-sig"))
        assert read_sequences(path, TaskConfig()) == [[4, 8], [2, 9]]
    path.write_bytes("4 8\n\ufeff2 9\n".encode())
    with pytest.raises(UsageError, match=", line 2: "):
        read_sequences(path, TaskConfig())


def test_targets_are_read_from_json_or_after_a_tab(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('4 8\t1, 2 3\n{"tgt": [6], "src": [5, 6]}\r\n7\t7')
    pairs = read_sequences(path, TaskConfig())
    assert isinstance(pairs, Pairs)
    assert list(pairs) == [[4, 8], [5, 6], [7]]
    assert list(pairs.targets) == [[1, 2, 3], [6], [7]]


@pytest.mark.parametrize(
    ("lines", "says"), [("1\t1\n2\n", "Line 1 .* a target, and line 2 has no"), ("1\n2\n3\t3", "line 3 has a")]
)
def test_targets_on_some_lines_only_are_refused(tmp_path: Path, lines: str, says: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(lines)
    with pytest.raises(InputError, match=says):
        read_sequences(path, TaskConfig())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 x", "'x' is not a whole number"),
        ("", "empty"),
        ("99", "99 is not in the vocabulary"),
        ("1 2 3 4 5 6", "takes 1 to 5"),
        ("{", "not valid JSON"),
        ('{"src": ' + "[" * 100_000, "not valid JSON"),
        ("{}", '"src" must be a list of whole numbers'),
        ('{"src": "12"}', '"src" must be a list of whole numbers'),
        ('{"src": [1.0]}', '"src" must be a list of whole numbers'),
        ('{"src": [true]}', '"src" must be a list of whole numbers'),
        ('{"src": []}', "empty"),
        ('{"src": [-1]}', "-1 is not in the vocabulary"),
        ('{"src": [1000000000000000000000000000000]}', "is not in the vocabulary"),
        ('{"src": [1, 2], "tgt": null}', '"tgt" must be a list of whole numbers'),
        ('{"src": [1, 2], "tgt": []}', "empty"),
        ('{"src": [1, 2], "tgt": [11]}', "11 is not in the vocabulary"),
        ('{"src": [1, 2], "src": [2]}', "'src' is in it twice"),
        ("1 2\t3\t4", "more than one tab"),
        ("1 2\t", "empty"),
        ("\t1 2", "empty"),
        ("1 2\r3 4", "a carriage return"),
    ],
)
def test_a_faulty_line_is_refused_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"1 2\n{line}\n3 4\n")
    with pytest.raises(UsageError) as caught:
        read_sequences(path, TaskConfig(), longest=5)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert says in str(caught.value)
    assert "--help" not in caught.value.hint  # but what a line should be


@pytest.mark.parametrize(
    ("content", "says"), [(None, "does not exist"), (b"", "is empty"), (b"1 2\n\x80\xff\x00", "is not text")]
)
def test_a_file_without_sequences_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_sequences(path, TaskConfig())
    assert caught.value.hint == "seqrev evaluate --split test"
    with pytest.raises(InputError, match="is a folder"):
        read_sequences(tmp_path, TaskConfig())


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\r\n", b"\n \n\r\n"])
@pytest.mark.parametrize("lines", [b"4 8\n2 9", b'{"src": [4, 8]}\n{"src": [2, 9]}', b"4 8\r\n2 9"])
def test_a_byte_order_mark_and_empty_lines_at_the_end_do_not_count(start: bytes, end: bytes, lines: bytes) -> None:
    found = parse_lines(io.BytesIO(start + lines + end), "a.txt", TaskConfig(), 5)
    assert [line.source for line in found] == [[4, 8], [2, 9]]


@pytest.mark.parametrize(
    ("content", "number"),
    [(b"\n", 1), (b"\n4 8\n", 1), (b"4 8\n\n2 9\n", 2), (b"4\n5\n\n\n6\n", 3), (b"4\n\xef\xbb\xbf5\n", 2)],
)
def test_empty_lines_and_marks_elsewhere_are_refused(content: bytes, number: int) -> None:
    with pytest.raises(UsageError, match=f", line {number}: "):
        list(parse_lines(io.BytesIO(content), "a.txt", TaskConfig(), 5))


def test_what_decode_prints_is_read_without_its_answer() -> None:
    row = b'{"source": [4, 8], "output": [1], "finished": true, "log_probability": -0.5}\n'
    assert [*parse_lines(io.BytesIO(row), "a.txt", TaskConfig(), 5)] == [([4, 8], None)]
    with pytest.raises(UsageError, match='"src" must be a list'):
        list(parse_lines(io.BytesIO(b'{"source": [4, 8]}\n'), "a.txt", TaskConfig(), 5))


@pytest.mark.parametrize(("line", "mended"), [("1 x", "4 8 2 9"), ("48", "4 8"), ("", "4 8 2 9")])
def test_what_is_wrong_with_a_line_is_mended_in_the_file(line: str, mended: str) -> None:
    with pytest.raises(UsageError, match=r"^mine\.txt, line 2: ") as caught:
        list(parse_lines(io.BytesIO(f"4 8\n{line}\n1\n".encode()), "mine.txt", TaskConfig(), 9))
    assert caught.value.hint == f"a line such as {mended}"
