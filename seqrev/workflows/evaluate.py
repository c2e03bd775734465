"""``seqrev evaluate``: on a split, a file, fresh sequences of chosen lengths, every short sequence, or families of them."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from seqrev.api.reverser import Reverser
from seqrev.config import TaskConfig
from seqrev.data.dataset import load_split
from seqrev.data.families import FAMILIES, count_up_to, families, sequences_up_to
from seqrev.data.lines import read_sequences
from seqrev.data.sampling import fresh_sequences
from seqrev.data.sequences import Pairs, answers_to, pick
from seqrev.data.splits import Split
from seqrev.errors import InputError, SeqrevError, UsageError
from seqrev.inference.batching import Sources
from seqrev.inference.evaluation import KEPT_MISTAKES, Evaluation, Protocol
from seqrev.inference.evaluation import evaluate as evaluate_model
from seqrev.interpret.alignment import alignment_over
from seqrev.runs.folders import PRETRAINED, Run
from seqrev.system.files import is_file, is_folder, write_json
from seqrev.system.text import shorten
from seqrev.system.threads import limit_threads
from seqrev.task import check_length

if TYPE_CHECKING:
    from seqrev.plotting.style import ThemeName

MOST_LENGTHS = 10_001  # in one evaluation
MOST_MISTAKES = 1_000  # that are listed, where every one counts
Advance = Callable[[int, int, str], None]
Report = dict[str, Any]  # plain values, as ``seqrev evaluate --json`` prints them


@dataclass(frozen=True)
class EvaluationSet:
    """Which sequences to evaluate on: the first of these that is given, or else a split of the run's dataset."""

    split: Split = "test"
    """Of ``train``, in which short sequences are there many times, each counts once."""
    file: Path | None = None
    """One sequence a line, or JSONL rows with ``src``; with targets (``tgt``, or after a tab) these are what is right."""
    lengths: str | None = None
    """As ``parse_lengths`` reads them. None of the sequences was in any training split."""
    count: int = 64
    """Fresh sequences of each length, all different: fewer, where there are not so many."""
    exhaustive: int | None = None
    """Every sequence of up to so many symbols, those that were trained on as well."""
    families: bool = False
    """Those of ``seqrev.data.families.families``; they may have been trained on as well."""


@dataclass(frozen=True)
class Output:
    """Where the reports go, and how the plot by length is drawn."""

    file: Path | None = None
    """A ``.json`` file; None: each report is saved in its run."""
    theme: "ThemeName" = "paper"
    tokens: bool = False
    """Draw the token accuracy as well; with the protocol ``chomsky`` it always is."""


@dataclass(frozen=True)
class EvaluationOutcome:
    """Reports of all models, and where they were saved: in each run's ``evaluation`` folder, or all in one file."""

    reports: list[Report]
    saved: list[Path]
    plot: Path | None
    """Exact match by length, where lengths were asked for."""
    failure: SeqrevError | None
    """Why not all was saved, as in a run that must not be written; the reports are whole all the same."""
    not_drawn: SeqrevError | None = None
    """Why there is no plot of the lengths that were asked for."""


def evaluate(
    models: Sequence[Reverser],
    sequences: EvaluationSet = EvaluationSet(),
    beam: int = 1,
    protocol: Protocol = "free",
    advance: Advance = lambda done, total, details: None,
    output: Output = Output(),
) -> EvaluationOutcome:
    """Evaluate models of runs (several are compared), and save the reports: ``output`` says where.

    ``protocol`` is one of ``seqrev.inference.evaluation.evaluate``; with ``chomsky``, ``score`` in a report is the mean
    over the lengths of the token accuracy (Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2022, section 4).

    ``advance`` is called after each length with how many are done, how many there are, and how it went.

    Raises:
        InputError: the dataset or the file is missing or damaged, or a model does not come from a run.
        UsageError: a sequence or a length that a model does not take, or another suffix.
    """
    for model in models:
        run_of(model)
    if output.file is not None:
        _check_output(output.file, sequences.file)
    if sequences.lengths is not None:
        results = _on_lengths(models, sequences, beam, protocol, advance)
    elif sequences.exhaustive is not None:
        results = [_on_all(model, sequences.exhaustive, beam, protocol, advance) for model in models]
    elif sequences.families:
        results = [_on_families(model, beam, protocol, advance) for model in models]
    else:
        results = [_on_rows(model, sequences, beam, protocol) for model in models]
    reports = []
    for model, result in zip(models, results, strict=True):
        step = model.checkpoint and model.checkpoint.step
        score = {"score": fmean(row["token_accuracy"] for row in result["by_length"])} if protocol == "chomsky" else {}
        reports.append({"run": str(model.run), "step": step, "beam": beam, "protocol": protocol, **score, **result})
    outcome = EvaluationOutcome(reports, [], None, None)
    try:
        _save(outcome.saved, models, reports, output.file)
    except SeqrevError as error:
        return replace(outcome, failure=error)
    if sequences.lengths is None:
        return outcome
    path = outcome.saved[-1].with_suffix(".png")
    try:
        _plot(reports, models[0].config.task, path, output.theme, output.tokens or protocol == "chomsky")
    except SeqrevError as error:
        return replace(outcome, not_drawn=error)
    return replace(outcome, plot=path)


