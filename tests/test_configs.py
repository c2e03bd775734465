"""The files in configs/: each is what its first line says, and does what that line promises to someone who types it."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn, get_args

import pytest
import yaml

from seqrev.config import Config, ModelConfig, load_config
from seqrev.data.sampling import check_possible, fresh_sequences
from seqrev.model.transformer import Transformer
from seqrev.task import EXTRAPOLATE_LONGEST, vocabulary_size
from seqrev.workflows.evaluate import parse_lengths
from tests.helpers import TINY, load_benchmark

REPOSITORY = Path(__file__).parents[1]
FILES = sorted((REPOSITORY / "configs").iterdir())
CONFIGS = [path for path in FILES if "base" not in yaml.safe_load(path.read_text())]
SWEEPS: dict[str, dict[str, Any]] = {path.name: yaml.safe_load(path.read_text()) for path in FILES if path not in CONFIGS}
VARIANTS = [(name, variant) for name, sweep in SWEEPS.items() for variant in sweep["variants"]]


def comment(path: Path) -> list[str]:
    """The lines above the first field, without their mark."""
    lines = path.read_text().splitlines()
    head = lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))]
    return [line.removeprefix("#").strip() for line in head]


def test_configurations_are_yaml_and_there_are_those_that_hints_name() -> None:
    assert {path.suffix for path in FILES} == {".yaml"}
    assert {"small.yaml", "extrapolate.yaml"} <= {path.name for path in CONFIGS}
    assert "ablation.yaml" in SWEEPS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_is_valid_and_opens_with_the_command_that_uses_it(path: Path) -> None:
    config = load_config(path)
    check_possible(config)
    assert comment(path)[0] == f"seqrev train --config configs/{path.name}"
    assert len(" ".join(comment(path))) > 100  # and says what it is good for


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_lengths_that_a_comment_evaluates_are_taken_by_the_model(path: Path) -> None:
    config = load_config(path)
    model = Transformer(config.model, vocabulary_size(config.task.symbols))
    for text in re.findall(r"--lengths (\S+)", " ".join(comment(path))):
        lengths = parse_lengths(text)
        assert lengths[-1] <= model.longest_source
        assert all(fresh_sequences(length, 2, config) for length in lengths)


def test_the_recipe_trains_on_short_sequences_and_takes_long_ones() -> None:
    config = load_config(REPOSITORY / "configs" / "extrapolate.yaml")
    assert config.task.max_length == 10
    assert config.model.max_positions > 100_000
    assert config.model.max_positions == EXTRAPOLATE_LONGEST + 2


# --- the sweep --------------------------------------------------------------------------------------------------------


def variant_of(sweep: str, variant: str) -> Config:
    content = SWEEPS[sweep]
    changes = load_benchmark("compare_positions").unfold(content["variants"][variant])
    return load_config(REPOSITORY / content["base"], [*content.get("set", []), *changes], seed=1)


def test_a_list_of_assignments_stands_for_its_own() -> None:
    unfold = load_benchmark("compare_positions").unfold
    assert unfold(["a=1", ["b=2", ["c=3"], []], "a=4"]) == ["a=1", "b=2", "c=3", "a=4"]  # the last one counts


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_opens_with_the_command_that_runs_it(sweep: str) -> None:
    script = "benchmarks/compare_positions.py"
    assert comment(REPOSITORY / "configs" / sweep)[0] == f"python {script} --sweep configs/{sweep}"
    assert (REPOSITORY / script).is_file()
    assert set(SWEEPS[sweep]) - {"set"} == {"base", "seeds", "lengths", "sequences", "variants"}


@pytest.mark.parametrize(("sweep", "variant"), VARIANTS)
def test_a_variant_of_a_sweep_is_valid_and_takes_every_length(sweep: str, variant: str) -> None:
    config = variant_of(sweep, variant)
    check_possible(config)
    longest = max(SWEEPS[sweep]["lengths"]) + 2
    assert longest <= config.model.max_positions
    assert longest <= (config.model.random_positions or longest)
    assert (config == variant_of(sweep, "the recipe")) == (variant == "the recipe")
    assert SWEEPS[sweep]["variants"]["the recipe"] == []


@pytest.mark.parametrize("sweep", SWEEPS)
def test_variants_differ_in_the_model_alone(sweep: str) -> None:
    configs = [variant_of(sweep, variant) for variant in SWEEPS[sweep]["variants"]]
    assert len({repr(config.model) for config in configs}) == len(configs)
    assert len({repr((config.train, config.data, config.task)) for config in configs}) == 1
    if sweep == "ablation.yaml":
        schemes = get_args(ModelConfig.model_fields["positions"].annotation)
        assert {config.model.positions for config in configs} == {*schemes}


@pytest.fixture
def compare_positions() -> ModuleType:
    """The benchmark as a module."""
    return load_benchmark("compare_positions")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a tiny sweep over two variants and two seeds reports to; the command line names both."""
    base, sweep, folder = tmp_path / "base.yaml", tmp_path / "sweep.yaml", tmp_path / "out"
    base.write_text(yaml.safe_dump(load_config(overrides=[*TINY, "train.steps=3"]).model_dump()))
    changes = {"plain": [], "rotary": ["model.positions=rotary", "model.source_from=end"]}
    content = {"base": str(base), "seeds": [0, 1], "lengths": [3, 8], "sequences": 4, "variants": changes}
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.setattr(
        "sys.argv", ["compare_positions.py", "--sweep", str(sweep), "--out", str(folder), "--results", str(folder)]
    )
    return folder


