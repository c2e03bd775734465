"""What the README says, is: its commands run, its code runs, its configuration reference is that of the code."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import seqrev
from seqrev.cli import main
from seqrev.config import fields
from seqrev.training import fit

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))}
COMMANDS = [line.removeprefix("$ ") for line in README.splitlines() if line.startswith("$ ")]


def configuration_table() -> str:
    rows = [f"| `{name}` | `{default}` | {description} |" for name, default, description in fields()]
    return "\n".join(["| field | default | what it does |", "|---|---|---|", *rows])


def test_the_configuration_reference_is_that_of_the_code() -> None:
    assert configuration_table() in README


def shorten_trainings(folder: Path) -> None:
    """Let every configuration end after four steps."""
    for path in folder.glob("*.yaml"):
        text = re.sub(r"steps: \d+", "steps: 4", path.read_text())
        path.write_text(re.sub(r"warmup: \d+", "warmup: 1", text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with the shipped configurations, made short."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", place / "configs")
    shorten_trainings(place / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield place


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run_in_their_order(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "|" in command:
        script = command.replace("seqrev", f"{shlex.quote(sys.executable)} -m seqrev")
        result = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert len(result.stdout.splitlines()) == 2
    else:
        name, *arguments = shlex.split(command)
        assert name == "seqrev"
        assert main(arguments) == 0, capfd.readouterr().err


def test_the_code_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.setattr(seqrev, "fit", lambda config: itertools.islice(fit(config), 2), raising=False)
    assert (folder / "runs" / "001").is_dir()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("Step(step=") == 2


@pytest.mark.parametrize("page", PAGES)
def test_what_the_pages_link_to_is_there(page: str) -> None:
    base = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page])
    assert [link for link in links if not (base / link).exists()] == []


def test_every_configuration_is_named_with_the_command_that_uses_it() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        assert path.read_text().startswith(("# seqrev train --config configs/", "# python benchmarks/"))
        assert path.name in "".join(PAGES.values())
