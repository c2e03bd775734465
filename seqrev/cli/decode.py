"""``seqrev decode``: answer sequences."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from seqrev.cli.options import DEFAULT_RUNS, LONGER, Beam, Device, Json, RunsDir, RunSpec, load_model
from seqrev.console import Console
from seqrev.errors import InputError, UsageError, shorten
from seqrev.files import open_regular, read_text_lines

LINES_AT_ONCE = 1_024
EXPECTED = "a file with one sequence a line"


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
    from seqrev.sequences import longest_line, parse_line
    from seqrev.task import parse_sequence

    vocabulary = model.config.task.symbols, model.longest_source
    if file is not None or words == ["-"]:
        hint = "seqrev decode 4 8 2 9" if file is None else f"seqrev decode --file {model.run.data / 'test.jsonl'}"
        lines = enumerate(_lines(file, longest_line(model.longest_source), hint), start=1)
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


def _lines(file: Path | None, longest: int, hint: str) -> Iterator[str]:
    """Lines of a file, or of standard input; none is longer than ``longest`` bytes."""
    name = "Standard input" if file is None else str(file)
    if file is None and sys.stdin is None:
        raise InputError("There is no standard input; one sequence a line was expected.", hint)
    empty = True
    try:
        with nullcontext(sys.stdin.buffer) if file is None else open_regular(file, EXPECTED, hint) as stream:
            for line in read_text_lines(stream, name, longest):
                empty = False
                yield line
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.", hint) from None
    if empty:
        raise InputError(f"{name} is empty; {EXPECTED} was expected.", hint)


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