def _check_output(file: Path, read: Path | None) -> None:
    from seqrev.plotting.export import check_format  # which imports Matplotlib

    check_format(file, ("json",))
    if not is_folder(file.parent.resolve()):
        raise UsageError(f"There is no folder {file.parent} to save {file.name} in.", shlex.join(("--out", file.name)))
    of_a_run = file.name.lower() in ("run.json", "manifest.json")  # RUN.JSON is the same file on many a disk
    if of_a_run or (read is not None and is_file(file) and is_file(read) and file.samefile(read)):
        whose = "the name of a file of runs" if of_a_run else "read here"
        raise UsageError(f"{file} is {whose}, and is not replaced; another file was expected.", "--out evaluation.json")


def _save(saved: list[Path], models: Sequence[Reverser], reports: Sequence[Report], out: Path | None) -> None:
    """Write the reports; what is on disk is added to the list at once."""
    if out is not None:
        write_json(out, reports[0] if len(reports) == 1 else {"runs": list(reports)})
        saved.append(out)
        return
    for model, report in zip(models, reports, strict=True):
        with run_of(model).output("evaluation", ".json") as path:
            write_json(path, report)
        saved.append(path)


def run_of(model: Reverser) -> Run:
    """The run that a model comes from; an ``InputError`` where it comes from none."""
    if model.run is None:
        raise InputError("This model does not come from a run, which is needed here.", "Trainer.save()")
    return model.run


def _answer(model: Reverser, sources: Sources, beam: int, protocol: Protocol, kept: int = KEPT_MISTAKES) -> Evaluation:
    """What is right and wrong in the answers to sources that were checked."""
    with limit_threads(model.config.train.threads):
        return evaluate_model(model.model, sources, beam, protocol, kept)


def _on_rows(model: Reverser, sequences: EvaluationSet, beam: int, protocol: Protocol) -> Report:
    """One model on the rows of a file, or of a split."""
    if sequences.file is not None:
        sources = read_sequences(sequences.file, model.config.task, model.longest_source)
        report = {"file": str(sequences.file), **_answer(model, sources, beam, protocol).to_dict()}
        if isinstance(sources, Pairs) and (rule := model.config.task.rule) != "pairs":
            report["other_rule"] = list(sources.targets) != answers_to(list(sources), rule)
        if not report.get("other_rule") and max(map(len, sources)) <= model.config.task.max_length:
            report["anti_diagonal"] = _alignment(model, sources)  # else nobody knows it, or it may take all the memory
        return report
    if sequences.split == "train" and str(model.run) == PRETRAINED:
        problem = "The pretrained run comes without its training split; validation or test was expected."
        raise InputError(problem, "seqrev evaluate --run pretrained")
    rows: Sequence[Sequence[int]] = load_split(run_of(model).data, sequences.split, model.config)
    if sequences.split == "train":  # where short sequences are drawn many times, and would count as often
        rows = pick(rows, sorted({tuple(row): index for index, row in reversed([*enumerate(rows)])}.values()))
    result = _answer(model, rows, beam, protocol).to_dict()
    return {"split": sequences.split, **result, "anti_diagonal": _alignment(model, rows)}


