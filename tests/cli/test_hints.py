"""Every hint works: what the program says after an error, typed as it stands, does what it says.

Each place of the package that raises an error with a hint is reached by one of ``SITUATIONS``, or is among those that are
not reached here, with the reason.
"""

import ast
import re
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import seqrev
import seqrev.cli
from seqrev import config_files, errors
from seqrev.cli.console import Console
from seqrev.cli.usage import next_line
from seqrev.config import load_config
from seqrev.runs.folders import Run
from seqrev.system.signals import Interrupted
from seqrev.training.distributed import ProcessLostError
from tests.cli.preparing import Situation
from tests.cli.situations import SITUATIONS
from tests.helpers import Result, run_main, settings

ROOT = Path(seqrev.__file__).parent
TINY = (
    "task.max_length=4",
    "data.train=600",
    "data.validation=30",
    "data.test=30",
    "model.d_model=16",
    "model.heads=2",
    "model.d_ff=16",
    "model.encoder_layers=1",
    "model.max_positions=200",
    "train.steps=4",
    "train.validate_every=2",
    "train.batch_size=8",
)
# What is no command: it begins with these words, and says what to do before the same command, or with a file of the user.
ADVICE = {
    "the same command": "after what is in the way has gone",
    "make room on that disk": "no command knows what can go",
    "a line such as": "the file of the user is to be mended",
    "tr '\\r' '\\n' < FILE": "the file of the user is to be mended; its name goes in place of FILE",
    "smaller batches": "what can be smaller depends on what is wanted",
    "a smaller model": "what can be smaller depends on what is wanted",
}
OUTSIDE = ("pip",)  # commands of others
IN_PYTHON = "only Python code comes here"
TYPER = "Typer refuses such an option first, with a hint of its own"
PROCESSES = "it takes several processes: tests/training/test_distributed.py"
STREAMS = "it takes a stream that fails: tests/cli/test_unwritable.py, tests/cli/test_decode.py"
# Where no situation leads: in this function to so many places, for this reason.
NOT_REACHED = {
    "api/attention.py:SeenAttention._answered": (1, IN_PYTHON),
    "api/reverser.py:Reverser.plot_loss": (1, IN_PYTHON),
    "api/reverser.py:Reverser.save": (3, IN_PYTHON),
    "api/symbols.py:_items": (1, IN_PYTHON),
    "cli/console.py:Console._write": (1, STREAMS),
    "cli/decode.py:_read": (2, STREAMS),
    "exercises/__init__.py:_exercise": (1, IN_PYTHON),
    "inference/evaluation.py:evaluate": (2, IN_PYTHON),
    "inference/search.py:check_beam": (1, TYPER),
    "interpret/ablation.py:ablate": (2, TYPER),
    "interpret/attention_kinds.py:check_kind": (1, TYPER),
    "plotting/style.py:find_theme": (1, TYPER),
    "runs/tensorboard.py:export": (1, "it takes a path that is not UTF-8: tests/runs/test_tensorboard.py"),
    "system/files.py:open_regular": (1, "no argument of a process has a zero in it"),
    "training/distributed.py:Processes.check_batch": (1, PROCESSES),
    "training/distributed.py:_backend": (1, PROCESSES),
    "training/distributed.py:join": (2, PROCESSES),
    "training/trainer.py:_check_rows": (2, IN_PYTHON),
    "training/trainer.py:validate": (1, "the hint of a training that diverged, as after a step"),
    "workflows/evaluate.py:run_of": (1, IN_PYTHON),
    "workflows/train.py:_prepare": (1, PROCESSES),
}


OF_USERS: tuple[type[errors.SeqrevError], ...] = (
    errors.SeqrevError,
    ProcessLostError,
    *errors.SeqrevError.__subclasses__(),
)
KINDS = {kind.__name__: kind for kind in OF_USERS}


class Site(NamedTuple):
    """A call in the package that makes an error with a hint."""

    function: str
    first: int
    last: int


class Outcome(NamedTuple):
    """How a situation went."""

    result: Result
    offered: str
    """What was printed after "Try:"."""
    followed: Result | None
    """What became of that; None: it is no command of seqrev."""
    sites: set[Site]
    """Where the hint was made."""
    kinds: set[type[BaseException]]
    """Of the errors that had this hint."""


