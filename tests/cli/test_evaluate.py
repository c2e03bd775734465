import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from seqrev.api.reverser import load
from seqrev.cli.evaluate import _shorten
from seqrev.data.sampling import fresh_sequences
from seqrev.inference.evaluation import evaluate
from seqrev.plotting import curves as curves_module
from seqrev.plotting.curves import Curve
from seqrev.plotting.style import ThemeName
from seqrev.runs.checkpoints import best_first
from seqrev.runs.folders import Run
from tests.helpers import PATIENCE, Cli, assert_refused, child_environment

COLUMNS = ("length", "sequences", "exact match", "95 %", "tokens", "early", "over", "wrong")


@pytest.fixture
def wrong(cli: Cli, own_run: Run) -> Path:
    """A file of sequences whose answers are surely not all right: the model never saw so long ones."""
    del cli, own_run
    Path("long.txt").write_text(
        "".join(f"{i % 5} 1 2 3 4 0 1 2 3 4 {i // 5 % 5} {i // 25 % 5} 3 3 0 1\n" for i in range(60))
    )
    return Path("long.txt")


def rows(run: Run, split: str) -> int:
    """Different ones: the training split has short ones many times."""
    return len(set((run.data / f"{split}.jsonl").read_text().splitlines()))


@pytest.mark.parametrize("split", [None, "test", "validation", "train"])
def test_the_document_adds_up_and_is_what_was_saved(cli: Cli, own_run: Run, split: str | None) -> None:
    result = cli("evaluate", *(("--split", split) if split else ()), "--json")
    assert result.code == 0
    document = result.document
    assert document["run"] == "runs/001"
    assert document["split"] == (split or "test")
    assert document["sequences"] == rows(own_run, split or "test")
    by_length = document["by_length"]
    assert [row["length"] for row in by_length] == sorted({row["length"] for row in by_length})
    assert sum(row["sequences"] for row in by_length) == document["sequences"]
    right = sum(row["sequences"] * row["exact_match"] for row in by_length)
    assert document["exact_match"] * document["sequences"] == pytest.approx(right)
    tokens = sum(row["sequences"] * (row["length"] + 1) for row in by_length)
    right_tokens = sum(row["sequences"] * (row["length"] + 1) * row["token_accuracy"] for row in by_length)
    assert document["token_accuracy"] == pytest.approx(right_tokens / tokens)
    assert set(document["errors"]) == {"early_stop", "overrun", "wrong_token"}
    assert sum(document["errors"].values()) == pytest.approx(document["sequences"] - right)
    assert {"layer", "head", "mass", "hit"} == set(document["anti_diagonal"][0])
    saved = own_run.path / "evaluation" / "001.json"
    assert json.loads(saved.read_text()) == document
    assert "runs/001/evaluation/001.json" in result.err


def test_validation_is_what_training_found_at_that_checkpoint(cli: Cli, own_run: Run) -> None:
    document = cli("evaluate", "--split", "validation", "--json").document
    best = best_first(own_run.checkpoints)[0]
    assert best.validation is not None
    assert document["step"] == best.step
    for name in ("exact_match", "token_accuracy"):
        assert document[name] == pytest.approx(best.validation[name])


def test_every_evaluation_is_kept(cli: Cli, own_run: Run) -> None:
    for _ in range(2):
        assert cli("evaluate").code == 0
    assert sorted(path.name for path in (own_run.path / "evaluation").iterdir()) == ["001.json", "002.json"]


def test_people_get_a_table(cli: Cli, own_run: Run) -> None:
    result = cli("evaluate", "--run", own_run)
    assert result.code == 0
    document = json.loads((own_run.path / "evaluation" / "001.json").read_text())
    lines = result.out.splitlines()
    assert lines[0] == f"{own_run}, step {document['step']:,}, free"
    assert re.split("  +", lines[1].strip()) == [*COLUMNS]
    low, high = document["interval"]
    shares = [f"{document['exact_match']:.4f}", f"{low:.3f}-{high:.3f}", f"{document['token_accuracy']:.4f}"]
    errors = [str(document["errors"][kind]) for kind in ("early_stop", "overrun", "wrong_token")]
    assert lines[2].split() == ["all", "30", *shares, *errors]
    lengths = [str(row["length"]) for row in document["by_length"]]
    assert [line.split()[0] for line in lines[3 : 3 + len(lengths)]] == lengths
    assert "anti-diagonal" in result.out
    assert "\x1b" not in result.out + result.err


