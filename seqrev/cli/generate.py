"""``seqrev generate``: open a run folder and fill its dataset."""

from typing import TYPE_CHECKING, Any

from seqrev.cli.options import DEFAULT_RUNS, ConfigFile, Json, RunsDir, Seed, Set
from seqrev.console import Console
from seqrev.signals import stop_requests

if TYPE_CHECKING:
    from seqrev.runs import Run


def command(
    config: ConfigFile = None,
    set_: Set = None,
    seed: Seed = None,
    runs_dir: RunsDir = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Open a new run and write its dataset.

    `seqrev train --run …` goes on from there.
    """
    from seqrev.config import load_config
    from seqrev.generation import start

    console = Console(json)
    run = start(load_config(config, set_ or (), seed), runs_dir)
    with stop_requests() as stop:
        stop.hint = f"seqrev train --run {run}"
        manifest = fill(run, console)
    sequences = {split: entry["rows"] for split, entry in manifest["splits"].items()}
    console.line(f"{run.data}: " + ", ".join(f"{count:,} {split}" for split, count in sequences.items()))
    columns = ["length", *sequences]
    console.table(columns, [[f"{row[name]:,}" for name in columns] for row in manifest["by_length"]])
    console.data(f"sequences in more than one split: {manifest['overlap']}")
    console.document(
        {
            "run": str(run),
            "sequences": sequences,
            "by_length": manifest["by_length"],
            "overlap": manifest["overlap"],
            "sha256": manifest["sha256"],
        }
    )
    console.note(f"Next: seqrev train --run {run}")


def fill(run: "Run", console: Console) -> dict[str, Any]:
    """Generate a run's dataset under a progress bar; returns its manifest."""
    from seqrev.data import splits_of
    from seqrev.generation import generate

    done = 0
    with console.progress(sum(splits_of(run.config()).values()), "sequences") as progress:

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            progress.update(done)

        return generate(run, advance)
