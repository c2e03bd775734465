"""``seqrev generate``: open a run folder and fill its dataset."""

from pathlib import Path
from typing import Annotated

from typer import Option

from seqrev.cli.console import Console
from seqrev.cli.help import described
from seqrev.cli.options import ConfigFile, Json, RunsDir, Seed, Set
from seqrev.errors import command_line
from seqrev.system.signals import stop_requests


@described(
    "Open a new run and write its dataset.",
    "`seqrev train --run …` goes on from there.",
)
def command(
    config: ConfigFile = None,
    from_: Annotated[
        Path | None,
        Option("--from", metavar="FILE", help="Your own pairs: source, tab, target; or JSONL rows with src and tgt."),
    ] = None,
    set_: Set = None,
    seed: Seed = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    from seqrev.config import load_config
    from seqrev.workflows import generate as workflow

    console = Console(json)
    wanted, rows = load_config(config, set_ or (), seed), None
    if from_ is None:
        run = workflow.new_run(wanted, runs_dir)
    else:
        run, rows = workflow.new_run_of_pairs(from_, wanted, runs_dir)
    with stop_requests() as stop, console.progress("sequences") as progress:
        stop.hint = command_line("train", "--run", run)
        manifest = workflow.generate(run, progress.update, rows)
    sequences = {split: entry["rows"] for split, entry in manifest["splits"].items()}
    console.line(f"{run.data}: " + ", ".join(f"{count:,} {split}" for split, count in sequences.items()))
    columns = ["length", *sequences]
    console.table(dict.fromkeys(columns, ","), [[row[name] for name in columns] for row in manifest["by_length"]])
    console.data(f"sequences in more than one split: {manifest['overlap']}")
    kept = {name: manifest[name] for name in ("by_length", "overlap", "sha256")}
    console.document({"run": str(run), "sequences": sequences, **kept})
    console.note("Next: " + command_line("train", "--run", run))
