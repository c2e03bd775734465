"""docs/causes.md: its Python runs, its table names the points there are, and the example of nnsight says the same."""

import contextlib
import io
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import seqrev
from seqrev.interpret.interventions import points
from tests.docs.guide import ROOT

PAGE = (ROOT / "docs" / "causes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def printed(code: str, names: dict[str, Any]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "causes.md", "exec"), names)
    return out.getvalue()


def test_every_block_runs_and_plain_hooks_do_the_same() -> None:
    names: dict[str, Any] = {}
    first, with_hooks, tools = (printed(block, names) for block in BLOCKS)
    answer = "tensor([[ 9,  2,  8,  4, -1]])\n"
    assert first.startswith(answer)
    assert with_hooks == answer
    assert "all of them" in tools


@pytest.mark.filterwarnings("ignore")  # of nnsight's own
def test_nnsight_does_the_same(tmp_path: Path) -> None:
    pytest.importorskip("nnsight", reason="an optional dependency: pip install 'seqrev[nnsight]'")
    (code,) = re.findall(r"^```text\n(from nnsight.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    script = tmp_path / "example.py"  # nnsight reads its source
    script.write_text(f"{BLOCKS[0]}\n{code}", encoding="utf-8")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        runpy.run_path(str(script))
    assert out.getvalue().splitlines()[-1] == "tensor([[ 9,  2,  8,  4, -1]])"


def test_the_table_names_every_kind_of_point() -> None:
    table = PAGE.partition("| point |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z][\w.]*)`", table)) - {"out_proj"}
    listed = points(seqrev.load("pretrained").config.model)
    assert named <= set(listed)
    assert {name.split(".")[0] for name in named} == {name.split(".")[0] for name in listed}
