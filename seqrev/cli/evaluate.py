"""``seqrev evaluate``: how good is a trained model?"""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from seqrev.cli.console import Console
from seqrev.cli.help import described
from seqrev.cli.options import Beam, Device, Json, RunsDir, Theme, load_model, refuse_together
from seqrev.cli.tables import align, fits
from seqrev.errors import QualityError, UsageError, command_line
from seqrev.runs.folders import PRETRAINED
from seqrev.task import BOS, EOS, FIRST_SYMBOL, PAD, RuleName, alignment_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seqrev.api.reverser import Reverser

HELP = "seqrev evaluate --help"
SYMBOLS_SHOWN = 40  # of a mistake
LINES_SHOWN = 100  # mistakes


@described(
    "Count what a model gets exactly right.",
    "It answers freely and must end by itself; overall, by length, and by kind of error.",
)
def command(
    run: Annotated[
        list[str] | None,
        Option(metavar="RUN", help="runs/001, 1, latest or pretrained; repeated with --lengths."),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        Option(metavar="SPLIT", help="Of the dataset: train, validation or test; left out: test."),
    ] = None,
    file: Annotated[
        Path | None, Option(metavar="FILE", help="Your own sequences: one a line, or JSONL rows with src.")
    ] = None,
    lengths: Annotated[
        str | None, Option(metavar="LENGTHS", help="Fresh sequences of these lengths: 20,50,100 or 10:1000:10.")
    ] = None,
    count: Annotated[
        int | None, Option(min=1, max=1_000_000, metavar="N", help="With --lengths: sequences of each; left out: 64.")
    ] = None,
    exhaustive: Annotated[
        int | None, Option(min=1, max=1_000_000, metavar="N", help="Every sequence of up to N symbols.")
    ] = None,
    families: Annotated[
        bool, Option("--families", help="Constant, alternating, two symbols, palindromes, sorted; mistakes are listed.")
    ] = False,
    protocol: Annotated[
        Literal["free", "length-given", "teacher-forced", "chomsky"],
        Option(
            metavar="NAME",
            help="free: it must end by itself; length-given: it is stopped; teacher-forced: it sees the right output "
            "so far; chomsky: length-given, and a score as in Delétang et al. 2022.",
        ),
    ] = "free",
    tokens: Annotated[bool, Option("--tokens", help="With --lengths: draw the token accuracy, too.")] = False,
    theme: Theme = "paper",
    mistakes: Annotated[
        bool, Option("--mistakes", help="With several runs: show the wrong answers as well; with one they are shown.")
    ] = False,
    min_exact: Annotated[
        float | None, Option(min=0, max=1, metavar="SHARE", help="Exit with 4 if the exact match is lower.")
    ] = None,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="Save the result in this .json file; left out: numbered in the run.")
    ] = None,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    refuse_together(
        HELP,
        {"--split": split, "--file": file, "--lengths": lengths, "--exhaustive": exhaustive, "--families": families},
    )
    refuse_together(HELP, {"--beam": beam > 1, "--protocol teacher-forced": protocol == "teacher-forced"})
    if count is not None and lengths is None:
        raise UsageError("--count goes with --lengths.", "--lengths 20,50,100")
    if lengths is None and (tokens or theme != "paper"):
        option = "--tokens" if tokens else "--theme"
        raise UsageError(f"{option} goes with --lengths, which draws.", "seqrev evaluate --lengths 20,50,100 --tokens")
    if run is not None and len(run) > 1 and lengths is None:
        raise UsageError("Several runs are compared on lengths.", "seqrev evaluate --run 1 --run 2 --lengths 20,50,100")
    console = Console(json)
    models = [load_model(spec, runs_dir, device, console) for spec in run or (None,)]

    from seqrev.workflows import evaluate as workflow

    sequences = workflow.EvaluationSet(split or "test", file, lengths, count or 64, exhaustive, families)
    with console.progress("families" if families else "sequences" if exhaustive else "lengths") as progress:
        output = workflow.Output(out, theme, tokens)
        outcome = workflow.evaluate(models, sequences, beam, protocol, progress.update, output)
    reports = outcome.reports
    document = reports[0] if len(reports) == 1 else {"runs": reports}
    if len(reports) > 1:
        _compare(console, reports)
    for model, report in zip(models, reports, strict=True):
        _print(console, report, model.config.task.rule)
        if mistakes or len(reports) == 1:
            _print_mistakes(console, report)
    for path in outcome.saved:
        console.note(f"Saved: {path}")
    if outcome.plot is not None:
        console.line(f"picture: {outcome.plot}")
        document = {**document, "plot": str(outcome.plot)}
    if outcome.not_drawn is not None:
        options = [
            ("--lengths", lengths),
            ("--count", count),
            ("--protocol", protocol),
            ("--beam", beam),
            ("--theme", theme),
        ]
        console.not_drawn(outcome.not_drawn, _again(run or (), [*options, ("--runs-dir", runs_dir)], tokens))
    console.document(document)
    if outcome.failure is not None and out is None:
        console.note(f"Warning: this result is not saved. {outcome.failure} Another place: --out FILE.json.")
    worst = min(report["exact_match"] for report in reports)
    if min_exact is not None and not worst >= min_exact:  # nor with NaN is the gate open
        raise QualityError(
            f"The exact match is {worst:.4f}, and at least {min_exact} was asked for.", _better(models[0], reports)
        )
    if outcome.failure is not None and out is not None:
        raise outcome.failure


