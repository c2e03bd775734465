"""A sweep: trained once, evaluated once, and the same table whenever it was interrupted."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from seqrev.api.reverser import Reverser, load
from seqrev.data.sampling import fresh_sequences
from seqrev.errors import InputError, TrainingError
from seqrev.runs.folders import Run
from seqrev.system.signals import Interrupted, StopRequest
from seqrev.workflows import sweep as workflow
from seqrev.workflows.sweep import Result, SweepOutcome, sweep
from seqrev.workflows.sweep_plan import Planned, read_sweep
from seqrev.workflows.train import Observer, train
from tests.workflows.sweeps import write_sweep
from tests.workflows.training import stop_at

pytestmark = pytest.mark.usefixtures("undrawn")
EASY = {"lengths": [2], "sequences": 3}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The run and the length of every evaluation; each has one right answer in two, beyond three symbols none."""
    calls: list[tuple[str, int]] = []

    def evaluate(model: Reverser, sequences: list[list[int]]) -> Any:
        calls.append((Path(str(model.run)).name, len(sequences[0])))
        result = original(model, sequences)
        result.overall.exact = len(sequences) // 2 if len(sequences[0]) <= 3 else 0
        return result

    original = Reverser.evaluate
    monkeypatch.setattr(Reverser, "evaluate", evaluate)
    return calls


def run_sweep(path: Path, **options: Any) -> SweepOutcome:
    return sweep(read_sweep(path), path.parent / "runs", device="cpu", **options)


def names(outcome: SweepOutcome) -> list[tuple[str, int, int]]:
    return [(row.variant, row.seed, row.length) for row in outcome.results]


def no_more_work(*arguments: object) -> NoReturn:
    raise AssertionError(f"done once more: {arguments}")