def test_a_file_of_ones_own_is_evaluated(cli: Cli, own_run: Run) -> None:
    Path("mine.txt").write_text('4 2 1\n{"src": [3, 3]}\n0,1\n')
    document = cli("evaluate", "--file", "mine.txt", "--json").document
    assert document["sequences"] == 3
    assert document["file"] == "mine.txt"
    assert [(row["length"], row["sequences"]) for row in document["by_length"]] == [(2, 2), (3, 1)]
    assert (own_run.path / "evaluation" / "001.json").exists()


def test_the_test_file_gives_what_the_test_split_gives(cli: Cli, own_run: Run) -> None:
    one = cli("evaluate", "--json").document
    other = cli("evaluate", "--file", own_run.data / "test.jsonl", "--json").document
    for name in ("sequences", "exact_match", "token_accuracy", "errors", "by_length"):
        assert one[name] == other[name]


def test_mistakes_are_shown_with_what_was_expected(cli: Cli, wrong: Path) -> None:
    document = cli("evaluate", "--file", wrong, "--json").document
    assert 1 <= len(document["mistakes"]) <= 10
    for mistake in document["mistakes"]:
        assert mistake["expected"] == mistake["source"][::-1] != mistake["output"] or mistake["kind"] == "overrun"
    shown = cli("evaluate", "--file", wrong).out
    assert "  expected  " + " ".join(map(str, document["mistakes"][0]["expected"])) in shown


def test_the_gate_is_met_exactly_at_the_measured_value(cli: Cli, wrong: Path) -> None:
    exact = cli("evaluate", "--file", wrong, "--json").document["exact_match"]
    assert exact < 1
    assert cli("evaluate", "--file", wrong, "--min-exact", exact).code == 0
    assert cli("evaluate", "--file", wrong, "--min-exact", 0).code == 0
    refused = cli("evaluate", "--file", wrong, "--min-exact", exact + 0.001)
    assert refused.code == 4
    assert refused.err.splitlines()[-2].startswith("Error: The exact match is ")
    assert refused.err.splitlines()[-1].startswith("Try: ")
    assert "length  sequences" in refused.out  # the result is there all the same


def test_a_gate_that_is_not_met_still_gives_the_document(cli: Cli, wrong: Path) -> None:
    result = cli("evaluate", "--file", wrong, "--min-exact", "1", "--json")
    assert result.code == 4
    assert result.document["exact_match"] < 1
    assert result.error["type"] == "QualityError"
    assert Path("runs/001/evaluation/001.json").exists()


