"""``seqrev evaluate``: how good is a trained model?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqrev.cli.options import DEFAULT_RUNS, Beam, Device, Json, RunsDir, load_model
from seqrev.console import Console
from seqrev.errors import QualityError, UsageError

if TYPE_CHECKING:
    from seqrev.api import Reverser
    from seqrev.evaluation import Protocol

HELP = "seqrev evaluate --help"


def command(
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="runs/001, 001, 1 or latest; with --lengths it may be repeated."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="train, validation or test (the default).")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Your own sequences: one a line, or JSONL rows with src.")
    ] = None,
    lengths: Annotated[
        str | None, typer.Option("--lengths", help="Fresh sequences of these lengths: 20,50,100 or 10:1000:10.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, max=1_000_000, help="With --lengths: sequences of each; left out: 64.")
    ] = None,
    length_given: Annotated[
        bool, typer.Option("--length-given", help="Stop every answer at the right length; <EOS> is not asked for.")
    ] = False,
    teacher_forced: Annotated[
        bool, typer.Option("--teacher-forced", help="Show the model the right output so far at every step.")
    ] = False,
    min_exact: Annotated[
        float | None, typer.Option("--min-exact", min=0, max=1, help="Exit with 4 if the exact match is lower.")
    ] = None,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Count what a model gets exactly right.

    It answers freely and must end by itself; overall, by length, and by kind of error.
    """
    if sum(option is not None for option in (split, file, lengths)) > 1:
        raise UsageError("--split, --file and --lengths are three sources of sequences; give one of them.", HELP)
    if count is not None and lengths is None:
        raise UsageError("--count goes with --lengths.", "seqrev evaluate --lengths 20,50,100 --count 64")
    if teacher_forced and beam > 1:
        raise UsageError("--beam and --teacher-forced do not go together: nothing is searched for.", HELP)
    if length_given and teacher_forced:
        raise UsageError("--length-given and --teacher-forced are two protocols; give one of them.", HELP)
    specs: list[str | None] = [*run] if run else [None]
    if len(specs) > 1 and lengths is None:
        raise UsageError("Several runs are compared on lengths.", "seqrev evaluate --run 1 --run 2 --lengths 20,50,100")
    console = Console(json)
    models = [load_model(spec, runs_dir, device, console) for spec in specs]
    protocol: Protocol = "length_given" if length_given else "teacher_forced" if teacher_forced else "free"
    if lengths is not None:
        reports = _on_lengths(models, lengths, count or 64, beam, protocol, console)
    else:
        reports = [_on_sequences(models[0], split, file, beam, protocol)]

    from seqrev.files import write_json

    for model, report in zip(models, reports, strict=True):
        _print(console, report)
        saved = model.run.numbered("evaluation", ".json")
        write_json(saved, report)
        console.note(f"Saved: {saved}")
    plot = {"plot": _plot(models, reports, saved.with_suffix(".png"), console)} if lengths is not None else {}
    console.document({**reports[0], **plot} if len(reports) == 1 else {"runs": reports, **plot})
    worst = min(report["exact_match"] for report in reports)
    if min_exact is not None and not worst >= min_exact:  # nor with NaN is the gate open
        raise QualityError(
            f"The exact match is {worst:.4f}, and at least {min_exact} was asked for.",
            f"seqrev train --config {models[0].run}/config.yaml --set train.steps={2 * models[0].config.train.steps}",
        )


def _on_sequences(
    model: "Reverser", split: str | None, file: Path | None, beam: int, protocol: "Protocol"
) -> dict[str, Any]:
    """Evaluate on a split of the run's dataset, or on the user's file."""
    from seqrev.data import SPLITS, load_split
    from seqrev.evaluation import evaluate
    from seqrev.interpret import anti_diagonal, scores_to_json
    from seqrev.sequences import read_sequences

    symbols = model.config.task.symbols
    if file is not None:
        given = read_sequences(file, symbols, model.longest_source)
        return {**_head(model, beam, protocol, file=str(file)), **evaluate(model.model, given, beam, protocol).to_dict()}
    name = split or "test"
    if name not in SPLITS:
        raise UsageError(f"{name!r} is not a split; there are {', '.join(SPLITS)}.", "seqrev evaluate --split test")
    sources = load_split(model.run.data, name, model.config)
    scores = {"anti_diagonal": scores_to_json(anti_diagonal(model.model, sources))}
    return {
        **_head(model, beam, protocol, split=name),
        **evaluate(model.model, sources, beam, protocol).to_dict(),
        **scores,
    }


