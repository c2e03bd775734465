"""What is offered after an error can be typed as it stands."""

import ast
import re
import shlex
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqrev
from seqrev.cli.usage import next_line
from seqrev.errors import command_line
from seqrev.runs.folders import Run
from tests.helpers import TINY, Cli, assert_refused, offered, settings

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(seqrev.__file__).parent
COMMANDS = dict.fromkeys(("generate", "train", "evaluate", "decode", "attention", "runs"))


words = st.text(min_size=1, max_size=8)


@given(words, words)
def test_a_line_is_read_back_by_a_shell_as_the_same_words(run: str, other: str) -> None:
    assert shlex.split(command_line("train", "--run", run, other)) == ["seqrev", "train", "--run", run, other]


@given(st.text(alphabet=" '\"$()ab/;`\\", min_size=1, max_size=8), st.booleans())
def test_the_runs_and_their_folder_stay_with_the_next_line(folder: str, apart: bool) -> None:
    typed = ["decode", *(("--runs-dir", folder) if apart else (f"--runs-dir={folder}",)), "--run", "2", "11"]
    assert shlex.split(next_line("seqrev decode 4 8", typed, COMMANDS))[1:] == [
        *("decode", "4", "8", "--run", "2"),
        *("--runs-dir", folder),
    ]


@pytest.mark.parametrize(
    ("hint", "typed", "expected"),
    [
        ("seqrev decode 4 8", ("evaluate", "--run", "2", "--file", "x"), "seqrev decode 4 8 --run 2"),
        ("seqrev decode 4 8", ("train", "--run", "2"), "seqrev decode 4 8"),
        ("seqrev decode 4 8", ("attention", "4", "x", "--run", "2"), "seqrev attention 4 8 --run 2"),
        ("seqrev train --run a/001", ("decode", "--runs-dir", "a", "4"), "seqrev train --run a/001"),
        ("seqrev train --run 1", ("decode", "--runs-dir", "a", "4"), "seqrev train --run 1 --runs-dir a"),
        ("seqrev decode --help", ("decode", "--runs-dir", "a"), "seqrev decode --help"),
        ("seqrev evaluate --run pretrained", ("evaluate", "--run", "pretrained"), "seqrev evaluate --help"),
        ("seqrev evaluate --run pretrained", ("evaluate", "--run", "3"), "seqrev evaluate --run pretrained"),
        ("seqrev evaluate --split test", ("decode", "--run=2"), "seqrev evaluate --split test --run 2"),
        ("--device auto", ("decode", "--device", "abacus", "4"), "seqrev decode 4 --device auto"),
        ("--set data.test=5", ("train", "--set", "data.test=9", "--set", "data.train=9"),
         "seqrev train --set data.train=9 --set data.test=5"),
        ("--set data.test=5", ("train", "--set=data.test=9"), "seqrev train --set data.test=5"),
        ("make room on that disk", ("train", "--run", "1"), "make room on that disk"),
        ("it's a quote", ("train",), "it's a quote"),
        ("--device auto", (), "--device auto"),
    ],
)  # fmt: skip
def test_the_next_line_is_a_whole_command(hint: str, typed: tuple[str, ...], expected: str) -> None:
    assert next_line(hint, typed, COMMANDS) == expected


@pytest.mark.parametrize("command", [("train", "--run", "runs/001"), ("sweep", "a b.yaml", "--out", "x")])
def test_what_was_stopped_goes_on_by_the_same_command(command: tuple[str, ...]) -> None:
    names = {**COMMANDS, "sweep": None}
    assert next_line(command_line(*command), command, names, again=True) == command_line(*command)
    assert next_line(command_line(*command), command, names) == f"seqrev {command[0]} --help"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("runs", "--out", "x"), ["runs", "--out", "x.png"]),
        (("attention", "4", "--out=a b/it's.jpg"), ["attention", "4", "--out", "a b/it's.png"]),
        (("attention", "4", "--out", "."), ["attention", "4", "--out", "map.png"]),
        (("attention", "--arrays", "maps.npy", "4"), ["attention", "4", "--arrays", "maps.npz"]),
        (("attention", "--over-time", "--out", "a.html"), ["attention", "--over-time", "--out", "a.gif"]),
        (("evaluate", "--out", "mine.txt"), ["evaluate", "--out", "mine.json"]),
    ],
)
@pytest.mark.usefixtures("own_run")
def test_a_file_of_another_kind_is_offered_as_one_that_can_be_written(
    cli: Cli, typed: tuple[str, ...], meant: list[str]
) -> None:
    assert offered(cli(*typed)) == meant


