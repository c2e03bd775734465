import json
import os
import re
from pathlib import Path

import pytest

from seqrev.cli.evaluate import _shorten
from seqrev.runs.checkpoints import best_first
from seqrev.runs.folders import Run
from tests.helpers import Cli, assert_refused

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


@pytest.mark.parametrize(("name", "is_pipe"), [("/dev/fd/{}", True), ("/dev/stdin", False), ("/dev/stdin", True)])
@pytest.mark.parametrize("command", ["decode", "evaluate"])
def test_a_pipe_of_the_shell_is_a_file(cli: Cli, own_run: Run, name: str, is_pipe: bool, command: str) -> None:
    """As in ``--file <(cat mine.txt)``, in ``--file /dev/stdin < mine.txt``, and in ``cat mine.txt | ... /dev/stdin``."""
    content, path, before = b"1 2 3\n4 0\n", Path("mine.txt"), os.dup(0)
    path.write_bytes(content)
    handle, writer = os.pipe() if is_pipe else (os.open(path, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
    os.write(writer, content)
    os.close(writer)
    if name == "/dev/stdin":
        os.dup2(handle, 0)
    result = cli(command, "--run", own_run, "--json", "--file", name.format(handle))
    os.dup2(before, 0)
    for other in (before, handle):
        os.close(other)
    assert result.code == 0, result.err
    found = [json.loads(text) for text in result.out.splitlines()]
    assert [row["source"] for row in found] == [[1, 2, 3], [4, 0]] if command == "decode" else found[0]["sequences"] == 2
