"""A run of another rule: everything is made, judged and drawn by the rule of the run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from seqrev.api.reverser import load
from seqrev.runs.folders import Run
from seqrev.task import RuleName, alignment, apply_rule
from seqrev.workflows.attention import draw_over_time
from tests.helpers import Cli, assert_refused, run_main, settings


@pytest.fixture(scope="module", params=["copy", "rotate", "swap"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs_dir = tmp_path_factory.mktemp(request.param)
    result = run_main("train", *settings(), "--set", f"task.rule={request.param}", "--runs-dir", runs_dir)
    assert result.code == 0, result.err
    assert f"{'diagonal' if request.param == 'copy' else 'alignment of ' + request.param} (head mean" in result.out
    return Run(runs_dir / "001")


@pytest.fixture
def other(trained: Run, cli: Cli) -> Run:
    """A copy of it in ``runs/001`` of the current folder."""
    del cli
    shutil.copytree(trained.path, "runs/001")
    return Run("runs/001")


def rule_of(run: Run) -> RuleName:
    return run.config().task.rule


def test_the_model_learns_it_and_is_judged_by_it(cli: Cli, other: Run) -> None:
    rule = rule_of(other)
    document = cli("evaluate", "--json").document
    assert document["exact_match"] >= 0.8  # judged by reversal, it would be near nothing
    model = load(other, "cpu")
    source = [1, 0, 2, 4]
    seen = model.attention(source)
    assert seen.correct is (seen.answer.output == apply_rule(np.array(source), rule).tolist())
    assert seen.alignment == (alignment(np.array(source), rule) + 1).tolist()
    snapshots, *_ = draw_over_time(other)
    assert all(one.alignment == (alignment(np.array(one.source), rule) + 1).tolist() for one in snapshots)
    assert snapshots[-1].loss < snapshots[0].loss / 2


def test_its_dataset_says_it_and_has_its_targets(other: Run) -> None:
    rule = rule_of(other)
    assert json.loads((other.data / "manifest.json").read_text())["task"]["rule"] == rule
    for split in ("train", "validation", "test"):
        for line in (other.data / f"{split}.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert row["tgt"] == apply_rule(np.array(row["src"]), rule).tolist()


def test_the_targets_of_a_file_count_and_those_of_another_rule_are_noted(cli: Cli, other: Run) -> None:
    Path("mine.jsonl").write_text('{"src": [1, 2, 4], "tgt": [4, 2, 1]}\n')
    result = cli("evaluate", "--file", "mine.jsonl", "--json")
    document = json.loads(result.out)
    assert all(mistake["expected"] == [4, 2, 1] for mistake in document["mistakes"])
    assert document["other_rule"] is True
    assert f"not those of the rule that was learned, {rule_of(other)}" in result.err
    own = apply_rule(np.array([1, 2, 4]), rule_of(other)).tolist()
    Path("mine.jsonl").write_text(json.dumps({"src": [1, 2, 4], "tgt": own}))
    result = cli("evaluate", "--file", "mine.jsonl")
    assert result.code == 0
    assert "Note" not in result.err


def test_a_rule_that_there_is_not_is_refused(cli: Cli) -> None:
    assert_refused(cli("train", "--set", "task.rule=mirror"), 2, "task.rule is 'mirror'", "'copy'")
