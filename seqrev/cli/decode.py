"""``seqrev decode``: answer sequences."""

import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from seqrev.cli.options import DEFAULT_RUNS, LONGER, Beam, Device, Json, RunsDir, RunSpec, load_model
from seqrev.console import Console
from seqrev.errors import InputError, UsageError, shorten

LINES_AT_ONCE = 1_024


def command(
    sequence: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOLS", help="The sequence, e.g. 4 8 2 9; - reads lines from stdin.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Read one sequence a line from a file.")] = None,
    run: RunSpec = None,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Print what a model answers.

    One line for each sequence, in order.
    """
    words = sequence or []
    if bool(words) == (file is not None):
        raise UsageError("Give a sequence, or -, or --file: one of them.", "seqrev decode 4 8 2 9")
    option = next((word for word in words if word.startswith("--")), None)
    if option is not None:  # they come here because -3 must, to be refused as a symbol
        raise UsageError(f"There is no option {shorten(option)}.", "seqrev decode --help")
    console = Console(json)
    model = load_model(run, runs_dir, device, console)
    from seqrev.data import parse_line
    from seqrev.task import parse_sequence

    vocabulary = model.config.task.symbols, model.longest_source
    if file is not None or words == ["-"]:
        lines = enumerate(_lines(file), start=1)
        sources: Iterator[list[int]] = (parse_line(line, number, *vocabulary) for number, line in lines)
    else:
        sources = iter([parse_sequence(" ".join(words), *vocabulary)])

    longest = model.config.task.max_length
    at_once = 1 if file is None and sys.stdin is not None and sys.stdin.isatty() else LINES_AT_ONCE
    for group in _groups(sources, at_once):
        if max(map(len, group), default=0) > longest:
            console.note(LONGER.format(longest))
            longest = sys.maxsize
        for source, answer in zip(group, model.decode(group, beam), strict=True):
            console.data(" ".join(map(str, answer.output)))
            console.document(
                {
                    "source": source,
                    "output": answer.output,
                    "finished": answer.finished,
                    "log_probability": answer.log_probability,
                }
            )


def _lines(file: Path | None) -> Iterator[str]:
    """Lines of a file, or of standard input."""
    name = "Standard input" if file is None else str(file)
    empty = True
    if file is None and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")  # some locales let any byte through
    try:
        if file is None and sys.stdin is None:
            raise InputError("There is no standard input; one sequence a line was expected.", "seqrev decode 4 8 2 9")
        if file is not None and not file.is_file():
            what = "is a folder" if file.is_dir() else "does not exist"
            raise InputError(f"{file} {what}; a file with one sequence a line was expected.", "seqrev decode 4 8 2 9")
        with sys.stdin if file is None else file.open(encoding="utf-8") as stream:
            for line in stream:
                empty = False
                yield line
    except UnicodeDecodeError:
        raise InputError(f"{name} is not text; one sequence a line was expected.", "seqrev decode 4 8 2 9") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.", "seqrev decode 4 8 2 9") from None
    if empty:
        raise InputError(f"{name} is empty; one sequence a line was expected.", "seqrev decode 4 8 2 9")


def _groups(sources: Iterable[list[int]], size: int) -> Iterator[list[list[int]]]:
    """Groups to be decoded together. What came before a faulty line is still answered."""
    group: list[list[int]] = []
    try:
        for source in sources:
            group.append(source)
            if len(group) == size:
                yield group
                group = []
    except (UsageError, InputError):
        if group:
            yield group
        raise
    if group:
        yield group
