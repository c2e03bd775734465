"""Python with ``-OO``, which strips docstrings and assertions: nothing is missed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import seqrev
from tests.cli.test_main import COMMANDS
from tests.helpers import Cli, child_environment, settings

CALLS = """
import json, sys
from seqrev.cli import main
assert False, "this process has assertions"
print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]), file=sys.stderr)
"""


def optimized(*calls: list[str]) -> str:
    """What commands print, one after the other in a process with ``-OO``; none of them may fail."""
    done = subprocess.run(
        [sys.executable, "-OO", "-c", CALLS, json.dumps(calls)],
        capture_output=True,
        text=True,
        env=child_environment(COLUMNS="80"),
        timeout=300,
        check=True,
    )
    assert json.loads(done.stderr.splitlines()[-1]) == [0] * len(calls), done.stderr
    return done.stdout


def test_help_is_the_same(cli: Cli) -> None:
    calls = [["--help"], *([command, "--help"] for command in COMMANDS)]
    assert optimized(*calls) == "".join(cli(*call).out for call in calls)


def test_so_are_answers_and_files(cli: Cli) -> None:
    short = settings(["train.steps=2", "data.train=20", "data.validation=20", "data.test=20"])
    calls = [
        ["decode", "--run", "pretrained", "4", "8", "2", "9"],
        ["attention", "--run", "pretrained", "1", "2", "--out", "map.png"],
        ["attention", "--run", "pretrained", "1", "2", "--out", "page.html"],
        ["train", "--config", "fast", *short],
        ["runs", "--json"],
    ]
    printed = optimized(*calls)
    assert printed.startswith("9 2 8 4\n")
    assert json.loads(printed.splitlines()[-1])["runs"][0]["status"] == "done"
    for name in ("map.png", "page.html"):
        content = Path(name).read_bytes()
        Path(name).unlink()
        assert cli(*next(call for call in calls if name in call)).code == 0
        assert Path(name).read_bytes() == content


def test_assertions_only_tell_the_type_checker_what_is_not_none() -> None:
    for path in Path(seqrev.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                assert ast.unparse(node.test).endswith(" is not None"), f"{path}:{node.lineno}"