def _on_lengths(
    models: "list[Reverser]", text: str, count: int, beam: int, protocol: "Protocol", console: Console
) -> list[dict[str, Any]]:
    """Evaluate each model on fresh sequences of the same lengths; none of them was in any training split."""
    from seqrev.data import fresh_sequences
    from seqrev.evaluation import Evaluation, evaluate, parse_lengths
    from seqrev.task import check_length

    lengths = parse_lengths(text)
    for model in models:
        check_length(lengths[-1], model.longest_source)
    reports = []
    with console.progress(len(models) * len(lengths), "lengths") as progress:
        for number, model in enumerate(models):
            result = Evaluation()
            for place, length in enumerate(lengths):
                result.merge(evaluate(model.model, fresh_sequences(length, count, model.config), beam, protocol))
                exact = result.by_length[length].exact_match
                progress.update(number * len(lengths) + place + 1, f"length {length:,}: exact match {exact:.3f}")
            reports.append({**_head(model, beam, protocol, lengths=text), **result.to_dict()})
    return reports


def _head(model: "Reverser", beam: int, protocol: str, **origin: str) -> dict[str, Any]:
    return {"run": str(model.run), "step": model.checkpoint.step, **origin, "beam": beam, "protocol": protocol}


def _plot(models: "list[Reverser]", reports: list[dict[str, Any]], path: Path, console: Console) -> str:
    from seqrev import plots

    curves = []
    for report in reports:
        rows = report["by_length"]
        intervals = [(row["interval"][0], row["interval"][1]) for row in rows]
        lengths = [row["length"] for row in rows]
        curves.append(plots.Curve(report["run"], lengths, [row["exact_match"] for row in rows], intervals))
    task = models[0].config.task
    protocol = reports[0]["protocol"].replace("_", " ")
    figure = plots.accuracy_by_length(curves, (task.min_length, task.max_length), f"exact match by length ({protocol})")
    plots.save_figure(figure, path)
    console.line(f"picture: {path}")
    return str(path)


def _print(console: Console, report: dict[str, Any]) -> None:
    console.line(f"{report['run']}, step {report['step']:,}, {report['protocol'].replace('_', ' ')}")
    rows = [{"length": "all", **report}, *report["by_length"]]
    console.table(
        ("length", "sequences", "exact match", "95 %", "tokens", "early", "over", "wrong"),
        [
            (
                row["length"] if isinstance(row["length"], str) else f"{row['length']:,}",
                f"{row['sequences']:,}",
                f"{row['exact_match']:.4f}",
                "{:.3f}-{:.3f}".format(*row["interval"]),
                f"{row['token_accuracy']:.4f}",
                *(f"{count:,}" for count in row["errors"].values()),
            )
            for row in rows
        ],
    )
    for score in report.get("anti_diagonal", ())[:1]:
        console.data(f"anti-diagonal (head mean, last decoder layer): mass {score['mass']:.3f}, hit {score['hit']:.3f}")
    for mistake in report["mistakes"]:
        kind = mistake["kind"].replace("_", " ")
        console.data(f"\n{kind}\n  source    {_line(mistake['source'])}\n  expected  {_line(mistake['expected'])}")
        console.data(f"  output    {_line(mistake['output'])}")


def _line(symbols: list[int]) -> str:
    shown = " ".join(map(str, symbols[:40]))
    return shown + (f" … ({len(symbols):,} symbols)" if len(symbols) > 40 else "")
