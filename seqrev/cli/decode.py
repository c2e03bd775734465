"""``seqrev decode``: answer sequences."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from seqrev.cli.console import Console
from seqrev.cli.help import described
from seqrev.cli.mend import UnknownOption
from seqrev.cli.options import LONGER, Beam, Device, Json, RunsDir, RunSpec, load_model, parse_symbols
from seqrev.errors import InputError, UsageError, command_line
from seqrev.system.files import open_regular
from seqrev.task import example_sequence

if TYPE_CHECKING:
    from seqrev.api.reverser import Reverser

LINES_AT_ONCE = 1_024
EXPECTED = "a file with one sequence a line"


@described(
    "Print what a model answers.",
    "One line for each sequence, in order.",
)
def command(
    sequence: Annotated[
        list[str] | None, Argument(metavar="SYMBOLS", help="The sequence, e.g. 4 8 2 9; - reads lines from stdin.")
    ] = None,
    file: Annotated[Path | None, Option(metavar="FILE", help="Read one sequence a line from a file.")] = None,
    run: RunSpec = None,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    words = sequence or []
    if bool(words) == (file is not None):
        raise UsageError("Give a sequence, or -, or --file: one of them.", "seqrev decode 4 8 2 9")
    option = next((word for word in words if word.startswith("--")), None)
    if option is not None:  # they come here because -3 must, to be refused as a symbol
        raise UnknownOption(option)
    console = Console(json)
    model = load_model(run, runs_dir, device, console)
    lines = file is not None or words == ["-"]
    sources = _read(file, model) if lines else iter([parse_symbols(words, model)])

    longest = model.config.task.max_length
    at_once = 1 if file is None and sys.stdin is not None and sys.stdin.isatty() else LINES_AT_ONCE
    for group in _groups(sources, at_once):
        if max(map(len, group), default=0) > longest:
            console.note(LONGER.format(longest))
            longest = sys.maxsize
        for source, answer in zip(group, model.decode(group, beam), strict=True):
            console.data(" ".join(map(str, answer.output)))
            console.document({"source": source, **vars(answer)})
        if console.closed:  # there may be no end of lines to come
            return


def _read(file: Path | None, model: "Reverser") -> Iterator[list[int]]:
    """The sequences of a file, or of standard input, one a line."""
    from seqrev.data.lines import parse_lines

    name, hint = "Standard input", command_line("decode", *example_sequence(model.config.task.symbols))
    if file is not None:
        name, hint = (
            str(file),
            command_line("decode", "--file", f"{model.run and model.run.data}/test.jsonl"),
        )
    elif sys.stdin is None:
        raise InputError("There is no standard input; one sequence a line was expected.", hint)
    try:
        with nullcontext(sys.stdin.buffer) if file is None else open_regular(file, EXPECTED, hint) as stream:
            for line in parse_lines(stream, name, model.config.task, model.longest_source, hint):
                yield line.source
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.", hint) from None


def _groups(sources: Iterable[list[int]], size: int) -> Iterator[list[list[int]]]:
    """Groups to be decoded together; the last may be empty. What came before a faulty line is answered first."""
    group: list[list[int]] = []
    try:
        for source in sources:
            group.append(source)
            if len(group) == size:
                yield group
                group = []
    except (UsageError, InputError):
        yield group
        raise
    yield group
