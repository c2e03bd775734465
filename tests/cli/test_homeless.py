"""A user without a home, whom no list of users knows, as in many containers: every command, where little can be written."""

import os
from pathlib import Path

import pytest

from tests.helpers import TINY, Result
from tests.unprivileged import as_other_user

SHORT = " ".join(f"--set {setting}" for setting in [*TINY, "train.steps=4", "train.validate_every=2"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "USER", "LOGNAME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def assert_well(calls: tuple[str, ...], results: list[Result]) -> None:
    for call, result in zip(calls, results, strict=True):
        assert result.code == 0, f"{call}: {result.err}"
        assert "Error" not in result.err


def test_where_a_folder_can_be_written_everything_works(folder: Path) -> None:
    folder.chmod(0o777)
    (folder / "mine.yaml").write_text("base: fast\nsequences: 10\nseeds: [0]\nvariants: {plain: []}\nlengths: [2]\n")
    calls = (
        f"generate {SHORT}",
        "train --run 1",
        "runs --out runs.png",
        "evaluate",
        "decode 1 2",
        "attention 1 2",
        "attention 1 2 --out page.html",
        "sweep mine.yaml --dry-run",
    )
    assert_well(calls, as_other_user(*calls, folder=folder))
    for name in ("runs/001/loss.png", "runs/001/attention/001.png", "runs.png", "page.html"):
        assert (folder / name).stat().st_size > 10_000
        assert (folder / name).stat().st_uid != os.getuid()


def test_where_none_can_be_written_answers_are_printed(folder: Path) -> None:
    calls = (
        "decode 4 8 2 9",
        "runs",
        "evaluate --split test",
        "attention --run pretrained --report",
        "sweep ablation --dry-run",
    )
    answers = as_other_user(*calls, folder=folder)
    assert_well(calls, answers)
    assert answers[0].out == "9 2 8 4\n"
    drawn, generated = as_other_user("attention --run pretrained 1 2 --text", "generate", folder=folder)
    assert "mass" in drawn.out
    assert (drawn.code, generated.code) == (1, 3)
    assert "--out FILE.png" in drawn.err
    assert "Try: seqrev generate --runs-dir " in generated.err
