import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seqrev.api.reverser import load
from seqrev.cli.decode import LINES_AT_ONCE
from seqrev.runs.folders import Run
from tests.helpers import PATIENCE, Cli, assert_refused, child_environment, run_process

SEQUENCES = [[4, 2, 1], [0], [3, 3, 2, 1], [2, 4], [1, 1, 0]]


@pytest.fixture
def answers(own_run: Run) -> list[str]:
    """What the model answers to ``SEQUENCES``, as it is printed."""
    return [" ".join(map(str, answer.output)) for answer in load(own_run, "cpu").decode(SEQUENCES)]


def lines_of(sequences: list[list[int]]) -> bytes:
    return "".join(" ".join(map(str, sequence)) + "\n" for sequence in sequences).encode()


@pytest.mark.parametrize("words", [("4", "2", "1"), ("4,2,1",), ("4 2 1",), ("4,", "2 1")])
def test_a_typed_sequence_is_answered(cli: Cli, answers: list[str], words: tuple[str, ...]) -> None:
    result = cli("decode", *words)
    assert (result.code, result.out) == (0, answers[0] + "\n")
    assert result.err == "Run: runs/001 (checkpoint of step 250)\n"


def test_a_named_run_needs_no_note(cli: Cli, own_run: Run, answers: list[str]) -> None:
    assert cli("decode", "4", "2", "1", "--run", own_run) == (0, answers[0] + "\n", "")
    assert cli("decode", "--run", "1", "4", "2", "1") == (0, answers[0] + "\n", "")


def test_lines_of_stdin_are_answered_in_order(cli: Cli, answers: list[str]) -> None:
    result = cli("decode", "-", stdin=lines_of(SEQUENCES))
    assert (result.code, result.out.splitlines()) == (0, answers)


def test_lines_of_a_file_are_answered_in_order(cli: Cli, answers: list[str]) -> None:
    Path("mine.txt").write_bytes(lines_of(SEQUENCES).rstrip())
    result = cli("decode", "--file", "mine.txt")
    assert (result.code, result.out.splitlines()) == (0, answers)


def test_rows_of_json_are_answered_too(cli: Cli, own_run: Run, answers: list[str]) -> None:
    rows = "".join(json.dumps({"src": sequence, "tgt": sequence[::-1]}) + "\n" for sequence in SEQUENCES)
    assert cli("decode", "-", stdin=rows.encode()).out.splitlines() == answers
    assert len(cli("decode", "--file", own_run.data / "test.jsonl").out.splitlines()) == 30


