import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrev.config import Config, fields, load_config, parse_config, to_yaml
from seqrev.errors import InputError, UsageError


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def message(*overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(overrides=overrides)
    assert caught.value.hint
    return str(caught.value)


def test_without_a_file_all_is_default() -> None:
    assert load_config() == Config()


def test_every_field_has_a_description_and_its_default() -> None:
    listed = list(fields())
    assert len(listed) > 20
    for name, default, description in listed:
        assert description.endswith("."), name
        tree: Any = Config().model_dump()
        for part in name.split("."):
            tree = tree[part]
        assert yaml.safe_load(default) == tree or default == str(tree)


def test_values_come_from_the_file_then_set_then_seed(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: 1\ntask: {symbols: 7, max_length: 6}\n")
    config = load_config(path, ["task.symbols=8", "seed=2"], seed=3)
    assert (config.seed, config.task.symbols, config.task.max_length) == (3, 8, 6)
    assert config.task.min_length == Config().task.min_length


def test_a_seed_may_be_a_number_of_numpy_and_one_override_a_text() -> None:
    config = load_config(overrides="train.steps=7", seed=np.int64(3))
    assert (config.train.steps, config.seed) == (7, 3)
    assert type(config.seed) is int
    for wrong in (True, np.float64(3), "3"):
        with pytest.raises(UsageError, match="the configuration is not valid: seed is "):
            load_config(seed=wrong)  # type: ignore[arg-type]


def test_set_splits_at_the_first_equals_sign() -> None:
    assert "a=b" in message("task.symbols=a=b")
    assert "has no value" in message("task.symbols")


def test_the_last_of_two_assignments_counts() -> None:
    assert load_config(overrides=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("unknown", "close"), [("train.stps", "train.steps"), ("symbols", "task.symbols"), ("data.trian", "data.train")]
)
def test_an_unknown_name_is_refused_with_close_ones(unknown: str, close: str) -> None:
    text = message(f"{unknown}=3")
    assert f"no field {unknown}" in text
    assert "did you mean" in text
    assert close in text


def test_an_unknown_name_with_no_close_one_gets_no_proposal() -> None:
    assert "did you mean" not in message("zzzzqqqq=3")


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = message("task.symbols=1", "train.lr=abc", "data.stream=7", "model.hedas=2", "seed=-1")
    for name in ("task.symbols", "train.lr", "data.stream", "model.hedas", "seed"):
        assert name in text


@pytest.mark.parametrize(
    ("assignment", "name"),
    [
        ("task.symbols=ten", "task.symbols"),
        ("task.symbols=1.5", "task.symbols"),
        ("task.symbols=true", "task.symbols"),
        ("task.symbols=null", "task.symbols"),
        ("task.symbols=[3]", "task.symbols"),
        ("task.symbols=1000000000000", "task.symbols"),
        ("task.max_length=1e12", "task.max_length"),
        ("task.max_length=1000000000000", "task.max_length"),
        ("train.lr=true", "train.lr"),
        ("train.optimizer=sgd", "train.optimizer"),
        ("train.stop_at=0", "train.stop_at"),
        ("train.stop_at=1.01", "train.stop_at"),
        ("train.stop_at=yes", "train.stop_at"),
        ("train.lr=fast", "train.lr"),
        ("train.lr=-1", "train.lr"),
        ("train.lr=.inf", "train.lr"),
        ("train.lr=.nan", "train.lr"),
        ("train.steps=0", "train.steps"),
        ("train.steps='5'", "train.steps"),
        ("model.dropout=1", "model.dropout"),
        ("model.dropout=false", "model.dropout"),
        ("model.position_base=1", "model.position_base"),
        ("model.positions=guessed", "model.positions"),
        ("data.stream=1", "data.stream"),
        ("data.stream='yes'", "data.stream"),
        ("task=3", "task"),
        ("seed=9223372036854775808", "seed"),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_refused_by_name(assignment: str, name: str) -> None:
    text = message(assignment)
    assert re.search(rf"not valid: {re.escape(name)}( is |: )", text), text
    assert "hould be" in text


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "'0.001'"])
def test_a_number_is_read_however_it_is_written(text: str) -> None:
    assert load_config(overrides=[f"train.lr={text}"]).train.lr == 1e-3


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("task.min_length=5", "task.max_length=4"), "min_length is 5, more than max_length, which is 4"),
        (("model.d_model=30", "model.heads=4"), "a multiple of 2 times heads (4) is needed"),
        (
            ("model.d_model=12", "model.heads=2", "model.source_from=both", "model.positions=rotary"),
            "a multiple of 4 times heads (2) is needed with source_from: both",
        ),
        (("model.source_from=both",), "goes with rotary positions only, not with sinusoidal"),
        (("model.max_positions=11",), "more than model.max_positions"),
        (("train.weight_decay=0.1",), "train: weight_decay is 0.1, which goes with optimizer=adamw, and not with adam"),
    ],
)
def test_values_that_do_not_go_together_are_refused(overrides: tuple[str, ...], says: str) -> None:
    assert says in message(*overrides)


