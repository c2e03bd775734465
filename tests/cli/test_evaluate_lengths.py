"""Evaluations by length, of one run and of several: tables, a picture, a score and a gate."""

import json
import re
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from seqrev.api.reverser import load
from seqrev.data.sampling import fresh_sequences
from seqrev.inference.evaluation import evaluate
from seqrev.plotting import curves as curves_module
from seqrev.plotting.curves import Curve
from seqrev.plotting.style import ThemeName
from seqrev.runs.checkpoints import best_first
from seqrev.runs.folders import Run
from tests.cli.test_evaluate import COLUMNS
from tests.helpers import Cli, assert_refused


@pytest.fixture
def two_runs(own_run: Run) -> tuple[Run, Run]:
    """Two runs in runs/, the second of another checkpoint."""
    other = Run(own_run.path.with_name("002"))
    shutil.copytree(own_run.path, other.path)
    shutil.rmtree(best_first(other.checkpoints)[0].path)
    return own_run, other


def test_lengths_of_ones_own_are_evaluated_on_fresh_sequences(cli: Cli, own_run: Run) -> None:
    result = cli("evaluate", "--lengths", "20,2:4", "--count", "7", "--json")
    assert result.code == 0, result.err
    document = result.document
    assert (document["run"], document["lengths"], document["protocol"]) == ("runs/001", "20,2:4", "free")
    assert [(row["length"], row["sequences"]) for row in document["by_length"]] == [(2, 4), (3, 7), (4, 7), (20, 7)]
    assert document["sequences"] == 25
    model = load(own_run)
    for row in document["by_length"]:
        expected = evaluate(model.model, fresh_sequences(row["length"], 7, model.config))
        assert row == {"length": row["length"], **expected.overall.to_dict()}
    assert sum(document["errors"].values()) == sum(sum(row["errors"].values()) for row in document["by_length"])
    assert document["by_length"][-1]["exact_match"] == 0  # it has seen at most four symbols
    assert len(document["mistakes"]) <= 10
    assert document["plot"] == "runs/001/evaluation/001.png"
    assert Path(document["plot"]).read_bytes().startswith(b"\x89PNG")
    saved = json.loads((own_run.path / "evaluation" / "001.json").read_text())
    assert saved == {name: value for name, value in document.items() if name != "plot"}
    assert "Saved: runs/001/evaluation/001.json" in result.err


def test_lengths_are_a_table_for_people_and_a_picture(cli: Cli, own_run: Run) -> None:
    result = cli("evaluate", "--run", "1", "--lengths", "2,20", "--count", "5")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert re.fullmatch(r"runs/001, step \d+, free", lines[0])
    assert re.split("  +", lines[1].strip()) == [*COLUMNS]
    assert [line.split()[:2] for line in lines[2:5]] == [["all", "9"], ["2", "4"], ["20", "5"]]
    assert lines[4].split()[2:4] == ["0.0000", "0.000-0.434"]  # none of five
    assert lines[-1] == "picture: runs/001/evaluation/001.png"
    assert sorted(path.name for path in (own_run.path / "evaluation").iterdir()) == ["001.json", "001.png"]
    assert cli("evaluate", "--lengths", "2").code == 0
    assert {path.name for path in (own_run.path / "evaluation").iterdir()} >= {"002.json", "002.png"}


def test_sixty_four_sequences_of_each_length_are_asked_for_by_itself(cli: Cli, own_run: Run) -> None:
    document = cli("evaluate", "--run", own_run, "--lengths", "9,20", "--json").document
    assert [row["sequences"] for row in document["by_length"]] == [64, 64]


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Curve], tuple[int, int], str]]:
    """What is drawn."""
    drawn = []
    original = curves_module.accuracy_by_length

    def spy(curves: list[Curve], trained: tuple[int, int], title: str, *, theme: ThemeName) -> Figure:
        drawn.append((curves, trained, title))
        return original(curves, trained, title, theme=theme)

    monkeypatch.setattr(curves_module, "accuracy_by_length", spy)
    return drawn


