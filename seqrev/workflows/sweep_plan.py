"""The file of ``seqrev sweep``, checked, and which of its trainings are there already. No PyTorch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeGuard, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from seqrev.config import Config, Million, Seed, load_config
from seqrev.config_errors import explain, not_valid
from seqrev.config_files import SWEEPS, find_config, read_tree
from seqrev.data.sampling import check_possible, fresh_sequences
from seqrev.errors import InputError, SeqrevError, UsageError, command_line
from seqrev.runs.finding import numbered_runs
from seqrev.runs.folders import Run, default_runs_dir
from seqrev.system.files import is_file
from seqrev.system.text import shorten
from seqrev.task import RuleName, check_length

HINT = command_line("sweep", SWEEPS[0], "--dry-run")
MOST_ROWS = 200  # of the table and its picture


def _unfold(changes: object) -> object:
    """Assignments, and lists of them that are shared, as one list; what is no list is left for the check."""
    if not isinstance(changes, list):
        return changes
    parts = [_unfold(change) if isinstance(change, list) else [change] for change in changes]
    return [one for part in parts if isinstance(part, list) for one in part]


Assignments = Annotated[list[str], BeforeValidator(_unfold)]
Name = Annotated[str, Field(min_length=1, max_length=80)]


class SweepFile(BaseModel):
    """What such a file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    changes: Assignments = Field(default=[], alias="set")
    seeds: list[Seed] = Field(min_length=1, max_length=1_000)
    rules: list[RuleName] = []
    lengths: list[Million] = Field(min_length=1, max_length=50)
    sequences: Million
    variants: dict[Name, Assignments] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        changes = [*self.changes, *(change for variant in self.variants.values() for change in variant)]
        fields = {change.partition("=")[0].strip() for change in changes}
        if "seed" in fields:
            raise ValueError("seed is set, and seeds is the field for it")
        if self.rules and fields & {"task.rule", "task"}:
            raise ValueError("task.rule is set, and rules names some as well")
        for name in ("seeds", "rules", "lengths"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one of them twice")
        if len(self.variants) * max(1, len(self.rules)) > MOST_ROWS:
            raise ValueError(f"there are more than {MOST_ROWS} pairs of a variant and a rule")
        if unprintable := [name for name in self.variants if not name.isprintable()]:
            raise ValueError(f"{shorten(unprintable[0], 40)} is not a name that can be printed")
        return self


@dataclass(frozen=True)
class Member:
    """One training of a sweep."""

    variant: str
    seed: int
    config: Config

    @property
    def rule(self) -> RuleName:
        """What it learns."""
        return self.config.task.rule

    def __str__(self) -> str:
        return f"{self.variant}, {self.rule}, seed {self.seed}"


@dataclass(frozen=True)
class Sweep:
    """A sweep that can be run."""

    path: Path
    seeds: list[int]
    lengths: list[int]
    """In ascending order."""
    sequences: int
    """Of each length."""
    members: list[Member]
    """Seed by seed, so that every variant has a result soon."""


def read_sweep(path: Path) -> Sweep:
    """Read and check the file of a sweep, or one that is part of the package: ablation, rules.

    Raises:
        InputError: the file cannot be read.
        UsageError: it is not valid; the message names every problem, those of the variants as well.
    """
    is_config = find_config(path) != path
    tree = {} if is_config else read_tree(find_config(path, SWEEPS), SWEEPS, aliases=True)
    if is_config or (tree and tree.keys() <= Config.model_fields.keys()):
        problem = f"{path} is a configuration; a sweep, of several, was expected."
        raise UsageError(problem, command_line("train", "--config", path))
    path = find_config(path, SWEEPS)
    problems: list[str] = []
    try:
        file = SweepFile.model_validate(tree)
    except ValidationError as error:
        problems += explain(error, list(SweepFile.model_fields))
    configs = _configs(tree, path, problems)
    if not problems:
        _check_lengths(file, configs.values(), problems)
    if problems:
        raise not_valid(str(path), problems, HINT)
    pairs = [(seed, variant, config) for seed in file.seeds for (variant, _), config in configs.items()]
    members = [Member(variant, seed, config.model_copy(update={"seed": seed})) for seed, variant, config in pairs]
    return Sweep(path, file.seeds, sorted(file.lengths), file.sequences, members)


def _configs(tree: Mapping[str, Any], path: Path, problems: list[str]) -> dict[tuple[str, str], Config]:
    """The configuration of every variant and rule, as far as a file that may not be valid has one; adds problems."""
    base, shared, rules = tree.get("base"), _unfold(tree.get("set", [])), tree.get("rules") or [None]
    variants = tree.get("variants")
    if not isinstance(base, str) or not _are_assignments(shared) or not isinstance(variants, dict):
        return {}
    beside = path.parent / base
    source = beside if is_file(beside) else Path(base)
    configs: dict[tuple[str, str], Config] = {}
    wrong: dict[str, list[str]] = {}
    for name, changes in variants.items():
        for rule in rules if isinstance(rules, list) else [None]:
            unfolded = _unfold(changes)
            if not _are_assignments(unfolded) or rule not in (None, *get_args(RuleName)):
                continue  # which has been told
            try:
                overrides = [*shared, *unfolded, *([f"task.rule={rule}"] if rule else ())]
                config = load_config(source, overrides)
                check_possible(config)
            except InputError as error:  # of the base, and so of every variant
                problems.append(str(error).removesuffix("."))
                return {}
            except SeqrevError as error:
                wrong.setdefault(str(error).removesuffix("."), []).append(str(name))
            else:
                configs[str(name), config.task.rule] = config
    problems += [f"variant {shorten(', '.join(dict.fromkeys(names)), 80)}: {text}" for text, names in wrong.items()]
    return configs


def _are_assignments(changes: object) -> TypeGuard[list[str]]:
    return isinstance(changes, list) and all(isinstance(change, str) for change in changes)


def _check_lengths(file: SweepFile, configs: Collection[Config], problems: list[str]) -> None:
    """Whether every model takes the longest sequences, and there are sequences of every length."""
    shortest = min(config.model.max_positions for config in configs) - 2
    try:
        check_length(max(file.lengths), shortest)
    except SeqrevError as error:
        problems.append(f"lengths: {str(error).removesuffix('.')}")
        return
    for symbols, config in {config.task.symbols: config for config in configs}.items():
        try:
            for length in file.lengths:
                fresh_sequences(length, file.sequences, config)
        except SeqrevError as error:
            problems.append(f"lengths, with {symbols:,} symbols: {str(error).removesuffix('.')}")


@dataclass(frozen=True)
class Planned:
    """What is to be done for a member."""

    member: Member
    done: Run | None
    """There is such a run already."""
    started: Run | None
    """There is one, but it is not done."""

    @property
    def run(self) -> Run | None:
        """What there is of it."""
        return self.done or self.started

    @property
    def status(self) -> Literal["done", "continue", "new"]:
        """What there is to do."""
        return "done" if self.done else "continue" if self.started else "new"


class RunsByConfig:
    """The runs of a folder, by their resolved configuration: the best to use of each."""

    def __init__(self, runs_dir: str | Path | None) -> None:
        """``runs_dir``: None: ``SEQREV_RUNS``, else ``runs``. Those that are damaged are left alone."""
        self._found: dict[Config, tuple[bool, int, Run]] = {}
        for run in numbered_runs(default_runs_dir() if runs_dir is None else Path(runs_dir)):
            try:
                run.check()
                record, config = run.record.read(), run.config()
            except SeqrevError:
                continue
            if record.get("extended"):  # its learning rate was planned for another number of steps
                continue
            step = record.get("step")
            found = record.get("status") == "done", step if type(step) is int else 0, run
            if config not in self._found or found[:2] > self._found[config][:2]:
                self._found[config] = found

    def plan(self, member: Member) -> Planned:
        """What is there of a member."""
        done, _, run = self._found.get(member.config, (False, 0, None))
        return Planned(member, run if done else None, None if done else run)

    def add(self, config: Config, run: Run) -> None:
        """A run of this configuration is done now."""
        self._found[config] = True, config.train.steps, run
