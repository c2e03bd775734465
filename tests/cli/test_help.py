"""Help: how it is asked for, and what it looks like."""

import re

import pytest

from tests.cli.test_main import COMMANDS
from tests.helpers import Cli


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)])
def test_h_is_help(cli: Cli, command: tuple[str, ...]) -> None:
    assert cli(*command, "-h") == cli(*command, "--help")
    assert cli(*command, "-h").code == 0


@pytest.mark.parametrize("width", [60, 80, 110])
@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)])
def test_help_uses_the_width_and_names_no_python_types(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = cli(*command, "--help").out
    longest = max(map(len, text.splitlines()))
    assert longest <= width
    assert longest > 80 or width <= 80 or not command  # one of its lines needs the room
    assert not re.search(r"<[a-z]", text)
    assert "list[" not in text
    assert not re.search(r"[a-z]\.\.\.$", text, flags=re.MULTILINE) or width < 80  # nothing is cut