def no_more_work(*arguments: object) -> NoReturn:
    raise AssertionError(f"measured once more: {arguments}")


def test_a_sweep_writes_a_table_a_picture_and_its_numbers(
    compare_positions: ModuleType, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_positions.main()
    results = json.loads((out / "sweep.json").read_text())
    assert list(results) == ["plain / 0", "rotary / 0", "plain / 1", "rotary / 1"]
    for exact in (result["exact"] for result in results.values()):
        assert list(exact) == (["3", "8"] if exact["3"] else ["3"])  # nothing right: no longer ones are asked for
        assert all(0 <= share <= 1 and share * 4 == int(share * 4) for share in exact.values())
    table = (out / "sweep.md").read_text().splitlines()[2:]  # after the caption
    assert table[:2] == ["| variant | 3 | 8 |", "|---|---|---|"]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["plain", "rotary"]
    for line in table[2:]:
        name, *shown = [cell.strip() for cell in line.strip("|").split("|")]
        for length, text in zip(("3", "8"), shown, strict=True):
            shares = [results[f"{name} / {seed}"]["exact"].get(length, 0.0) for seed in (0, 1)]
            assert abs(float(text.split()[0]) - sum(shares) / 2) <= 0.0051
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == ["sweep.json", "sweep.md", "sweep.png"]
    assert "\n".join(table) in capsys.readouterr().out


@pytest.mark.parametrize(("shares", "asked"), [({3: 1.0, 8: 0.5}, [3, 8]), ({3: 0.0, 8: 0.5}, [3])])
def test_longer_sequences_are_asked_for_until_nothing_is_right(
    compare_positions: ModuleType, monkeypatch: pytest.MonkeyPatch, shares: dict[int, float], asked: list[int]
) -> None:
    config = load_config(overrides=[*TINY, "train.steps=1", "model.positions=none"])

    def evaluate(_: Transformer, sequences: list[list[int]]) -> SimpleNamespace:
        return SimpleNamespace(overall=SimpleNamespace(exact_match=shares[len(sequences[0])]))

    monkeypatch.setattr(compare_positions, "evaluate", evaluate)
    exact = compare_positions.measure(config, [8, 3], 4)
    assert exact == {str(length): shares[length] for length in asked}


def test_an_interrupted_sweep_goes_on_where_it_stopped(
    compare_positions: ModuleType, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_positions.main()
    whole = (out / "sweep.json").read_text()
    results = json.loads(whole)
    del results["rotary / 1"]
    (out / "sweep.json").write_text(json.dumps(results))
    measured: list[tuple[str, int]] = []
    original = compare_positions.measure

    def spy(config: Config, lengths: list[int], count: int) -> dict[str, float]:
        measured.append((config.model.positions, config.seed))
        exact: dict[str, float] = original(config, lengths, count)
        return exact

    monkeypatch.setattr(compare_positions, "measure", spy)
    compare_positions.main()
    assert measured == [("rotary", 1)]
    assert (out / "sweep.json").read_text() == whole
    monkeypatch.setattr(compare_positions, "measure", no_more_work)
    compare_positions.main()
    assert (out / "sweep.json").read_text() == whole


def test_what_was_changed_is_measured_anew(
    compare_positions: ModuleType, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def spy(config: Config, lengths: list[int], count: int) -> dict[str, float]:
        seeds.append(config.seed)
        assert count == 4
        return {str(length): config.train.steps / 10 for length in lengths}

    monkeypatch.setattr(compare_positions, "measure", spy)
    compare_positions.main()
    base = out.parent / "base.yaml"
    base.write_text(base.read_text().replace("steps: 3", "steps: 4"))
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", [*sys.argv, "--variant", "rotary"])
        compare_positions.main()
    assert seeds == [0, 0, 1, 1, 0, 1]
    assert (out / "sweep.md").read_text().splitlines()[4:] == ["| rotary | 0.40 | 0.40 |"]  # nothing that is out of date
    compare_positions.main()
    assert seeds == [0, 0, 1, 1, 0, 1, 0, 1]
    assert (out / "sweep.md").read_text().splitlines()[4:] == ["| plain | 0.40 | 0.40 |", "| rotary | 0.40 | 0.40 |"]


def test_one_variant_can_be_asked_for(
    compare_positions: ModuleType, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_positions, "measure", lambda config, lengths, count: {"3": 1.0, "8": 0.5 * config.seed})
    monkeypatch.setattr("sys.argv", [*sys.argv, "--variant", "rotary"])
    compare_positions.main()
    assert list(json.loads((out / "sweep.json").read_text())) == ["rotary / 0", "rotary / 1"]
    assert (out / "sweep.md").read_text().splitlines()[4:] == ["| rotary | 1.00 | 0.25 (0.00–0.50) |"]
    assert "plain" not in capsys.readouterr().out
