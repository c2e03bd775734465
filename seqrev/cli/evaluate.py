"""``seqrev evaluate``: how good is a trained model?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqrev.cli.options import DEFAULT_RUNS, Beam, Device, Json, RunsDir, RunSpec, load_model
from seqrev.console import Console
from seqrev.errors import QualityError, UsageError

if TYPE_CHECKING:
    pass


def command(
    run: RunSpec = None,
    split: Annotated[str | None, typer.Option("--split", help="train, validation or test (the default).")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Your own sequences: one a line, or JSONL rows with src.")
    ] = None,
    min_exact: Annotated[
        float | None, typer.Option("--min-exact", min=0, max=1, help="Exit with 4 if the exact match is lower.")
    ] = None,
    beam: Beam = 1,
    device: Device = "auto",
    runs_dir: RunsDir = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Let the model answer freely, and count what is exactly right: overall, by length, and by kind of error."""
    if split is not None and file is not None:
        raise UsageError(
            "--split and --file are two sources of sequences; give one of them.", "seqrev evaluate --split test"
        )
    console = Console(json)
    model = load_model(run, runs_dir, device, console)
    from seqrev.data import SPLITS, load_split, read_sequences
    from seqrev.evaluation import evaluate
    from seqrev.files import write_json
    from seqrev.interpret import anti_diagonal, scores_to_json

    split = split or "test"
    symbols = model.config.task.symbols
    if file is not None:
        sources = read_sequences(file, symbols, model.longest_source)
    elif split in SPLITS:
        sources = load_split(model.run.data, split, symbols)
    else:
        raise UsageError(f"{split!r} is not a split; there are {', '.join(SPLITS)}.", "seqrev evaluate --split test")

    result = evaluate(model.model, sources, beam).to_dict()
    if file is None:
        result["anti_diagonal"] = scores_to_json(anti_diagonal(model.model, sources))
    origin = {"file": str(file)} if file is not None else {"split": split}
    report = {"run": str(model.run), "step": model.checkpoint.step, **origin, "beam": beam, **result}
    saved = model.run.numbered("evaluation", ".json")
    write_json(saved, report)
    _print(console, report)
    console.document(report)
    console.note(f"Saved: {saved}")
    if min_exact is not None and result["exact_match"] < min_exact:
        raise QualityError(
            f"The exact match is {result['exact_match']:.4f}, and at least {min_exact} was asked for.",
            f"seqrev train --set train.steps={2 * model.config.train.steps}",
        )


def _print(console: Console, report: dict[str, Any]) -> None:
    rows = [{"length": "all", **report}, *report["by_length"]]
    console.table(
        ("length", "sequences", "exact match", "token accuracy"),
        [
            (str(row["length"]), f"{row['sequences']:,}", f"{row['exact_match']:.4f}", f"{row['token_accuracy']:.4f}")
            for row in rows
        ],
    )
    errors = report["errors"]
    console.data(", ".join(f"{kind.replace('_', ' ')}: {count:,}" for kind, count in errors.items()))
    for score in report.get("anti_diagonal", ())[:1]:
        console.data(f"anti-diagonal (head mean, last decoder layer): mass {score['mass']:.3f}, hit {score['hit']:.3f}")
    for mistake in report["mistakes"]:
        kind = mistake["kind"].replace("_", " ")
        console.data(f"\n{kind}\n  source    {_line(mistake['source'])}\n  expected  {_line(mistake['expected'])}")
        console.data(f"  output    {_line(mistake['output'])}")


def _line(symbols: list[int]) -> str:
    shown = " ".join(map(str, symbols[:40]))
    return shown + (f" … ({len(symbols):,} symbols)" if len(symbols) > 40 else "")