def test_several_runs_are_compared_in_one_picture(
    cli: Cli, two_runs: tuple[Run, Run], curves: list[tuple[list[Curve], tuple[int, int], str]]
) -> None:
    result = cli("evaluate", "--run", "1", "--run", "runs/002", "--lengths", "2,4", "--count", "20", "--json")
    assert result.code == 0, result.err
    document = result.document
    assert list(document) == ["runs", "plot"]
    assert [report["run"] for report in document["runs"]] == ["runs/001", "runs/002"]
    assert document["runs"][0]["step"] != document["runs"][1]["step"]
    assert document["plot"] == "runs/002/evaluation/001.png"
    ((drawn, trained, title),) = curves
    assert trained == (1, 4)
    assert "free" in title
    for run, report, curve in zip(two_runs, document["runs"], drawn, strict=True):
        assert json.loads((run.path / "evaluation" / "001.json").read_text()) == report
        assert (curve.label, [*curve.lengths]) == (report["run"], [2, 4])
        assert [*curve.exact_match] == [row["exact_match"] for row in report["by_length"]]
        assert [[*interval] for interval in curve.intervals] == [row["interval"] for row in report["by_length"]]


def test_several_runs_are_a_table_first(cli: Cli, two_runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")  # which matters on a terminal only
    options = ("evaluate", *(word for run in two_runs for word in ("--run", run)), "--lengths", "2,4,12", "--count", "20")
    reports = cli(*options, "--json").document["runs"]
    shares = [[f"{row['exact_match']:.4f}" for row in (*report["by_length"], report)] for report in reports]
    shown = cli(*options, "--mistakes").out
    lines = shown.splitlines()
    assert re.split("  +", lines[0]) == ["exact match", "2", "4", "12", "all"]
    assert [line.split() for line in lines[1:3]] == [[str(run), *row] for run, row in zip(two_runs, shares, strict=True)]
    assert [line.split(",")[0] for line in lines if ", step " in line] == [str(run) for run in two_runs]
    assert shown.count("picture: ") == 1
    assert shown.count("expected") == sum(len(report["mistakes"]) for report in reports) > 0
    assert "expected" not in cli(*options).out
    monkeypatch.setattr("seqrev.cli.tables.terminal_width", lambda: 40)
    short = ("evaluate", "--run", "1", "--run", "2", *options[5:])
    lines = cli(*short).out.splitlines()
    assert re.split("  +", lines[0].strip()) == ["exact match", "1: runs/001", "2: runs/002"]
    assert [line.split()[0] for line in lines[1:5]] == ["2", "4", "12", "all"]
    assert [line.split()[2] for line in lines[1:5]] == shares[1]
    monkeypatch.setattr("seqrev.cli.tables.terminal_width", lambda: 30)
    lines = cli(*short).out.splitlines()
    assert [re.split("  +", lines[index].strip()) for index in (0, 5)] == [
        ["exact match", "1: runs/001"],
        ["exact match", "2: runs/002"],
    ]
    assert [line.split()[1] for line in (*lines[1:5], *lines[6:10])] == [*shares[0], *shares[1]]


def test_the_score_is_the_mean_over_the_lengths(cli: Cli, own_run: Run) -> None:
    options = ("evaluate", "--run", own_run, "--lengths", "2,4,8", "--count", "50", "--protocol", "chomsky")
    document = cli(*options, "--json").document
    accuracies = [row["token_accuracy"] for row in document["by_length"]]
    assert document["score"] == pytest.approx(sum(accuracies) / 3)
    assert document["score"] != document["token_accuracy"]  # in which long ones count more
    given = cli(*options[:-1], "length-given", "--json").document
    assert given["by_length"] == document["by_length"]
    assert "score" not in given
    assert f"score (mean over the lengths of the token accuracy): {document['score']:.4f}" in cli(*options).out


def test_several_runs_are_asked_the_same(cli: Cli, own_run: Run) -> None:
    document = cli("evaluate", "--run", "1", "--run", own_run, "--lengths", "3,12", "--count", "9", "--json").document
    one, other = document["runs"]
    assert one["by_length"] == other["by_length"]
    assert one["mistakes"] == other["mistakes"]


def test_the_gate_counts_the_worst_of_several_runs(cli: Cli, two_runs: tuple[Run, Run]) -> None:
    options = [word for run in two_runs for word in ("--run", run)] + ["--lengths", "2,16", "--count", "8"]
    worst = min(report["exact_match"] for report in cli("evaluate", *options, "--json").document["runs"])
    assert cli("evaluate", *options, "--min-exact", worst).code == 0
    refused = cli("evaluate", *options, "--min-exact", worst + 0.001)
    assert refused.code == 4
    assert refused.err.splitlines()[-2].startswith("Error: The exact match is ")


@pytest.mark.parametrize("source", [("--lengths", "2,9"), ("--split", "validation"), ("--file", "mine.txt")])
@pytest.mark.parametrize(
    ("protocol", "words"),
    [("length-given", "length given"), ("teacher-forced", "teacher forced"), ("chomsky", "chomsky")],
)
def test_another_protocol_is_labelled_wherever_its_result_goes(
    cli: Cli,
    own_run: Run,
    curves: list[tuple[list[Curve], tuple[int, int], str]],
    source: tuple[str, str],
    protocol: str,
    words: str,
) -> None:
    Path("mine.txt").write_text("4 2 1\n3 3 0 1 2 3 4 0 1\n")
    document = cli("evaluate", *source, "--protocol", protocol, "--json").document
    assert document["protocol"] == protocol
    assert json.loads((own_run.path / "evaluation" / "001.json").read_text())["protocol"] == protocol
    assert cli("evaluate", *source, "--protocol", protocol).out.splitlines()[0].endswith(f", {words}")
    if source[0] == "--lengths":
        assert [title for _, _, title in curves] == [f"exact match by length ({words})"] * 2
    if protocol in ("length-given", "chomsky"):
        assert document["errors"]["early_stop"] == document["errors"]["overrun"] == 0
    wrong = sum(document["errors"].values())
    assert document["exact_match"] == pytest.approx(1 - wrong / document["sequences"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--lengths", "2", "--split", "test"), "--split does not go together with --lengths."),
        (("--lengths", "2", "--file", "mine.txt"), "--file does not go together with --lengths."),
        (("--protocol", "forced"), "'forced' is not one of 'free', 'length-given', 'teacher-forced', 'chomsky'"),
        (("--length-given",), "No such option: --length-given"),
        (("--beam", "2", "--protocol", "teacher-forced"), "--beam does not go together with --protocol teacher-forced."),
        (("--count", "3"), "--count goes with --lengths."),
        (("--run", "1", "--run", "1"), "Several runs are compared on lengths"),
        (("--run", "1", "--run", "1", "--split", "test"), "Several runs are compared on lengths"),
        (("--lengths", ""), "'' is not a length; 20,50 or 10:1000:10 was expected"),
        (("--lengths", "2,many"), "'many' is not a length"),
        (("--lengths", "9:5"), "'9:5' has no lengths in it"),
        (("--lengths", "0"), "'0' has no lengths in it"),
        (("--lengths", "2", "--count", "0"), "--count"),
        (("--lengths", "2", "--count", "x"), "--count"),
    ],
)
def test_bad_lengths_are_refused_and_save_nothing(cli: Cli, own_run: Run, arguments: tuple[str, ...], says: str) -> None:
    assert_refused(cli("evaluate", *arguments), 2, says)
    assert not (own_run.path / "evaluation").exists()


@pytest.mark.parametrize("lengths", ["31", "2:31", "2,999999999", "4:1000:4"])
def test_a_length_beyond_the_positions_is_refused_before_any_work(
    cli: Cli, own_run: Run, monkeypatch: pytest.MonkeyPatch, lengths: str
) -> None:
    worked: list[object] = []
    monkeypatch.setattr("seqrev.workflows.evaluate.evaluate_model", lambda *arguments: worked.append(arguments))
    monkeypatch.setattr("seqrev.workflows.evaluate.fresh_sequences", lambda *arguments: worked.append(arguments))
    result = cli("evaluate", "--lengths", lengths)
    assert_refused(result, 2, "symbols; this model takes 1 to 30 (model.max_positions less two)", "--config extrapolate")
    assert worked == []
    assert not (own_run.path / "evaluation").exists()


def test_the_longest_length_that_fits_is_evaluated(cli: Cli, own_run: Run) -> None:
    document = cli("evaluate", "--run", own_run, "--lengths", "30", "--count", "2", "--json").document
    assert document["by_length"][0]["length"] == 30
