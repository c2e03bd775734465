"""The files in configs/: each is what its first line says, and does what that line promises to someone who types it."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from seqrev.config import Config, ModelConfig, load_config
from seqrev.config_files import CONFIGS as NAMES
from seqrev.config_files import SWEEPS as SWEEP_NAMES
from seqrev.data.sampling import check_possible, fresh_sequences
from seqrev.model.transformer import Transformer
from seqrev.task import EXTRAPOLATE_LONGEST, vocabulary_size
from seqrev.workflows.evaluate import parse_lengths
from seqrev.workflows.sweep_plan import read_sweep

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
    assert sorted(NAMES) == [path.stem for path in CONFIGS]
    assert sorted(SWEEP_NAMES) == [Path(name).stem for name in SWEEPS]


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
    members = read_sweep(REPOSITORY / "configs" / sweep).members
    return next(member.config for member in members if member.variant == variant)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_opens_with_the_command_that_runs_it(sweep: str) -> None:
    assert comment(REPOSITORY / "configs" / sweep)[0] == f"seqrev sweep configs/{sweep}"


@pytest.mark.parametrize(("sweep", "variant"), VARIANTS)
def test_a_variant_of_a_sweep_is_valid_and_takes_every_length(sweep: str, variant: str) -> None:
    config = variant_of(sweep, variant)
    check_possible(config)
    longest = max(SWEEPS[sweep]["lengths"]) + 2
    assert longest <= (config.model.random_positions or longest)
    assert (config == variant_of(sweep, "the recipe")) == (variant == "the recipe")
    assert SWEEPS[sweep]["variants"]["the recipe"] == []


@pytest.mark.parametrize("sweep", SWEEPS)
def test_variants_are_different_models_or_noise_on_the_same_data(sweep: str) -> None:
    configs = [variant_of(sweep, variant) for variant in SWEEPS[sweep]["variants"]]
    noise = {"target_noise": 0.0}
    assert len({*configs}) == len(configs)
    assert len({(config.train.model_copy(update=noise), config.data, config.task) for config in configs}) == 1
    if sweep == "ablation.yaml":
        schemes = get_args(ModelConfig.model_fields["positions"].annotation)
        assert {config.model.positions for config in configs} == {*schemes}
