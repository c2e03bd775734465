"""Sequences, and pairs of a source and a target, as lines of text that people write."""

import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from seqrev.config import TaskConfig
from seqrev.data.sequences import Pairs
from seqrev.errors import InputError, UsageError
from seqrev.system.files import DuplicateNameError, open_regular, read_lines, unique_names
from seqrev.task import check_sequence, parse_sequence

A_LINE = 'a line such as 4 8 2 9, two sequences with a tab between them, or {"src": [4, 8, 2, 9]}'
TO_LINES = r"tr '\r' '\n' < FILE > lines.txt, which makes lines of it"


class Line(NamedTuple):
    """What a line holds."""

    source: list[int]
    target: list[int] | None
    """None: it has none."""


def read_sequences(path: Path, task: TaskConfig, longest: int = 10_000_000) -> Sequence[Sequence[int]]:
    """Read source sequences from a file, and the targets with them if it has any: then they are ``Pairs``.

    Raises:
        InputError: it cannot be read, or a target is missing; and as ``parse_lines`` raises them.
        UsageError: as ``parse_lines`` raises it.
    """
    hint = "seqrev evaluate --split test"
    with open_regular(path, "a file with one sequence a line", hint) as file:
        lines = list(parse_lines(file, str(path), task, longest, hint))
    having = [line.target is not None for line in lines]
    if any(having) != all(having):
        number, has = having.index(not having[0]) + 1, {True: "a target", False: "no target"}
        problem = f"Line 1 of {path} has {has[having[0]]}, and line {number} has {has[not having[0]]}"
        raise InputError(f"{problem}; a target on every line, or on none, was expected.", hint)
    if not having[0]:
        return [line.source for line in lines]
    return Pairs.from_pairs([(line.source, line.target or []) for line in lines], task.symbols)


def parse_lines(file: BinaryIO, name: str, task: TaskConfig, longest: int, hint: str = "") -> Iterator[Line]:
    """What each line holds: ``4 8 2 9``, or with a target, after a tab, or a JSON row with ``src``, and perhaps ``tgt``.

    A byte order mark before the first line does not count, nor do empty lines after the last. A row may be what ``seqrev
    decode --json`` prints: then its ``source`` is read, and not the answer.

    Raises:
        InputError: there is no line, or one is not text, or far too long.
        UsageError: a line does not hold sequences over the vocabulary; the message has its name and number.
    """
    number, bytes_of_a_line = 0, 100_000 + 25 * longest  # at most, for source and target
    for number, line in _without_end(read_lines(file, name, bytes_of_a_line)):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")  # Windows may begin with a mark
            if text.lstrip().startswith("{"):
                parsed = _parse_row(text)
                for sequence in (parsed.source, *([] if parsed.target is None else [parsed.target])):
                    check_sequence(sequence, task.symbols, longest)
            else:
                parsed = _parse_text(text, task.symbols, longest)
        except UnicodeDecodeError:
            raise InputError(f"{name} is not text: line {number} is not UTF-8.", hint) from None
        except UsageError as error:
            mended = error.hint.replace("seqrev decode", "a line such as")  # it is to stand in the file
            raise UsageError(f"{name}, line {number}: {error}", mended) from None
        yield parsed
    if number == 0:
        raise InputError(f"{name} is empty; one sequence a line was expected.", hint)


def _without_end(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, without a byte order mark, and without the empty ones after the last."""
    empty = 0  # number of the first empty line
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if number > 1 and not text.strip(b" \r\n"):
            empty = empty or number
        else:
            if empty:
                yield empty, b""  # between others it is a mistake
            yield number, text


def _parse_text(text: str, symbols: int, longest: int) -> Line:
    if "\r" in text:
        raise UsageError("There is a carriage return in it; every line should end with a line feed.", TO_LINES)
    source, *targets = text.split("\t")
    if len(targets) > 1:
        raise UsageError("There is more than one tab in it; a source, a tab and a target were expected.", A_LINE)
    sequences = [parse_sequence(part, symbols, longest) for part in (source, *targets)]
    return Line(sequences[0], sequences[1] if targets else None)


def _parse_row(line: str) -> Line:
    try:
        row = json.loads(line, object_pairs_hook=unique_names)
    except DuplicateNameError as error:
        raise UsageError(f"{error}.", A_LINE) from None
    except (ValueError, RecursionError):
        raise UsageError('This is not valid JSON; {"src": [4, 8, 2, 9]} was expected.', A_LINE) from None
    if "src" not in row and "output" in row:  # of decode --json
        row = {"src": row.get("source")}
    for name in ("src", "tgt"):
        value = row.get(name)
        needed = name == "src" or name in row
        if needed and not (isinstance(value, list) and all(type(symbol) is int for symbol in value)):
            raise UsageError(f'"{name}" must be a list of whole numbers, as in {{"src": [4, 8, 2, 9]}}.', A_LINE)
    return Line(row["src"], row.get("tgt"))
