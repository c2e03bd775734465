"""``seqrev evaluate``: how good is a trained model?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from seqrev.cli.console import Console
from seqrev.cli.options import Beam, Device, Json, RunsDir, load_model, refuse_together
from seqrev.errors import QualityError, UsageError
from seqrev.runs.folders import PRETRAINED
from seqrev.task import RuleName, alignment_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seqrev.inference.evaluation import Protocol
    from seqrev.reverser import Reverser

HELP = "seqrev evaluate --help"
SYMBOLS_SHOWN = 40  # of a mistake
LINES_SHOWN = 100  # mistakes


def command(
    run: Annotated[
        list[str] | None,
        Option(metavar="RUN", help="runs/001, 1, latest or pretrained; repeated with --lengths."),
    ] = None,
    split: Annotated[Literal["train", "validation", "test"] | None, Option(help="Of the dataset; left out: test.")] = None,
    file: Annotated[Path | None, Option(help="Your own sequences: one a line, or JSONL rows with src.")] = None,
    lengths: Annotated[str | None, Option(help="Fresh sequences of these lengths: 20,50,100 or 10:1000:10.")] = None,
    count: Annotated[
        int | None, Option(min=1, max=1_000_000, help="With --lengths: sequences of each; left out: 64.")
    ] = None,
    exhaustive: Annotated[
        int | None, Option(min=1, max=1_000_000, metavar="N", help="Every sequence of up to N symbols.")
    ] = None,
    families: Annotated[
        bool, Option("--families", help="Constant, alternating, two symbols, palindromes, sorted; mistakes are listed.")
    ] = False,
    length_given: Annotated[
        bool, Option("--length-given", help="Stop every answer at the right length; <EOS> is not asked for.")
    ] = False,
    teacher_forced: Annotated[
        bool, Option("--teacher-forced", help="Show the model the right output so far at every step.")
    ] = False,
    min_exact: Annotated[float | None, Option(min=0, max=1, help="Exit with 4 if the exact match is lower.")] = None,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Count what a model gets exactly right.

    It answers freely and must end by itself; overall, by length, and by kind of error.
    """
    refuse_together(
        HELP,
        {"--split": split, "--file": file, "--lengths": lengths, "--exhaustive": exhaustive, "--families": families},
    )
    refuse_together(HELP, {"--length-given": length_given, "--teacher-forced": teacher_forced})
    refuse_together(HELP, {"--beam": beam > 1, "--teacher-forced": teacher_forced})
    if count is not None and lengths is None:
        raise UsageError("--count goes with --lengths.", "seqrev evaluate --lengths 20,50,100 --count 64")
    if run is not None and len(run) > 1 and lengths is None:
        raise UsageError("Several runs are compared on lengths.", "seqrev evaluate --run 1 --run 2 --lengths 20,50,100")
    console = Console(json)
    models = [load_model(spec, runs_dir, device, console) for spec in run or (None,)]
    protocol: Protocol = "length_given" if length_given else "teacher_forced" if teacher_forced else "free"

    from seqrev.workflows import evaluate as workflow

    sequences = workflow.EvaluationSet(split or "test", file, lengths, count or 64, exhaustive, families)
    with console.progress("families" if families else "sequences" if exhaustive else "lengths") as progress:
        outcome = workflow.evaluate(models, sequences, beam, protocol, progress.update)
    reports = outcome.reports
    document = reports[0] if len(reports) == 1 else {"runs": reports}
    for model, report in zip(models, reports, strict=True):
        _print(console, report, model.config.task.rule)
    for path in outcome.saved:
        console.note(f"Saved: {path}")
    if outcome.plot is not None:
        console.line(f"picture: {outcome.plot}")
        document = {**document, "plot": str(outcome.plot)}
    console.document(document)
    if outcome.failure is not None:
        raise outcome.failure
    worst = min(report["exact_match"] for report in reports)
    if min_exact is not None and not worst >= min_exact:  # nor with NaN is the gate open
        raise QualityError(
            f"The exact match is {worst:.4f}, and at least {min_exact} was asked for.", _better(models[0], reports)
        )


def _better(model: "Reverser", reports: "Sequence[dict[str, Any]]") -> str:
    """The training that may lead to a better model."""
    longest = max(row["length"] for report in reports for row in report["by_length"])
    if longest > model.config.task.max_length:
        return "seqrev train --config configs/extrapolate.yaml"
    config = "configs/small.yaml" if str(model.run) == PRETRAINED else f"{model.run}/config.yaml"
    return f"seqrev train --config {config} --set train.steps={2 * model.config.train.steps}"


def _print(console: Console, report: dict[str, Any], rule: RuleName) -> None:
    """The table, the anti-diagonal, and the mistakes."""
    console.line(f"{report['run']}, step {report['step']:,}, {report['protocol'].replace('_', ' ')}")
    every = "exhaustive" in report or "families" in report
    first = "family" if "families" in report else "length"
    columns = {first: ",", "sequences": ",", "exact match": ".4f", "95 %": "", "tokens": ".4f"}
    columns |= {"early": ",", "over": ",", "wrong": ","}
    rows = []
    for row in ({**report, first: "all"}, *report.get("families", report["by_length"])):
        interval = "-" if every else "{:.3f}-{:.3f}".format(*row["interval"])  # that of a sample
        shares = (row["exact_match"], interval, row["token_accuracy"])
        rows.append((row[first], row["sequences"], *shares, *row["errors"].values()))
    console.table(columns, rows)
    for score in report.get("anti_diagonal", ())[:1]:
        console.data(
            f"{alignment_name(rule)} (head mean, last decoder layer): mass {score['mass']:.3f}, hit {score['hit']:.3f}"
        )
    shown = report["mistakes"][:LINES_SHOWN]
    for mistake in shown:
        source, expected, output = (_shorten(mistake[name]) for name in ("source", "expected", "output"))
        kind = mistake["kind"].replace("_", " ")
        one_line = f"wrong: {source} -> {output} ({kind})"
        console.data(one_line if every else f"\n{kind}\n  source    {source}\n  expected  {expected}\n  output    {output}")
    wrong = sum(report["errors"].values())
    if every and wrong > len(shown):
        console.data(f"and {wrong - len(shown):,} more")


def _shorten(sequence: list[int]) -> str:
    more = f" … ({len(sequence):,} symbols)" if len(sequence) > SYMBOLS_SHOWN else ""
    return " ".join(map(str, sequence[:SYMBOLS_SHOWN])) + more
