"""The exit codes and the JSON documents of docs/reference.md are those of the program."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from seqrev import errors
from seqrev.system.signals import STOP_SIGNALS
from tests.docs.guide import ROOT, Reader
from tests.helpers import run_main

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
DOCUMENTS = re.findall(r"^### `seqrev ([^`]+)`\n.*?^```json\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def assert_same_structure(example: Any, real: Any, path: str = "") -> None:
    """The same keys everywhere, and values of the same kinds; of a list, only the first element is compared."""
    if isinstance(example, dict):
        assert isinstance(real, dict), path
        assert set(real) == set(example), path
        for key, value in example.items():
            assert_same_structure(value, real[key], f"{path}.{key}")
    elif isinstance(example, list):
        assert isinstance(real, list), path
        for one, other in zip(example[:1], real[:1], strict=False):
            assert_same_structure(one, other, f"{path}[0]")
    elif isinstance(example, int | float):
        assert isinstance(real, int | float), path
    else:
        assert isinstance(real, type(example)), path


def test_the_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", PAGE, flags=re.MULTILINE)
    listed = {int(code) for row in rows for code in row.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SeqrevError)]
    assert listed == {0, *(kind.exit_code for kind in kinds), *(128 + signum for signum in STOP_SIGNALS)}


def test_the_documents_are_those_of_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Reader(tmp_path, short=True)
    monkeypatch.chdir(tmp_path)
    assert len(DOCUMENTS) >= 8
    for command, example in DOCUMENTS:
        result = run_main(*command.split(), "--json")
        assert result.code == 0, f"{command}\n{result.err}"
        assert_same_structure(json.loads(example), json.loads(result.out), command)


def test_the_error_is_that_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_main("train", "--set", "train.setps=3", "--json")
    (example,) = re.findall(r'^(\{"error".*)$', PAGE, flags=re.MULTILINE)
    assert_same_structure(json.loads(example), json.loads(result.err.splitlines()[-1]))