def sites() -> list[Site]:
    """Every call that makes an error with a hint of its own."""
    found: list[Site] = []

    def visit(node: ast.AST, names: tuple[str, ...], path: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = (*names, node.name)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            others = {"Interrupted": 2, **dict.fromkeys(KINDS, 1)}.get(node.func.id, sys.maxsize)  # arguments before a hint
            if len(node.args) > others:
                found.append(Site(f"{path}:{'.'.join(names)}", node.lineno, node.end_lineno or node.lineno))
        for child in ast.iter_child_nodes(node):
            visit(child, names, path)

    for path in sorted(ROOT.rglob("*.py")):
        visit(ast.parse(path.read_text(encoding="utf-8")), (), path.relative_to(ROOT).as_posix())
    return found


SITES = sites()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two tiny runs; the configurations of the package are as small here."""
    folder = tmp_path_factory.mktemp("hints")
    (folder / "configs").mkdir()
    text = yaml.safe_dump(load_config(overrides=TINY).model_dump())
    for name in config_files.CONFIGS:
        (folder / "configs" / f"{name}.yaml").write_text(text)
    for name in config_files.SWEEPS:
        sweep = {"base": "small.yaml", "seeds": [0], "lengths": [3], "sequences": 4, "variants": {"plain": []}}
        (folder / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(sweep))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_files, "_FOLDER", folder / "configs")
        for slow in ("train._draw", "evaluate._plot"):  # slower than all the rest
            patch.setattr(f"seqrev.workflows.{slow}", lambda *arguments: [])
        for _ in range(2):
            assert run_main("train", *settings(TINY), "--runs-dir", folder / "runs").code == 0
        yield folder / "runs"


@pytest.fixture(scope="module")
def outcomes(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Situation], Outcome]:
    """What becomes of a situation; each is met once."""
    return cache(lambda situation: meet(situation, runs, tmp_path_factory.mktemp("situation")))


def meet(situation: Situation, runs: Path, folder: Path) -> Outcome:
    """Bring the situation about, see what is offered, and type it."""
    shutil.copytree(runs, folder / "runs")
    with pytest.MonkeyPatch.context() as lasting:
        lasting.chdir(folder)
        for name in ("SEQREV_RUNS", "SEQREV_DEBUG", "NO_COLOR"):
            lasting.delenv(name, raising=False)
        with pytest.MonkeyPatch.context() as patch:
            remedy = situation.prepare(Run(Path("runs/001")), patch)
            made: list[tuple[str, BaseException, Site | None]] = []
            final = record(patch, made)
            result = run_main(*shlex.split(situation.typed))
        if callable(remedy):
            remedy()
        offered = result.err.splitlines()[-1].partition(": ")[2]
        line = f"seqrev {situation.typed}" if offered.startswith("the same command") else offered
        words = shlex.split(line.rpartition("; then ")[2]) if "seqrev " in line else [""]
        if "--runs-dir" in words:
            words = [word.replace(tempfile.gettempdir(), str(folder)) for word in words]
        followed = run_main(*words[1:]) if words[0] == "seqrev" else None
    own = [(error, site) for hint, error, site in made if hint and hint in final[0]]
    return Outcome(result, offered, followed, {site for _, site in own if site}, {type(error) for error, _ in own})


def record(patch: pytest.MonkeyPatch, made: list[tuple[str, BaseException, Site | None]]) -> list[str]:
    """Write down every error that is made, with its hint and where; returns where the hint that is printed will be."""
    final: list[str] = []
    for kind in (errors.SeqrevError, Interrupted):

        def remember(self: Any, *arguments: Any, init: Any = kind.__init__, **names: Any) -> None:
            init(self, *arguments, **names)
            frame = sys._getframe(1)
            path = Path(frame.f_code.co_filename)
            name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
            here = [one for one in SITES if one.function.startswith(f"{name}:") and one.first <= frame.f_lineno <= one.last]
            made.append((self.hint, self, here[0] if here else None))

        patch.setattr(kind, "__init__", remember)

    def complete(hint: str, *arguments: Any) -> str:
        final.append(hint)
        return next_line(hint, *arguments)

    def tell(self: Console, error: Any, told: Any = Console.error) -> None:
        final.append(error.hint)
        told(self, error)

    patch.setattr(seqrev.cli, "next_line", complete)
    patch.setattr(Console, "error", tell)
    return final


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.typed[:40])
def test_what_is_offered_works(situation: Situation, outcomes: Callable[[Situation], Outcome]) -> None:
    result, offered, followed, *_ = outcomes(situation)
    assert result.code != 0
    assert re.search(r"^(Try|Continue): ", result.err.splitlines()[-1])
    assert "Traceback" not in result.err
    if followed is None:
        assert offered.startswith((*ADVICE, *OUTSIDE)), offered
    else:
        assert followed.code == 0, (result.err, followed.err)


def test_every_hint_is_met(outcomes: Callable[[Situation], Outcome]) -> None:
    met = [outcomes(situation) for situation in SITUATIONS]
    missing = [site for site in SITES if not any(site in one.sites for one in met)]
    unknown = [f"{site.function}, line {site.first}" for site in missing if site.function not in NOT_REACHED]
    assert unknown == []
    assert Counter(site.function for site in missing) == {function: count for function, (count, _) in NOT_REACHED.items()}
    usual = {kind for kind in KINDS.values() if "usual_hint" in vars(kind)}
    assert usual <= set().union(*(one.kinds for one in met))
    advice = [one.offered for one in met]
    assert [words for words in ADVICE if not any(text.startswith(words) for text in advice)] == []
