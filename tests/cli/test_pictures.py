"""Pictures of all commands: their themes, that no setting reaches them, and what becomes of a command that cannot draw."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NoReturn, get_args

import numpy as np
import pytest
from PIL import Image

from seqrev.cli.options import ThemeName
from seqrev.errors import StorageError
from seqrev.plotting import export, figures, style
from seqrev.runs.folders import Run
from tests.helpers import Cli, assert_refused, child_environment, run_process, settings

HOSTILE = """
image.origin: lower
image.interpolation: bicubic
image.lut: 3
axes.grid: True
text.usetex: True
font.family: monospace
savefig.bbox: tight
figure.dpi: 30
svg.fonttype: path
"""
FAST = settings(["train.steps=2", "train.warmup_steps=1"])
DRAWN = ("loss.png", "attention.png")


def corner(path: Path) -> str:
    """The colour of the background of a picture."""
    with Image.open(path) as image:
        return "#{:02X}{:02X}{:02X}".format(*np.asarray(image.convert("RGB"))[1, 1])


def test_the_themes_of_the_options_are_those_that_there_are() -> None:
    assert get_args(ThemeName) == get_args(style.ThemeName) == tuple(style.THEMES)


@pytest.mark.usefixtures("own_run")
@pytest.mark.parametrize("theme", style.THEMES)
def test_every_command_that_draws_takes_a_theme(cli: Cli, theme: style.ThemeName) -> None:
    for words, path in (
        (["attention", "4", "2", "1", "--out", "a.png"], "a.png"),
        (["attention", "--over-time", "--out", "b.png"], "b.png"),
        (["attention", "--over-time", "--out", "c.gif"], "c.gif"),
        (["runs", "1", "--out", "d.png"], "d.png"),
        (["evaluate", "--lengths", "2,3", "--tokens"], "runs/001/evaluation/001.png"),
        (["train", "--run", "1"], "runs/001/loss.png"),
    ):
        result = cli(*words, "--theme", theme)
        assert result.code == 0, result.err
        assert corner(Path(path)) == style.THEMES[theme].background, words
    assert corner(Path("runs/001/attention.png")) == style.THEMES[theme].background


@pytest.mark.usefixtures("own_run")
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["runs", "--theme", "dark"], "--theme goes with --out"),
        (["evaluate", "--theme", "dark"], "--theme goes with --lengths"),
        (["evaluate", "--tokens"], "--tokens goes with --lengths"),
        (["attention", "--report", "--theme", "dark"], "--report does not go together with --theme"),
        (["attention", "4", "--out", "a.html", "--theme", "dark"], "--theme does not go together with a page"),
        (["attention", "4", "--theme", "neon"], "neon"),
        (["runs", "--out", "a.jpg"], "a.jpg must end in .png, .svg, .pdf"),
    ],
)
def test_a_theme_where_nothing_is_drawn_is_refused(cli: Cli, words: list[str], problem: str) -> None:
    assert_refused(cli(*words), 2, problem)


def test_the_losses_of_several_runs_are_in_one_picture(cli: Cli, own_run: Run) -> None:
    assert cli("train", "--config", own_run.path / "config.yaml", *FAST, "--set", "train.lr=0.5").code == 0
    assert cli("generate", *settings()).code == 0
    result = cli("runs", "--out", "losses.svg")
    assert result.code == 0
    assert result.out.endswith("picture: losses.svg\n")
    assert "without metrics, and so not in the picture: runs/003" in result.err
    svg = Path("losses.svg").read_text(encoding="utf-8")
    for words in ("Training of 2 runs", "training loss", "validation loss", "exact match", "001 ", "002 ", "lr=0.5"):
        assert words in svg
    document = cli("runs", "1", "--out", "loss.pdf", "--json").document
    assert document["out"] == "loss.pdf"
    assert [row["run"] for row in document["runs"]] == ["runs/001"]
    refused = cli("runs", "3", "--out", "none.png")
    assert refused.code == 3
    assert "None of these runs has metrics" in refused.err
    assert not Path("none.png").exists()


def test_no_matplotlibrc_reaches_a_picture(cli: Cli, own_run: Run, tmp_path: Path) -> None:
    words = ["attention", "--run", own_run, "--over-time", "--out"]
    assert cli(*words, "plain.png").code == 0
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    result = run_process(*words, "hostile.png", folder=tmp_path)
    assert result.code == 0, result.err
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "hostile.png").read_bytes()


def test_a_backend_that_is_not_there_is_ignored(tmp_path: Path) -> None:
    """As in a notebook whose ``MPLBACKEND`` is inherited by a program of another environment."""
    result = run_process("train", *settings(), *FAST, folder=tmp_path, MPLBACKEND="module_that_is_not_there")
    assert result.code == 0, result.err
    assert "Warning" not in result.err
    assert all((tmp_path / "runs" / "001" / name).stat().st_size for name in DRAWN)


def test_a_backend_that_is_there_stays_that_of_the_program() -> None:
    code = "import seqrev.plotting, matplotlib, os; print(matplotlib.get_backend(), os.environ['MPLBACKEND'])"
    environment = child_environment(MPLBACKEND="svg")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "svg svg\n"


# --- what cannot be drawn ---------------------------------------------------------------------------------------------


def no_latex(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("Failed to process string with tex\nbecause latex could not be found")


def no_room(path: Path, _: bytes) -> NoReturn:
    raise StorageError(f"{path} cannot be written: No space left on device.")


@pytest.fixture(params=["no latex", "no room"])
def unable(request: pytest.FixtureRequest, own_run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pictures cannot be drawn, or not be written; returns what is said of it."""
    del own_run
    if request.param == "no latex":
        monkeypatch.setattr(figures.ThemedFigure, "savefig", no_latex)
        return "The picture cannot be drawn (RuntimeError: Failed to process string with tex because latex"
    monkeypatch.setattr(export, "atomic_write", no_room)
    return "cannot be written: No space left on device."