def test_no_command_is_offered_that_has_just_failed(cli: Cli) -> None:
    """The usual hint after a missing file is to train with a configuration that is part of the package."""
    result = cli("train", "--config", "configs/small.yaml")
    assert_refused(result, 3, "configs/small.yaml does not exist", "Try: seqrev train --config small")
    assert next_line("seqrev train --config small", ["train", "--config", "small"], COMMANDS) == "seqrev train --help"
    Path("empty.txt").write_text("")
    assert_refused(cli("decode", "--file", "empty.txt", "--run", "pretrained"), 3, "--run pretrained")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_with_what_a_user_chose_in_it_is_made_in_one_place(path: Path) -> None:
    """Not by an f-string, which quotes nothing."""
    texts = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr))
    parts = [[part.value if isinstance(part, ast.Constant) else "{}" for part in text.values] for text in texts]
    made = ["".join(map(str, text)) for text in parts]
    assert [text for text in made if any(f"seqrev {command} " in text for command in COMMANDS) and "{}" in text] == []


@pytest.mark.usefixtures("own_run")
@pytest.mark.parametrize(
    ("typed", "suffixes"),
    [
        (("attention", "4", "2", "--out", "my/map.{}"), ("foo", "png")),
        (("attention", "--over-time", "--out", "map.{}"), ("html", "gif")),
        (("attention", "4", "2", "--out", "map.png", "--arrays", "maps.{}"), ("npy", "npz")),
        (("evaluate", "--lengths", "2", "--out", "of mine.{}"), ("txt", "json")),
        (("runs", "--out", "losses.{}"), ("jpg", "png")),
    ],
)
def test_for_a_suffix_that_is_none_the_same_command_is_offered_with_another(
    cli: Cli, typed: tuple[str, ...], suffixes: tuple[str, str]
) -> None:
    wrong, other = ([word.format(suffix) for word in typed] for suffix in suffixes)
    assert offered(cli(*wrong)) == other


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_that_is_a_hint_has_nothing_behind_it(path: Path) -> None:
    """A shell would take words of advice for arguments."""
    texts = (str(node.value) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    assert [text for text in texts if text.startswith("seqrev ") and re.search(r"[,;(] ", text)] == []


ODD = (
    "with space",
    "it's",
    'a "quote"',
    "$(touch harm)",
    "a;touch harm",
    "`touch harm`",
    "*",
    "~",
    "-dash",
    "ü → ü",
    "back\\slash",
)


def pasted(text: str) -> list[list[str]]:
    """The commands in what was printed, as a shell takes them apart."""
    lines = [line[line.index("seqrev ") :] for line in text.splitlines() if "seqrev " in line]
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("folder", ODD)
def test_what_is_printed_can_be_pasted_wherever_the_runs_are(cli: Cli, own_run: Run, folder: str) -> None:
    runs = Path(folder) / "runs"
    shutil.copytree(own_run.path, runs / "001")
    (next_training,) = pasted(cli("generate", *settings(), "--runs-dir", f"./{folder}/runs").err)
    assert next_training == ["train", "--run", str(runs / "002")]
    done = cli("train", "--run", f"./{runs}/001")
    again, decode = pasted(done.err)
    assert again == ["train", "--run", str(runs / "001"), "--steps", "500"]
    assert cli(*decode).code == 0
    for command in (
        ("decode", "--runs-dir", f"./{runs}", "77"),
        ("evaluate", "--run", f"./{runs}/001", "--device", "abacus"),
    ):
        (better,) = pasted(cli(*command).err.splitlines()[-1])
        assert cli(*better).code == 0
    refused = cli("train", "--run", f"./{runs}/001", "--steps", "3")
    assert pasted(refused.err.splitlines()[-1]) == [again]
    assert not Path("harm").exists()


@pytest.mark.parametrize(("symbols", "longest"), [(2, 9), (3, 4), (10, 2), (10, 9)])
def test_the_next_command_is_one_that_the_model_takes(cli: Cli, symbols: int, longest: int) -> None:
    task = (f"task.symbols={symbols}", f"task.max_length={longest}", "data.validation=3", "data.test=3", "train.steps=1")
    result = cli("train", *settings((*TINY, *task)))
    (line,) = pasted(result.err)
    assert line[:3] == ["decode", "--run", "runs/001"]
    decoded = cli(*line)
    assert decoded.code == 0, decoded.err
    assert "longer than" not in decoded.err
