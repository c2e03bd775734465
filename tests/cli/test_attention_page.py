"""``seqrev attention --out page.html``; the page itself is tested in ``tests/plotting/page``."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from seqrev.runs.folders import Run
from tests.helpers import Cli, assert_refused


def data(path: str) -> Any:
    """What is in a page."""
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', Path(path).read_text(encoding="utf-8")
    )
    return json.loads(text)


def test_a_page_is_written_with_the_model_and_the_stages_of_its_training(cli: Cli, own_run: Run) -> None:
    result = cli(
        "attention", "4", "2", "1", "--out", "page.HTML", "--layer", "1", "--head", "2", "--type", "decoder", "--json"
    )
    assert result.code == 0, result.err
    assert result.document["out"] == "page.HTML"
    page = data("page.HTML")
    assert page["shown"] == {"kind": "decoder", "layer": 1, "head": 2}
    assert page["source"] == [4, 2, 1]
    assert page["symbols"] == 5
    assert [stage["name"] for stage in page["stages"]][:-1] == ["step 16", "step 32", "step 64"]
    assert not (own_run.path / "attention").exists()


def test_a_damaged_stage_is_left_out_and_named_in_one_line(cli: Cli, own_run: Run) -> None:
    damaged = own_run.snapshots / "weights-000032.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    result = cli("attention", "4", "2", "1", "--out", "page.html")
    assert result.code == 0
    (warning,) = (line for line in result.err.splitlines() if line.startswith("Warning: "))
    assert str(damaged.relative_to(Path.cwd())) in warning
    assert warning.endswith("The page does without.")
    assert len(data("page.html")["stages"]) == 3


def test_a_run_without_stages_has_one(cli: Cli, own_run: Run) -> None:
    shutil.rmtree(own_run.snapshots)
    result = cli("attention", "4", "2", "1", "--out", "page.html")
    assert result.code == 0
    assert "Warning" not in result.err
    assert len(data("page.html")["stages"]) == 1


def test_with_a_beam_it_has_the_maps_of_that_answer(cli: Cli, own_run: Run) -> None:
    assert cli("attention", "4", "2", "1", "--run", own_run, "--beam", "3", "--out", "page.html").code == 0
    assert "stages" not in data("page.html")
    assert data("page.html")["reason"] == "The page was made without the model."


def test_the_name_of_the_run_is_text(cli: Cli, own_run: Run) -> None:
    hostile = Path("<script>broken<!--")
    shutil.move(own_run.path, hostile)
    assert cli("attention", "4", "2", "1", "--run", hostile, "--out", "page.html").code == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert str(hostile) not in page
    assert "<h1>&lt;script&gt;broken&lt;!--: reverse</h1>" in page


def test_a_page_in_a_folder_that_is_not_there_is_refused(cli: Cli, own_run: Run) -> None:
    result = cli("attention", "4", "2", "1", "--run", own_run, "--out", "none/page.html")
    assert result.out.startswith("source  4 2 1\n")  # what was found is told all the same
    assert_refused(result._replace(out=""), 3, "cannot be written")