def _alignment(model: Reverser, sources: Sources) -> list[dict[str, Any]]:
    """The scores of the last decoder layer."""
    with limit_threads(model.config.train.threads):
        return [score.to_dict() for score in alignment_over(model.model, sources)]


def _on_lengths(
    models: Sequence[Reverser], sequences: EvaluationSet, beam: int, protocol: Protocol, advance: Advance
) -> list[Report]:
    """Every model on the same fresh sequences, or as many of them as its alphabet has."""
    lengths = parse_lengths(sequences.lengths or "")
    check_length(lengths[-1], min(model.longest_source for model in models))
    results = [Evaluation() for _ in models]
    todo = [(model, result, length) for model, result in zip(models, results, strict=True) for length in lengths]
    for done, (model, result, length) in enumerate(todo, start=1):
        fresh = fresh_sequences(length, sequences.count, model.config)
        result.merge(_answer(model, fresh, beam, protocol))
        advance(done, len(todo), f"length {length:,}: exact match {result.by_length[length].exact_match:.3f}")
    return [{"lengths": sequences.lengths, **result.to_dict()} for result in results]


def _on_all(model: Reverser, longest: int, beam: int, protocol: Protocol, advance: Advance) -> Report:
    """One model on every sequence of up to ``longest`` symbols."""
    symbols, result, done = model.config.task.symbols, Evaluation(kept=MOST_MISTAKES), 0
    check_length(longest, model.longest_source)
    total = count_up_to(longest, symbols)
    for chunk in sequences_up_to(longest, symbols):
        result.merge(_answer(model, chunk, beam, protocol, MOST_MISTAKES))
        done += len(chunk)
        advance(done, total, f"{result.overall.sequences - result.overall.exact:,} wrong")
    return {"exhaustive": longest, **result.to_dict()}


def _on_families(model: Reverser, beam: int, protocol: Protocol, advance: Advance) -> Report:
    """One model on families of sequences."""
    whole, rows = Evaluation(kept=MOST_MISTAKES), []
    for done, (name, sequences) in enumerate(families(model.config.task), start=1):
        result = _answer(model, sequences, beam, protocol, MOST_MISTAKES)
        whole.merge(result)
        rows.append({"family": name, **result.overall.to_dict()})
        advance(done, len(FAMILIES), f"{name}: exact match {result.overall.exact_match:.3f}")
    return {"families": rows, **whole.to_dict()}


def _plot(reports: Sequence[Report], task: TaskConfig, path: Path, theme: "ThemeName", tokens: bool) -> None:
    from seqrev.plotting.export import picture_errors, save_figure

    with picture_errors():
        from seqrev.plotting.curves import Curve, accuracy_by_length  # which import Matplotlib

        curves = []
        for report in reports:
            rows, names = report["by_length"], ("length", "exact_match", "interval", "token_accuracy")
            columns = ([row[name] for row in rows] for name in names[: 3 + tokens])
            curves.append(Curve(report["run"], *columns))
        title = f"exact match by length ({reports[0]['protocol'].replace('-', ' ')})"
        save_figure(accuracy_by_length(curves, (task.min_length, task.max_length), title, theme=theme), path)


def parse_lengths(text: str) -> list[int]:
    """Lengths as people write them: ``20,50`` or ``10:1000:10`` (from, to, step; the end is included), or both mixed.

    Raises ``UsageError`` for anything else.

    >>> parse_lengths("5,10:30:10")
    [5, 10, 20, 30]
    """
    lengths: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?::(\d{1,9}))?(?::(\d{1,9}))?\s*", part, re.ASCII)
        if match is None:
            raise UsageError(f"{shorten(part)} is not a length; 20,50 or 10:1000:10 was expected.", "--lengths 20,50,100")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if not 1 <= first <= last or step < 1 or (last - first) // step >= MOST_LENGTHS:
            raise UsageError(f"{shorten(part)} has no lengths in it, or too many.", "--lengths 20,50,100")
        lengths.update(range(first, last + 1, step))
        if len(lengths) > MOST_LENGTHS:
            raise UsageError(f"These are more than {MOST_LENGTHS:,} lengths.", "--lengths 20,50,100")
    return sorted(lengths)