def _again(runs: "Sequence[str]", options: "Sequence[tuple[str, object]]", tokens: bool) -> str:
    """The command that draws the plot by length."""
    given = [*(("--run", run) for run in runs), *((name, value) for name, value in options if value is not None)]
    return command_line("evaluate", *chain.from_iterable(given), *["--tokens"] * tokens)


def _better(model: "Reverser", reports: "Sequence[dict[str, Any]]") -> str:
    """The training that may lead to a better model."""
    if model.config.task.rule == "pairs":  # whose rows are in this run only
        return command_line("train", "--run", model.run, "--steps", 2 * model.config.train.steps)
    longest = max(row["length"] for report in reports for row in report["by_length"])
    if longest > model.config.task.max_length:
        return command_line("train", "--config", "extrapolate")
    config = "small" if str(model.run) == PRETRAINED else f"{model.run}/config.yaml"
    return command_line("train", "--config", config, "--set", f"train.steps={2 * model.config.train.steps}")


def _title(report: dict[str, Any]) -> str:
    return f"{report['run']}, step {report['step']:,}, {report['protocol'].replace('-', ' ')}"


def _lists_all(report: dict[str, Any]) -> bool:
    """Whether nothing is estimated, and every wrong answer is listed."""
    return "exhaustive" in report or "families" in report


def _compare(console: Console, reports: "Sequence[dict[str, Any]]") -> None:
    """Exact match of every run at every length: a row for each run, or, where there is no room, a column.

    Where there is no room for all columns either, there are several tables.
    """
    names = [report["run"] for report in reports]
    shares = [{f"{row['length']:,}": row["exact_match"] for row in report["by_length"]} for report in reports]
    columns = [{**share, "all": report["exact_match"]} for share, report in zip(shares, reports, strict=True)]
    rows = [[name, *column.values()] for name, column in zip(names, columns, strict=True)]
    lines = align({"exact match": "<", **dict.fromkeys(columns[0], ".4f")}, rows)
    at_once = len(names)
    while not fits(lines) and at_once:
        lines = []
        for start in range(0, len(names), at_once):
            some = {f"{index + 1}: {names[index]}": ".4f" for index in range(len(names))[start : start + at_once]}
            cells = [[length, *(column[length] for column in columns[start : start + at_once])] for length in columns[0]]
            lines += align({"exact match": "", **some}, cells)
        at_once -= 1
    for line in [*lines, ""]:
        console.line(line)


def _print(console: Console, report: dict[str, Any], rule: RuleName) -> None:
    """The table, the score of the protocol, and the anti-diagonal."""
    console.line(_title(report))
    every = _lists_all(report)
    first = "family" if "families" in report else "length"
    columns = {first: ",", "sequences": ",", "exact match": ".4f", "95 %": "", "tokens": ".4f"}
    columns |= {"early": ",", "over": ",", "wrong": ","}
    drop = [*(["95 %"] if every else []), "tokens", ("early", "over", "wrong"), "95 %", "sequences"]
    rows = []
    for row in ({**report, first: "all"}, *report.get("families", report["by_length"])):
        interval = "-" if every else "{:.3f}-{:.3f}".format(*row["interval"])  # that of a sample
        shares = (row["exact_match"], interval, row["token_accuracy"])
        rows.append((row[first], row["sequences"], *shares, *row["errors"].values()))
    console.table(columns, rows, drop)
    for score in report.get("anti_diagonal", ())[:1]:
        if score["mass"] is not None:
            found = f"mass {score['mass']:.3f}, hit {score['hit']:.3f}"
            console.data(f"{alignment_name(rule)} (head mean, last decoder layer): {found}")
    if report.get("other_rule"):
        console.note(f"Note: the targets of the file are not those of the rule that was learned, {rule}.")
    if "score" in report:
        console.data(f"score (mean over the lengths of the token accuracy): {report['score']:.4f}")


def _print_mistakes(console: Console, report: dict[str, Any]) -> None:
    """Wrong answers: those that were kept, in full, or a line for each where every sequence counts."""
    every, shown = _lists_all(report), report["mistakes"][:LINES_SHOWN]
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
    names = {EOS - FIRST_SYMBOL: "<EOS>", BOS - FIRST_SYMBOL: "<BOS>", PAD - FIRST_SYMBOL: "<PAD>"}  # if teacher-forced
    return " ".join(names.get(symbol, str(symbol)) for symbol in sequence[:SYMBOLS_SHOWN]) + more
