import re
from pathlib import Path

import pytest

from seqrev.config import load_config
from seqrev.config_files import CONFIGS, SWEEPS, find_config, read_tree
from seqrev.errors import InputError
from seqrev.workflows.sweep_plan import read_sweep
from tests.helpers import Cli, assert_refused

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_of_the_package_is_found_by_name(name: str) -> None:
    assert load_config(name) == load_config(ROOT / "configs" / f"{name}.yaml")


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_of_the_package_is_found_by_name_and_with_its_base(name: str) -> None:
    assert read_sweep(Path(name)).members == read_sweep(ROOT / "configs" / f"{name}.yaml").members


def test_the_base_of_a_sweep_may_be_a_name() -> None:
    Path("mine.yaml").write_text("{base: fast, seeds: [7], lengths: [3], sequences: 2, variants: {plain: []}}")
    (member,) = read_sweep(Path("mine.yaml")).members
    assert member.config == load_config("fast", seed=7)


def test_a_file_that_is_there_wins() -> None:
    Path("small").write_text("seed: 5\n")
    Path("fast").mkdir()
    assert load_config("small").seed == 5
    assert load_config("./small").seed == 5
    assert load_config("fast") == load_config(ROOT / "configs" / "fast.yaml")


def test_a_file_as_windows_writes_it_is_read() -> None:
    Path("mine.yaml").write_bytes("seed: 5\r\ntask: {symbols: 7}\r\n".encode("utf-8-sig"))
    config = load_config("mine.yaml")
    assert (config.seed, config.task.symbols) == (5, 7)


@pytest.mark.parametrize("name", ["smal", "small.yaml", "./small", "configs/small", "rule", "", "a" * 5000, "\0"])
def test_what_is_neither_a_file_nor_a_name_is_refused(name: str) -> None:
    assert find_config(name) == Path(name)
    with pytest.raises(InputError):
        load_config(name)


def test_a_sweep_is_no_configuration_nor_the_other_way_round(cli: Cli) -> None:
    Path("mine.yaml").write_text("{base: fast, seeds: [7], lengths: [3], sequences: 2, variants: {plain: []}}")
    Path("one.yaml").write_text("{seed: 7}")
    for name in ("ablation", "mine.yaml"):
        assert_refused(cli("train", "--config", name), 2, f"{name} is a sweep", f"Try: seqrev sweep {name}")
    for name in ("small", "one.yaml"):
        assert_refused(cli("sweep", name), 2, f"{name} is a configuration", f"Try: seqrev train --config {name}")


def test_the_names_are_said_where_they_could_have_been_meant(cli: Cli) -> None:
    says = f"smal does not exist; a YAML file, or one of {', '.join(CONFIGS)}, was expected."
    assert_refused(cli("generate", "--config", "smal"), 3, says)
    assert_refused(
        cli("sweep", "rule"), 3, f"rule does not exist; a YAML file, or one of {', '.join(SWEEPS)}, was expected."
    )
    with pytest.raises(InputError, match=re.escape("runs/001/config.yaml does not exist; a YAML file was expected.")):
        read_tree(Path("runs/001/config.yaml"), follow=False)
