"""Property-based fuzzing of what a stranger can hand over: six surfaces, random bytes and mutated valid input."""

from collections.abc import Callable
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from seqrev.api import reverser
from seqrev.runs.folders import Run
from tests.helpers import run_main
from tests.helpers import settings as options
from tests.torture.common import Outcome, Size, scratch
from tests.torture.fuzz.surfaces import SURFACES, Target

EXAMPLES = {"fast": 200, "long": 10_000}
MODEL = ("model.d_model=8", "model.d_ff=8", "train.steps=4", "train.validate_every=2", "train.warmup_steps=1")
SMALL = ("data.train=9", "data.validation=5", "data.test=5")


def fuzz(size: Size, seed_: int) -> Outcome:
    """Every surface, as often as the size asks for."""
    with scratch() as folder:
        run = Run(Path(folder) / "runs" / "001")
        trained = run_main("train", *options(), *options((*MODEL, *SMALL)), "--runs-dir", run.path.parent)
        assert trained.code == 0, trained.err
        target, model, counts = Target.of(run), reverser.load(run), {}
        with (
            mock.patch.object(reverser, "load", return_value=model),
            mock.patch("seqrev.runs.record._git", return_value=None),
            mock.patch("os.fsync"),
        ):
            for surface in SURFACES:
                counts[surface.__name__] = _explore(surface, target, EXAMPLES[size], seed_)
                print(f"  {surface.__name__.replace('_', ' ')}: {counts[surface.__name__]:,}", flush=True)
                there = {path.name for path in run.path.parent.iterdir()}
                assert there <= {"001", ".numbers", "evil.yaml", "evil.txt"}, there
        assert [path.name for path in Path(folder).iterdir()] == ["runs"]
        for name, content in target.valid.items():
            assert (run.path / name).read_bytes() == content, name
    return Outcome(sum(counts.values()), "; ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()))


def _explore(surface: Callable[[st.DataObject, Target], None], target: Target, examples: int, seed_: int) -> int:
    count = 0

    @seed(seed_)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.data())
    def explored(data: st.DataObject) -> None:
        nonlocal count
        count += 1
        surface(data, target)

    explored()
    assert count >= examples, count
    return count