def test_more_lines_than_a_group_are_all_answered_in_order(cli: Cli, own_run: Run) -> None:
    sequences = [[i % 5, i // 5 % 5, i // 25 % 5][: 1 + i % 3] for i in range(2_100)]
    distinct = {tuple(sequence) for sequence in sequences}
    model = load(own_run, "cpu")
    expected = {key: model.reverse(key) for key in distinct}
    out = cli("decode", "-", "--json", stdin=lines_of(sequences)).out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["source"] for row in rows] == sequences
    assert [row["output"] for row in rows] == [expected[tuple(sequence)] for sequence in sequences]


def test_json_is_one_object_a_line(cli: Cli, answers: list[str]) -> None:
    result = cli("decode", "-", "--json", stdin=lines_of(SEQUENCES))
    assert result.code == 0
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [row["source"] for row in rows] == SEQUENCES
    assert [" ".join(map(str, row["output"])) for row in rows] == answers
    for row in rows:
        assert set(row) >= {"source", "output", "finished", "log_probability"}
        assert row["finished"] is True or len(row["output"]) > len(row["source"])
        assert row["log_probability"] <= 0


def test_a_beam_never_finds_a_less_probable_answer_to_one_symbol(cli: Cli, own_run: Run) -> None:
    greedy, beam = (
        cli("decode", "--run", own_run, "3", "--beam", width, "--json").document["log_probability"] for width in (1, 50)
    )
    assert beam >= greedy - 1e-4


def test_a_long_sequence_is_answered_with_one_note(cli: Cli, own_run: Run) -> None:
    result = cli("decode", "-", "--run", own_run, stdin=b"1 2 3 4 0\n1 2 3 4 0 1\n1\n")
    assert result.code == 0
    assert len(result.out.splitlines()) == 3
    assert result.err.count("Note: longer than any sequence in training (at most 4)") == 1
    assert "Note" not in cli("decode", "--run", own_run, "1", "2", "3", "4").err


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize(
    ("line", "says"),
    [("1 x", "'x' is not a whole number"), ("9", "9 is not in the vocabulary"), ("", "empty"), ("{", "not valid JSON")],
)
def test_a_faulty_line_is_reported_by_number_and_earlier_ones_are_answered(
    cli: Cli, answers: list[str], from_file: bool, line: str, says: str
) -> None:
    content = lines_of(SEQUENCES[:2]) + line.encode() + b"\n" + lines_of(SEQUENCES[2:])
    Path("mine.txt").write_bytes(content)
    result = cli("decode", "--file", "mine.txt") if from_file else cli("decode", "-", stdin=content)
    assert result.code == 2
    assert result.out.splitlines() == answers[:2]
    assert ", line 3: " in result.err
    assert says in result.err
    assert "Traceback" not in result.err


def test_a_faulty_line_in_json_mode_follows_the_earlier_answers(cli: Cli, own_run: Run) -> None:
    result = cli("decode", "-", "--json", "--run", own_run, stdin=b"1 2\n7\n")
    assert result.code == 2
    assert result.document["source"] == [1, 2]
    assert result.error["type"] == "UsageError"
    assert result.error["message"].startswith("Standard input, line 2: ")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "Give a sequence, or -, or --file"),
        (("1", "--file", "range.txt"), 2, "one of them"),
        (("-", "--file", "range.txt"), 2, "one of them"),
        (("",), 2, "The sequence is empty"),
        ((" , ",), 2, "The sequence is empty"),
        (("-1",), 2, "-1 is not in the vocabulary; the symbols are 0 to 4"),
        (("1", "-2"), 2, "-2 is not in the vocabulary"),
        (("--", "-1"), 2, "-1 is not in the vocabulary"),
        (("5",), 2, "5 is not in the vocabulary; the symbols are 0 to 4"),
        (("four",), 2, "'four' is not a whole number"),
        (("1.5",), 2, "'1.5' is not a whole number"),
        (("9" * 400,), 2, "is not a whole number"),
        (("\x1b[31m",), 2, "is not a whole number"),
        (("1",) * 31, 2, "The sequence has 31 symbols; this model takes 1 to 30"),
        (("1", "--beam", "0"), 2, "--beam"),
        (("1", "--beam", "many"), 2, "--beam"),
        (("1", "--device", "abacus"), 2, "not available here"),
        (("--file", "none.txt"), 3, "none.txt does not exist"),
        (("--file", "none.txt"), 3, "Try: seqrev decode --file runs/001/data/test.jsonl"),
        (("--file", "."), 3, ". is a folder"),
        (("--file", "empty.txt"), 3, "empty.txt is empty"),
        (("--file", "binary.bin"), 3, "binary.bin is not text"),
        (("--file", "range.txt"), 2, "range.txt, line 1: 7 is not in the vocabulary"),
        (("-",), 3, "Standard input is empty"),
    ],
)
def test_bad_input_is_refused(cli: Cli, own_run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    del own_run
    Path("empty.txt").write_text("")
    Path("binary.bin").write_bytes(b"\x80\xff\x00\x01\n")
    Path("range.txt").write_text("7\n")
    result = cli("decode", *arguments)
    assert_refused(result, code, says)
    assert "\x1b" not in result.err


def test_the_longest_sequence_is_answered(cli: Cli, own_run: Run) -> None:
    result = cli("decode", "--run", own_run, *["1"] * 30)
    assert result.code == 0
    assert 0 < len(result.out.split()) <= 32


def test_binary_junk_on_stdin_is_refused(cli: Cli, own_run: Run) -> None:
    assert_refused(cli("decode", "-", "--run", own_run, stdin=b"\x80\xff\x00\x01\n"), 3, "Standard input is not text")


# --- real processes -------------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_failure(own_run: Run) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "seqrev", "decode", "-", "--run", str(own_run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(b"1 2\n" * 8_000)
    process.stdin.close()
    assert process.stdout.readline().strip()
    process.stdout.close()  # as `| head -1` does
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=PATIENCE) == 0
    assert err == b""


def test_lines_are_answered_while_more_are_to_come(own_run: Run) -> None:
    """So memory does not grow with their number."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seqrev", "decode", "-", "--run", str(own_run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    impatience = threading.Timer(PATIENCE, process.kill)  # or a test that fails would wait for ever
    impatience.start()
    with process.stdin as stdin, process.stdout as stdout:
        for _ in range(2):
            stdin.write(b"1 2\n" * LINES_AT_ONCE)
            stdin.flush()
            answers = [stdout.readline() for _ in range(LINES_AT_ONCE)]  # though the input is not at its end
            assert len(set(answers)) == 1
        stdin.close()
        assert stdout.read() == b""
    impatience.cancel()
    assert process.wait(timeout=PATIENCE) == 0


def test_a_process_answers_binary_junk_as_a_library_call_does(own_run: Run, tmp_path: Path) -> None:
    """Python's stdin lets any byte through in the C locale, which containers have."""
    result = run_process("decode", "-", "--run", own_run, folder=tmp_path, stdin=b"\x80\xff\x00\x01\n", LC_ALL="C.UTF-8")
    assert_refused(result, 3, "Standard input is not text")


def test_a_closed_stdin_is_no_hindrance_to_a_typed_sequence(own_run: Run, tmp_path: Path, answers: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m seqrev decode --run "$1" 4 2 1 <&-', sys.executable, str(own_run.path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=child_environment(),
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, answers[0] + "\n", "")
