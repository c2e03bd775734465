"""Files and arguments that mean harm, made by code, each named for its attack."""

from collections.abc import Iterator

from tests.torture.malice.case import DECODE, EVALUATE, TRAIN, TRAPS, Case
from tests.torture.malice.harmless import HARMLESS_CASES
from tests.torture.malice.inputs import ARGUMENTS, ASSIGNMENTS, CONFIGURATIONS, LINES
from tests.torture.malice.prepare import (
    checkpoint_link,
    fixed,
    folder_link,
    trapped,
    with_config,
    with_content,
    with_file,
    with_row,
    with_seal,
    with_tensors,
)
from tests.torture.malice.runs import EVENTS, HARMLESS, MANIFESTS, RECORDS, ROWS, SEALED, TRAPPED
from tests.torture.malice.tensors import TENSORS


def cases() -> Iterator[tuple[str, Case]]:
    """All of them, by name."""
    for name, content in CONFIGURATIONS.items():
        yield f"config: {name}", Case(with_config(content))
    for name, assignments in ASSIGNMENTS.items():
        yield f"--set: {name}", Case(fixed("train", *(word for text in assignments for word in ("--set", text))))
    for name, words in ARGUMENTS.items():
        yield f"arguments: {name}", Case(fixed(*words))
    for name, line in LINES.items():
        yield f"stdin: {name}", Case(fixed("decode", "--run", "1", "-"), stdin=line)
        yield f"file: {name}", Case(with_file(line))
    yield "stdin: endless", Case(fixed("decode", "--run", "1", "-"), stdin="/dev/zero")
    for trap, make in TRAPS.items():
        if trap != "empty":  # which is all defaults
            yield f"--config: {trap}", Case(trapped(make, "evil", ("train", "--config", "evil")))
        yield f"--file: {trap}", Case(trapped(make, "evil", (*DECODE[:3], "--file", "evil")))
        yield f"--runs-dir: {trap}", Case(trapped(make, "evil", ("decode", "1", "--runs-dir", "evil")))
        yield f"--run: {trap}", Case(trapped(make, "evil", ("decode", "1", "--run", "evil")))
        for file, command in TRAPPED:
            if (file, trap) not in HARMLESS:
                yield f"{file}: {trap}", Case(trapped(make, f"runs/001/{file}", command))
    for folder in ("data", "checkpoints", "evaluation", "attention"):
        yield f"{folder}: link to a folder outside", Case(folder_link(folder), (3,))
    yield "checkpoint: link to a folder outside", Case(checkpoint_link, (3,))
    for name, record in RECORDS.items():
        yield f"run.json: {name}", Case(with_content("run.json", record, TRAIN))
    for name, event in EVENTS.items():
        yield f"metrics: {name}", Case(with_content("metrics.jsonl", event + b"\n{}\n", TRAIN))
    for name, row in ROWS.items():
        yield f"data: {name}", Case(with_row(row))
    for name, change in MANIFESTS.items():
        yield f"data manifest: {name}", Case(with_content("data/manifest.json", change, EVALUATE))
    for name, values in SEALED.items():
        yield f"checkpoint manifest: {name}", Case(with_seal(values))
    for name, tensors in TENSORS.items():
        yield f"tensors: {name}", Case(with_tensors(tensors))
    yield from HARMLESS_CASES.items()