def test_a_training_is_done_without_its_pictures(cli: Cli, unable: str) -> None:
    result = cli("train", *settings(), *FAST)
    assert result.code == 0
    warnings = [line for line in result.err.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 2
    for name, line in zip(DRAWN, warnings, strict=True):
        assert f"runs/002/{name}" in line
        assert unable in line
        assert line.endswith("To draw it again: seqrev train --run runs/002")
        assert not Path("runs/002", name).exists()
    assert "validation: exact match" in result.out
    assert "pictures" not in result.out
    assert json.loads(Path("runs/002/run.json").read_text())["status"] == "done"


def test_what_was_not_drawn_is_drawn_by_the_command_of_the_warning(cli: Cli, own_run: Run) -> None:
    for name in DRAWN:
        (own_run.path / name).unlink()
    assert cli("train", "--run", "runs/001").code == 0
    assert all((own_run.path / name).stat().st_size for name in DRAWN)


def test_an_evaluation_is_told_and_saved_without_its_plot(cli: Cli, unable: str) -> None:
    result = cli("evaluate", "--run", "1", "--lengths", "2,3", "--count", "4", "--tokens", "--json")
    assert result.code == 0
    (warning,) = [line for line in result.err.splitlines() if line.startswith("Warning: ")]
    assert unable in warning
    command = "seqrev evaluate --run 1 --lengths 2,3 --count 4 --protocol free --beam 1 --theme paper --tokens"
    assert warning.endswith(f"To draw it again: {command}")
    assert "plot" not in result.document
    assert [path.name for path in Path("runs/001/evaluation").iterdir()] == ["001.json"]


@pytest.mark.parametrize("words", [["4", "2", "1"], ["--over-time"]])
def test_attention_is_told_before_the_error_and_no_empty_file_stays(cli: Cli, unable: str, words: list[str]) -> None:
    result = cli("attention", *words)
    assert result.code in (1, 3)
    assert unable in result.err
    assert "Try: " in result.err
    assert result.out.startswith("source  ")
    assert "mass" in result.out
    assert "picture" not in result.out
    document = cli("attention", *words, "--json").document
    assert document["out"] is None
    assert "anti_diagonal" in document or document["snapshots"]
    assert list(Path("runs/001/attention").iterdir()) == []


def test_runs_are_listed_before_the_error(cli: Cli, unable: str) -> None:
    result = cli("runs", "--out", "losses.png")
    assert result.code in (1, 3)
    assert unable in result.err
    assert "done" in result.out


@pytest.mark.parametrize("option", [(), ("--influence",), ("--lens",)])
def test_a_stop_while_a_picture_is_drawn_leaves_no_empty_file(
    cli: Cli, own_run: Run, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...]
) -> None:
    def stop(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", stop)
    assert cli("attention", *option, "4", "2", "1").code == 130
    assert list((own_run.path / "attention").iterdir()) == []
