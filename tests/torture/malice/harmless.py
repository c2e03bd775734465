"""What must be done, and do no harm."""

import os

from tests.torture.malice.case import (
    ATTENTION,
    DECODE,
    ESC,
    EVALUATE,
    TRAIN,
    Arguments,
    Case,
    Prepare,
    Sandbox,
    fifo,
    folder,
    link,
)
from tests.torture.malice.prepare import fixed, trapped


def _planted(folder: str, name: str, command: Arguments) -> Prepare:
    """A link where this very process will build a file before it is renamed."""

    def prepare(sandbox: Sandbox) -> Arguments:
        (sandbox.run / folder).mkdir(exist_ok=True)
        (sandbox.run / folder / f".{name}.{os.getpid()}.tmp").symlink_to(sandbox.canary)
        return command

    return prepare


def _leftover(sandbox: Sandbox) -> Arguments:
    (sandbox.run / "checkpoints" / ".step-000009.7.tmp").symlink_to(sandbox.root / "outside")
    (sandbox.run / ".run.json.7.tmp").symlink_to(sandbox.canary)
    return TRAIN


def _hard_link(sandbox: Sandbox) -> Arguments:
    sandbox.canary.write_bytes((sandbox.run / "metrics.jsonl").read_bytes())
    (sandbox.run / "metrics.jsonl").unlink()
    (sandbox.run / "metrics.jsonl").hardlink_to(sandbox.canary)
    return TRAIN


def _out_link(sandbox: Sandbox) -> Arguments:
    (sandbox.root / "map.png").symlink_to(sandbox.canary)
    return (*ATTENTION, "1", "2", "--out", "map.png")


def _named(name: str, *command: object) -> Prepare:
    def prepare(sandbox: Sandbox) -> Arguments:
        sandbox.run.rename(sandbox.run.with_name(name))
        return (*command, "--run", f"runs/{name}")

    return prepare


HARMLESS_CASES = {
    "link where a result is built": Case(_planted("evaluation", "001.json", EVALUATE), (0,)),
    "link where a picture is built": Case(_planted("attention", "001.png", ATTENTION), (0,)),
    "links among what a killed writer left": Case(_leftover, (0,)),
    "hard link to a file outside": Case(_hard_link, (0,)),
    "picture over a link": Case(_out_link, (0,)),
    "lock that is a link": Case(trapped(link, "runs/001/.lock", TRAIN), (1,)),
    "lock that is a folder": Case(trapped(folder, "runs/001/.lock", TRAIN), (1,)),
    "lock that is a FIFO": Case(trapped(fifo, "runs/001/.lock", TRAIN), (0, 1, 3)),
    "name with escapes": Case(_named(ESC, "attention", "1", "2"), (0,)),
    "name with mathematics": Case(_named(r"$\frac$", "attention", "1", "2"), (0,)),
    "name with mathematics on a curve": Case(_named(r"$\undefined{$", "evaluate", "--lengths", "2,3"), (0,)),
    "name of 250 letters": Case(_named("ab $" * 60, "evaluate", "--lengths", "2,3"), (0,)),
    "name with mathematics, trained": Case(_named(r"\$$_^$", "train"), (0,)),
    "output that is full": Case(fixed(*DECODE), (1,), full=True),
}