def test_a_beam_can_be_asked_for(cli: Cli, own_run: Run) -> None:
    document = cli("evaluate", "--run", own_run, "--beam", "3", "--json").document
    assert document["beam"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--split", "holiday"), 2, "'holiday' is not one of 'train', 'validation', 'test'"),
        (("--split", "test", "--file", "mine.txt"), 2, "--split does not go together with --file."),
        (("--split", "test", "--families"), 2, "--split does not go together with --families."),
        (("--lengths", "20", "--exhaustive", "3"), 2, "--lengths does not go together with --exhaustive."),
        (("--exhaustive", "0"), 2, "--exhaustive"),
        (("--exhaustive", "13"), 2, "There are too many sequences of up to 13 symbols"),
        (("--exhaustive", "31"), 2, "The sequence has 31 symbols"),
        (("--min-exact", "1.5"), 2, "--min-exact"),
        (("--min-exact", "-0.1"), 2, "--min-exact"),
        (("--min-exact", "nan"), 2, "--min-exact"),
        (("--beam", "0"), 2, "--beam"),
        (("--file", "none.txt"), 3, "none.txt does not exist"),
        (("--file", "."), 3, ". is a folder"),
        (("--file", "empty.txt"), 3, "empty.txt is empty"),
        (("--file", "binary.bin"), 3, "binary.bin is not text"),
        (("--file", "/proc/self/mem"), 3, "/proc/self/mem"),
        (("--file", "range.txt"), 2, "range.txt, line 2: 7 is not in the vocabulary; the symbols are 0 to 4"),
        (("--file", "long.txt"), 2, "long.txt, line 1: The sequence has 31 symbols; this model takes 1 to 30"),
        (("--file", "blank.txt"), 2, "blank.txt, line 2: The sequence is empty"),
        (("--device", "abacus"), 2, "not available here"),
        (("4", "8"), 2, "4"),
    ],
)
def test_bad_input_is_refused_and_saves_nothing(
    cli: Cli, own_run: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    Path("empty.txt").write_text("")
    Path("binary.bin").write_bytes(b"\x80\xff\x00\x01\n")
    Path("range.txt").write_text("1 2\n7\n")
    Path("long.txt").write_text("1 " * 31 + "\n")
    Path("blank.txt").write_text("1 2\n\n3 4\n")
    assert_refused(cli("evaluate", *arguments), code, says)
    assert not (own_run.path / "evaluation").exists()


def test_each_mistake_of_all_short_sequences_is_a_line(cli: Cli, own_run: Run) -> None:
    del own_run
    document = cli("evaluate", "--exhaustive", "3", "--json").document
    assert (document["exhaustive"], document["sequences"]) == (3, 5 + 25 + 125)
    lines = cli("evaluate", "--exhaustive", "3").out.splitlines()
    assert re.split("  +", lines[1].strip()) == [*COLUMNS]
    assert [line.split()[0] for line in lines[2:6]] == ["all", "1", "2", "3"]
    assert all(line.split()[3] == "-" for line in lines[2:6])  # no sample, no interval
    wrong = [line for line in lines if line.startswith("wrong: ")]
    assert len(wrong) == len(document["mistakes"]) == sum(document["errors"].values())


def test_families_are_rows_of_the_table(cli: Cli, own_run: Run) -> None:
    del own_run
    document = cli("evaluate", "--families", "--json").document
    lines = cli("evaluate", "--families").out.splitlines()
    assert re.split("  +", lines[1].strip()) == ["family", *COLUMNS[1:]]
    names = ["all", "constant", "alternating", "palindromes", "two symbols", "ascending", "descending"]
    assert [re.split("  +", line.strip())[0] for line in lines[2:9]] == names
    assert [row["family"] for row in document["families"]] == names[1:]


# --- lengths ----------------------------------------------------------------------------------------------------------


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


def test_special_tokens_in_a_wrong_answer_have_their_names() -> None:
    """Teacher-forced, an answer has a token at every step, be it the wrong kind."""
    assert _shorten([3, -1, 0, -2, -3]) == "3 <EOS> 0 <BOS> <PAD>"


def test_what_decode_prints_is_evaluated(cli: Cli, own_run: Run) -> None:
    test = own_run.data / "test.jsonl"
    Path("answers.jsonl").write_text(cli("decode", "--file", test, "--json").out)
    one, other = (cli("evaluate", "--file", file, "--json").document for file in (test, "answers.jsonl"))
    assert one.pop("other_rule") is False
    assert {**one, "file": "answers.jsonl"} == other
    assert one["anti_diagonal"] == cli("evaluate", "--json").document["anti_diagonal"]


def test_the_anti_diagonal_of_a_file_is_that_of_the_rule_and_of_lengths_that_were_learned(cli: Cli, own_run: Run) -> None:
    del own_run
    for lines, there in (("1 2 3\n", True), ("1 2 3\t3 2 1\n", True), ("1 2 3\t1 2 3\n", False), ("1 2 3 4 0\n", False)):
        Path("mine.txt").write_text(lines)
        assert ("anti_diagonal" in cli("evaluate", "--file", "mine.txt", "--json").document) == there


@pytest.mark.parametrize("way", ["{} <(cat mine.txt)", "{} /dev/stdin < mine.txt", "cat mine.txt | {} /dev/stdin"])
@pytest.mark.parametrize("command", ["decode", "evaluate"])
def test_a_pipe_of_the_shell_is_a_file(own_run: Run, tmp_path: Path, way: str, command: str) -> None:
    (tmp_path / "mine.txt").write_text("1 2 3\n4 0\n")
    line = way.format(f"{shlex.quote(sys.executable)} -m seqrev {command} --run {shlex.quote(str(own_run))} --json --file")
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=child_environment(),
        timeout=PATIENCE,
        check=True,
    )
    found = [json.loads(text) for text in done.stdout.splitlines()]
    assert [row["source"] for row in found] == [[1, 2, 3], [4, 0]] if command == "decode" else found[0]["sequences"] == 2