def test_all_or_nothing_may_be_asked_of_a_training_that_ends_early() -> None:
    assert load_config(overrides=["train.stop_at=1", "train.optimizer=adamw", "train.weight_decay=1e-2"]).train.stop_at == 1
    assert load_config(overrides=["train.stop_at=null"]) == Config()


def test_positions_that_just_suffice_are_taken() -> None:
    assert load_config(overrides=["model.max_positions=12"]).model.max_positions == 12


def test_a_long_value_is_shortened() -> None:
    assert len(message("task.symbols=" + "x" * 10_000)) < 300


@pytest.mark.parametrize("assignment", ["train.lr=[1", "train.lr=*x", "train.lr=" + "[" * 800 + "]" * 800])
def test_a_value_that_is_not_yaml_is_refused(assignment: str) -> None:
    assert re.search("the value (is not valid YAML|uses YAML aliases|is nested)", message(assignment))


def test_a_name_below_a_value_is_refused() -> None:
    assert "seed is a value, not a section" in message("seed=1", "seed.x=2")


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3


# --- files ----------------------------------------------------------------------------------------------------------


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == Config()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00\xff\xfe\x80binary", "not text"),
        (b"seed: \x00", "not valid YAML"),
        (b"seed: [1\n", "not valid YAML (line "),
        (b"? [a, b]\n: 1\n", "must hold named fields|not valid YAML"),
        (b"task: &a {symbols: 5}\ndata: *a\n", "aliases"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases"),
        (b"seed: !!python/object/apply:os.getcwd []\n", "uses YAML tags"),
        (b"seed: 2020-13-45\n", "not valid YAML"),
        (b"#" * 1_000_001, "larger than"),
        (b"x: " + b"[" * 1_500 + b"]" * 1_500, "nested more than"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises((InputError, UsageError)) as caught:
        load_config(path)
    assert re.search(says.replace("(", r"\("), str(caught.value))
    assert str(path) in str(caught.value)


def test_deep_nesting_is_refused_before_it_is_read_to_its_end(tmp_path: Path) -> None:
    """PyYAML takes time that grows with the square of the depth: read whole, this would take long."""
    path = write(tmp_path, "[" * 19_000)
    with pytest.raises(InputError, match="nested more than"):
        load_config(path)


@pytest.mark.parametrize("content", ["[1, 2]", "3", "text", "1: 2", "- seed: 1"])
def test_a_file_without_named_fields_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match="must hold named fields"):
        load_config(write(tmp_path, content))


@pytest.mark.parametrize("name", ["missing.yaml", ".", "folder"])
def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"does not exist|is a folder"):
        load_config(tmp_path / name)


def test_a_file_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot be read|is a folder|not valid"):
        load_config(Path("/proc/self/mem"))


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "task: {symbols: x}\n")
    with pytest.raises(UsageError, match=re.escape(f"{path} is not valid: task.symbols")):
        load_config(path)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    lr=st.floats(0, 1e6),
    dropout=st.floats(0, 1, exclude_max=True),
    stream=st.booleans(),
    length=st.integers(1, 1000),
)
def test_a_configuration_written_as_yaml_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, lr: float, dropout: float, stream: bool, length: int
) -> None:
    config = parse_config(
        {
            "seed": seed,
            "task": {"max_length": length},
            "data": {"stream": stream},
            "model": {"dropout": dropout},
            "train": {"lr": lr},
        },
        "a test",
    )
    assert load_config(write(tmp_path_factory.getbasetemp(), to_yaml(config))) == config


def test_the_written_configuration_holds_every_field() -> None:
    tree = yaml.safe_load(to_yaml(Config()))
    assert tree == Config().model_dump()
    assert list(tree) == ["seed", "task", "data", "model", "train"]


def test_the_shipped_configuration_is_valid() -> None:
    config = load_config(Path(__file__).parents[1] / "configs" / "small.yaml")
    assert (config.task.symbols, config.task.min_length, config.task.max_length) == (10, 1, 10)


@pytest.mark.parametrize(
    "assignment",
    [
        "train.lr=" + "1:" * 400 + "1.5",
        "seed=!!int ''",
        "seed=!!bool x",
        "seed=!!timestamp x",
        "seed" + ".a" * 3_000 + "=1",
        "task={1: 2}",
        "seed=0x" + "f" * 15_000,
    ],
    ids=lambda text: text[:20],
)
def test_numbers_tags_and_names_that_break_parsers_are_refused(assignment: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(overrides=[assignment])
    assert len(str(caught.value)) < 200


def test_of_many_mistakes_the_first_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    path = write(tmp_path, b"".join(b"a%d: 1\n" % number for number in range(1_000)))
    with pytest.raises(UsageError, match=r"no field a0.*a19; and 980 more"):
        load_config(path)