def test_a_sweep_leaves_runs_a_table_a_picture_and_its_numbers(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    outcome = run_sweep(write_sweep(tmp_path), advance=lambda done_, total, details: done.append((done_, total)))
    order = [("plain", 0), ("rotary", 0), ("plain", 1), ("rotary", 1)]
    assert names(outcome) == [(*pair, length) for pair in order for length in (3, 8)]
    assert done == [(1, 2), (2, 2)] * 4
    runs = tmp_path / "runs"
    assert sorted(path.name for path in runs.glob("[!.]*")) == ["001", "002", "003", "004", "sweep-mine"]
    assert sorted(path.name for path in (runs / "sweep-mine").iterdir()) == ["results.csv", "results.md", "results.png"]
    for row in outcome.results:
        model = load(Run(row.run), "cpu")
        assert model.checkpoint is not None
        assert (row.step, row.checkpoint, row.rule) == (model.checkpoint.step, model.checkpoint.sha256, "reverse")
        if row.asked:
            counts = model.evaluate(fresh_sequences(row.length, 4, model.config)).overall
            assert (row.sequences, row.exact, row.exact_match) == (counts.sequences, counts.exact, counts.exact_match)
            assert (row.low, row.high, row.token_accuracy) == (*counts.interval, counts.token_accuracy)
    assert outcome.plot is not None
    assert outcome.plot.read_bytes().startswith(b"\x89PNG")


def test_a_row_of_the_csv_is_a_result(tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    outcome = run_sweep(write_sweep(tmp_path, seeds=[7], rules=["copy"]))
    with outcome.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == (
        "variant,seed,rule,run,step,length,sequences,exact,exact_match,low,high,token_accuracy,asked,checkpoint"
    )
    assert [row["variant"] for row in rows] == ["plain", "plain", "rotary", "rotary"]
    assert {(row["seed"], row["rule"]) for row in rows} == {("7", "copy")}
    assert [(row["exact"], row["exact_match"], row["asked"]) for row in rows] == [
        ("2", "0.5", "true"),
        ("0", "0.0", "true"),
    ] * 2
    assert workflow._read(outcome.csv) == outcome.results
    assert len(asked) == 4


def test_after_a_length_where_nothing_is_right_longer_ones_count_as_zero(
    tmp_path: Path, asked: list[tuple[str, int]]
) -> None:
    outcome = run_sweep(write_sweep(tmp_path, lengths=[20, 2, 4, 10], seeds=[0], variants={"plain": []}))
    assert [(row.length, row.asked, row.exact) for row in outcome.results] == [
        (2, True, 2),
        (4, True, 0),
        (10, False, 0),
        (20, False, 0),
    ]
    assert [length for _, length in asked] == [2, 4]
    last = outcome.results[-1]
    assert (last.sequences, last.exact_match, last.low, last.token_accuracy) == (0, 0.0, None, None)
    assert workflow._read(outcome.csv) == outcome.results
    assert outcome.table is not None
    assert outcome.table.read_text().splitlines()[-1] == "| plain | 0.50 | 0.00 | 0.00 | 0.00 |"


def test_what_is_there_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sweep(tmp_path)
    first = run_sweep(path)
    whole = {file.name: file.read_bytes() for file in first.csv.parent.iterdir()}
    monkeypatch.setattr(workflow, "train", no_more_work)
    monkeypatch.setattr(Reverser, "evaluate", no_more_work)
    assert run_sweep(path) == first
    assert {file.name: file.read_bytes() for file in first.csv.parent.iterdir()} == whole
    rows = first.csv.read_text().splitlines(keepends=True)
    first.csv.write_text("".join([*rows[:3], "plain,zero,\n", *rows[4:]]))  # one row is damaged
    with pytest.raises(AssertionError, match="once more"):
        run_sweep(path)


def test_only_what_was_changed_is_done(tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    run_sweep(write_sweep(tmp_path, seeds=[0], lengths=[2]))
    asked.clear()
    outcome = run_sweep(
        write_sweep(tmp_path, seeds=[1, 0], lengths=[2, 3], variants={"rotary": ["model.positions=rotary"]})
    )
    assert names(outcome) == [("rotary", 1, 2), ("rotary", 1, 3), ("rotary", 0, 2), ("rotary", 0, 3)]
    assert asked == [("003", 2), ("003", 3), ("004", 2), ("004", 3)]  # the variant is another one now
    asked.clear()
    again = run_sweep(write_sweep(tmp_path, seeds=[0], lengths=[2, 3]))
    assert asked == [("001", 2), ("001", 3), ("002", 2), ("002", 3)]  # what was dropped from the CSV is not known any more
    assert [row.run[-3:] for row in again.results] == ["001", "001", "002", "002"]


@pytest.mark.parametrize("step", [1, 3])
def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path, step: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = run_sweep(write_sweep(tmp_path / "whole"))
    path = write_sweep(tmp_path / "stopped")
    stop = StopRequest()

    def observe(index: int, _: Planned) -> Observer:
        return Observer(on_event=stop_at(stop, step), stop=stop) if index == 2 else Observer()

    with pytest.raises(Interrupted):
        run_sweep(path, observe=observe)
    known = workflow._read(path.parent / "runs" / "sweep-mine" / "results.csv")
    assert [(row.variant, row.seed) for row in known] == [("plain", 0)] * 2 + [("rotary", 0)] * 2
    plans: list[str] = []

    def note(_: int, planned: Planned) -> Observer:
        plans.append(planned.status)
        return Observer()

    outcome = run_sweep(path, observe=note)
    assert plans == ["done", "done", "continue", "new"]

    def anywhere(row: Result) -> Result:
        return replace(row, run=Path(row.run).name)

    assert list(map(anywhere, outcome.results)) == list(map(anywhere, whole.results))


def test_results_of_later_members_stay_while_earlier_ones_are_measured(
    tmp_path: Path, asked: list[tuple[str, int]]
) -> None:
    path = write_sweep(tmp_path, seeds=[0], **EASY)
    run_sweep(path)
    seen: list[list[str]] = []
    out = tmp_path / "runs" / "sweep-mine" / "results.csv"
    run_sweep(path, advance=lambda *call: seen.append([row.variant for row in workflow._read(out)]))
    assert seen == [["plain", "rotary"]] * 2
    assert len(asked) == 2


def test_what_is_known_of_a_length_stays_while_shorter_ones_are_measured(
    tmp_path: Path, asked: list[tuple[str, int]]
) -> None:
    variants: dict[str, list[str]] = {"plain": []}
    run_sweep(write_sweep(tmp_path, seeds=[0], variants=variants, **EASY | {"lengths": [2, 4]}))
    out = tmp_path / "runs" / "sweep-mine" / "results.csv"
    seen: list[list[int]] = []
    path = write_sweep(tmp_path, seeds=[0], variants=variants, **EASY | {"lengths": [2, 3, 4]})
    run_sweep(path, advance=lambda *call: seen.append([row.length for row in workflow._read(out)]))
    assert seen == [[2, 4], [2, 3, 4], [2, 3, 4]]
    assert asked.count(("001", 4)) <= 1  # 0, where nothing was right before


def test_variants_of_one_configuration_share_a_run(tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    outcome = run_sweep(write_sweep(tmp_path, variants={"one": [], "two": ["model.heads=2"]}, seeds=[0], **EASY))
    assert {row.run for row in outcome.results} == {str(tmp_path / "runs" / "001")}
    assert asked == [("001", 2)]


def test_a_training_that_cannot_go_on_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(what: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(what, "seed", None) == 0:
            raise TrainingError("the loss is nan")
        return original(what, *arguments, **options)

    original: Callable[..., Any] = train
    monkeypatch.setattr(workflow, "train", fail)
    warnings: list[str] = []
    variants: dict[str, list[str]] = {"plain": []}
    outcome = run_sweep(
        write_sweep(tmp_path, variants=variants, **EASY), observe=lambda *_: Observer(on_warning=warnings.append)
    )
    assert [member.seed for member in outcome.failures] == [0]
    assert [row.seed for row in outcome.results] == [1]
    assert warnings == ["plain, reverse, seed 0: the loss is nan"]
    assert outcome.table is not None
    assert "| plain (1 of 2 seeds failed) | " in outcome.table.read_text()  # and not a mean of fewer without a word
    nothing = run_sweep(write_sweep(tmp_path, variants=variants, seeds=[0], **EASY))
    assert (nothing.results, nothing.table, nothing.plot) == ([], None, None)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\x80", b'"', b""])
def test_a_file_that_is_not_ours_is_not_written_over(tmp_path: Path, content: bytes) -> None:
    path = write_sweep(tmp_path, **EASY)
    target = tmp_path / "out" / "results.csv"
    target.parent.mkdir()
    target.write_bytes(content)
    with pytest.raises(InputError, match="is not written over"):
        run_sweep(path, out=target.parent)
    assert target.read_bytes() == content
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [(",true,", ",yes,"), (",3,", ",three,"), (",reverse,", ","), ("0.0,", "nan,"), ("0.0,", "7,"), (",2,3,", ",2,-3,")],
)
def test_a_damaged_row_is_left_out(tmp_path: Path, old: str, new: str) -> None:
    row = Result("plain", 0, "reverse", "runs/001", 4, 2, 3, 0, 0.0, 0.0, 0.5, 0.2, True, "abc")
    path = tmp_path / "results.csv"
    workflow._write(path, [row, row])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert workflow._read(path) == [row]


def test_the_table_has_the_mean_and_the_range_of_the_seeds(tmp_path: Path) -> None:
    sweep_ = read_sweep(write_sweep(tmp_path, rules=["copy", "sort"], variants={"a | b": []}, lengths=[3]))
    shares = {("copy", 0): 0.0, ("copy", 1): 0.5, ("sort", 0): 1.0, ("sort", 1): 1.0}
    results = [
        Result(
            member.variant, member.seed, member.rule, "r", 1, 3, 4, 0, shares[member.rule, member.seed], 0, 1, 0, True, ""
        )
        for member in sweep_.members
    ]
    table = workflow._write_table(sweep_, results, tmp_path / "results.md")
    assert table.read_text().splitlines() == [
        "Exact match by length; trained on lengths 1 to 4, seeds: 0, 1; 4 sequences of each length, "
        "the mean of the seeds (and the range).",
        "",
        "| variant | 3 |",
        "|---|---|",
        "| copy: a &#124; b | 0.25 (0.00–0.50) |",
        "| sort: a &#124; b | 1.00 |",
    ]
