"""The summaries of runs: also of those that are damaged, half-made, or at work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.errors import InputError
from seqrev.runs.checkpoints import list_checkpoints
from seqrev.runs.folders import Run, open_run
from seqrev.runs.metrics import read_metrics
from seqrev.workflows.runs import RunSummary, _flatten, differences, summarize, summarize_runs
from tests.helpers import tiny_config


def last_validation(run: Run) -> float:
    exact: float = [row["exact_match"] for row in read_metrics(run.metrics) if row["event"] == "validation"][-1]
    return exact


def test_a_run_that_is_done_is_summed_up(own_run: Run) -> None:
    summary = summarize(own_run)
    record = own_run.record.read()
    assert (summary.status, summary.step, summary.steps) == ("done", 250, 250)
    assert summary.exact_match == last_validation(own_run)
    assert summary.began == record["opened"]
    assert summary.config == _flatten(own_run.config().model_dump())
    assert summary.config["train.lr"] == 5e-3
    assert summary.problems == ()


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), (True, "true"), (0.003, "0.003"), ("copy", "copy")])
def test_a_value_is_shown_as_set_takes_it(own_run: Run, value: object, shown: str) -> None:
    assert RunSummary(own_run, config={"name": value}).value("name") == shown
    assert RunSummary(own_run).value("name") == "-"


def test_a_run_at_work_is_known_as_far_as_it_is_on_disk(own_run: Run) -> None:
    record = own_run.record.read()
    del record["step"]
    own_run.record.path.write_text(json.dumps({**record, "status": "running"}))
    shutil.rmtree(list_checkpoints(own_run.checkpoints)[-1].path)
    lines = own_run.metrics.read_bytes().splitlines(keepends=True)
    last = max(index for index, line in enumerate(lines) if b'"validation"' in line)
    own_run.metrics.write_bytes(b"".join(lines[:last]) + lines[last][:20])  # it is just being written
    with own_run.locked():
        summary = summarize(own_run)
    assert (summary.status, summary.step, summary.problems) == ("running", 250, ())
    assert summary.exact_match == last_validation(own_run)
    assert summarize(own_run).status == "crashed"  # the lock is gone, and nobody wrote how it ended
    (own_run.path / ".lock").unlink()
    assert summarize(own_run).status == "crashed"
    with own_run.locked():
        assert own_run.is_at_work()
    assert not own_run.is_at_work()


def test_without_metrics_the_newest_checkpoints_are_asked(own_run: Run) -> None:
    expected = last_validation(own_run)
    own_run.metrics.unlink()
    assert summarize(own_run).exact_match == expected
    shutil.rmtree(own_run.checkpoints)
    summary = summarize(own_run)
    assert (summary.step, summary.exact_match) == (250, None)  # that of run.json


def test_a_run_that_was_only_opened_has_taken_no_step(tmp_path: Path) -> None:
    summary = summarize(open_run(tmp_path, tiny_config()))
    assert (summary.status, summary.step, summary.steps, summary.exact_match) == ("opened", 0, 250, None)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda run: (run.path / "run.json").unlink(), "run.json does not exist"),
        (lambda run: (run.path / "run.json").write_text("{"), "run.json is not valid JSON"),
        (lambda run: (run.path / "run.json").write_text('{"schema": 1}'), "another version of seqrev"),
        (lambda run: (run.path / "run.json").write_text('{"schema": 2, "status": []}'), "does not say how the run is"),
        (lambda run: (run.path / "config.yaml").unlink(), "config.yaml does not exist"),
        (lambda run: (run.path / "config.yaml").write_text("train: {lr: fast}"), "train.lr"),
        (lambda run: (run.path / "config.yaml").write_bytes(b"\x80"), "config.yaml is not text"),
        (lambda run: (run.metrics.unlink(), run.metrics.mkdir()), "metrics.jsonl is a folder"),
        (lambda run: (list_checkpoints(run.checkpoints)[0].path / "manifest.json").write_text("{}"), "manifest.json"),
        (lambda run: run.metrics.write_bytes(b"\x00\n" * 9), None),
    ],
)
def test_what_is_damaged_is_said_and_the_rest_is_known(
    own_run: Run, damage: Callable[[Run], object], says: str | None
) -> None:
    damage(own_run)
    summary = summarize(own_run)
    assert says is None or any(says in problem for problem in summary.problems)
    known = [summary.status == "done", summary.steps == 250, summary.exact_match is not None]
    assert sum(known) >= 2


def test_all_runs_of_a_folder_or_those_that_are_named(own_run: Run, tmp_path: Path) -> None:
    runs_dir = own_run.path.parent
    for name in ("002", "1000", "007", "sweep-x", "notes"):
        (runs_dir / name).mkdir()
    (runs_dir / "003").write_text("")
    paths = [summary.run.path.name for summary in summarize_runs((), runs_dir)]
    assert paths == ["001", "002", "003", "007", "1000"]
    named = summarize_runs(["7", str(own_run), "latest", "pretrained"], runs_dir)
    assert [summary.run.path.name for summary in named] == ["007", "001", "1000", "pretrained"]
    assert named[-1].status == "done"
    for missing in ("5", "nowhere", "\0", "003"):
        with pytest.raises(InputError, match="is not a run folder"):
            summarize_runs([missing], runs_dir)
    assert summarize_runs((), tmp_path / "none") == []


values = st.fixed_dictionaries({name: st.integers(0, 2) for name in ("a.x", "a.y", "b")})


@given(st.lists(st.one_of(values, st.just({})), max_size=4))
def test_what_differs_is_what_is_not_equal_in_all_that_are_known(configs: list[dict[str, int]]) -> None:
    found = differences([RunSummary(Run("runs/001"), config=config) for config in configs])
    known = [config for config in configs if config]
    assert sorted(found) == [name for name in ("a.x", "a.y", "b") if len({config[name] for config in known}) > 1]
