"""The file of a sweep: what it means, what is refused, and which runs are there already."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqrev.config import Config, load_config
from seqrev.errors import InputError, SeqrevError, UsageError
from seqrev.runs.folders import Run, open_run
from seqrev.workflows.sweep_plan import Member, RunsByConfig, _unfold, read_sweep
from tests.helpers import tiny_config
from tests.workflows.sweeps import VARIANTS, write_sweep

nested = st.recursive(st.text("ab=", max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=9)


def leaves(value: Any) -> list[str]:
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]


@given(st.lists(nested, max_size=4))
def test_a_list_of_assignments_stands_for_its_own(changes: list[Any]) -> None:
    assert _unfold(changes) == leaves(changes)


def test_a_sweep_is_every_variant_with_every_seed(tmp_path: Path) -> None:
    sweep = read_sweep(write_sweep(tmp_path, set=["train.steps=3"]))
    assert [(member.variant, member.seed) for member in sweep.members] == [
        ("plain", 0),
        ("rotary", 0),
        ("plain", 1),
        ("rotary", 1),
    ]
    assert (sweep.seeds, sweep.lengths, sweep.sequences) == ([0, 1], [3, 8], 4)
    overrides = ["train.steps=3", "model.positions=rotary", "model.source_from=end"]
    assert sweep.members[3].config == load_config(tmp_path / "base.yaml", overrides, seed=1)


def test_rules_are_another_axis(tmp_path: Path) -> None:
    members = read_sweep(write_sweep(tmp_path, rules=["copy", "sort"], seeds=[5])).members
    assert [(member.variant, member.rule) for member in members] == [
        (variant, rule) for variant in VARIANTS for rule in ("copy", "sort")
    ]
    assert str(members[1]) == "plain, sort, seed 5"


def test_the_base_is_beside_the_file_or_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    path = write_sweep(tmp_path / "inner")
    (tmp_path / "base.yaml").write_text("seed: 3\ntask: {max_length: 7}")
    monkeypatch.chdir(tmp_path)
    assert read_sweep(path).members[0].config.task.max_length == 4
    (tmp_path / "inner" / "base.yaml").unlink()
    assert read_sweep(path).members[0].config.task.max_length == 7
    (tmp_path / "base.yaml").unlink()
    with pytest.raises(UsageError, match=r"base\.yaml does not exist"):
        read_sweep(path)


def test_shared_assignments_may_have_a_name(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, variants=None)
    path.write_text(path.read_text() + "variants: {one: &one [train.lr=1], two: [*one, train.steps=1]}")
    lrs = {member.variant: member.config.train.lr for member in read_sweep(path).members}
    assert lrs == {"one": 1, "two": 1}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lenghts": [3]}, ["there is no field lenghts (did you mean lengths?)"]),
        ({"seeds": None}, ["seeds is missing"]),
        ({"base": None, "variants": None}, ["base is missing", "variants is missing"]),
        ({"variants": {}}, ["variants is {}"]),
        ({"variants": {"a": None}}, ["variants.a is None, and should be a valid list"]),
        ({"variants": {"a": [3]}}, ["variants.a.0 is 3, and should be a valid string"]),
        ({"variants": {"a": ["model.hedas=2"]}}, ["variant 'a'", "no field model.hedas (did you mean model.heads"]),
        ({"variants": {"a": ["train.lr"]}}, ["variant 'a'", "has no value"]),
        ({"variants": {"a\nb": []}}, ["'a\\nb' is not a name that can be printed"]),
        ({"variants": {"": []}}, ["variants."]),
        ({"variants": {str(n): [] for n in range(201)}}, ["more than 200 pairs"]),
        ({"set": ["train.lr=-1"]}, ["variant 'plain, rotary'", "train.lr"]),
        ({"seeds": [0, 0]}, ["seeds names one of them twice"]),
        ({"seeds": [-1]}, ["seeds.0 is -1"]),
        ({"lengths": []}, ["lengths is []"]),
        ({"lengths": [31]}, ["lengths: The sequence has 31 symbols; this model takes 1 to 30"]),
        ({"sequences": 10, "lengths": [30, 1_000_000]}, ["lengths: The sequence has 1,000,000 symbols"]),
        ({"sequences": "many"}, ["sequences is 'many'"]),
        ({"rules": ["revers"]}, ["rules.0 is 'revers'"]),
        ({"variants": {"a": ["seed=7"]}}, ["seed is set, and seeds is the field for it"]),
        ({"set": ["seed=7"]}, ["seed is set"]),
        ({"rules": ["copy"], "variants": {"a": ["task.rule=sort"]}}, ["task.rule is set, and rules names some"]),
        ({"variants": {"a": ["data.test=1000000"]}}, ["variant 'a': data.test asks for 1,000,000"]),
        # all at once:
        ({"seeds": [], "x": 1, "variants": {"a": ["train.lr=no"], "b": 3}}, ["seeds", "x", "variant 'a'", "variants.b"]),
    ],
)
def test_what_is_not_valid_is_named(tmp_path: Path, changes: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(UsageError, match="is not valid: ") as caught:
        read_sweep(write_sweep(tmp_path, **changes))
    for fragment in says:
        assert fragment in str(caught.value)
    assert caught.value.hint == "seqrev sweep ablation --dry-run"


plain_key = st.one_of(st.integers(0, 3), st.text(max_size=3))
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**70), st.floats(), st.text(max_size=4), st.just(["train.lr=1"])
)
trees = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_key, inner, max_size=3), max_leaves=5
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["base", "set", "seeds", "rules", "lengths", "sequences", "variants", "x"]), trees))
def test_whatever_a_file_contains_is_taken_or_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write_sweep(tmp_path, **changes)
    with suppress(SeqrevError):
        assert read_sweep(path).members


@pytest.mark.parametrize(
    ("text", "error"),
    [("[", InputError), ("[1]", UsageError), ("3", UsageError), ("a: &a [*a]", InputError), ("variants: [x]", UsageError)],
)
def test_what_is_no_sweep_at_all_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(error):
        read_sweep(path)


def member_of(config: Config) -> Member:
    return Member("x", config.seed, config)


def opened(runs_dir: Path, config: Config, **record: Any) -> Run:
    run = open_run(runs_dir, config)
    run.record.update(**record)
    return run


def test_the_best_run_of_a_configuration_is_used(tmp_path: Path) -> None:
    config, other = tiny_config(), tiny_config("seed=1")
    assert RunsByConfig(tmp_path).plan(member_of(config)).status == "new"
    opened(tmp_path, other, status="done", step=250)
    opened(tmp_path, config, status="interrupted", step=3)
    further = opened(tmp_path, config, status="failed", step=9)
    opened(tmp_path, config)
    opened(tmp_path, config, status="done", step=250, extended=[{"from": 9}])
    (opened(tmp_path, config, status="done", step=250).path / "config.yaml").write_text("x: 1")
    (opened(tmp_path, config, status="done", step=250).path / "run.json").write_text("{")
    plan = RunsByConfig(tmp_path).plan(member_of(config))
    assert (plan.status, plan.run and plan.run.path) == ("continue", further.path)
    finished = opened(tmp_path, config, status="done", step=5)
    runs = RunsByConfig(tmp_path)
    plan = runs.plan(member_of(config))
    assert (plan.status, plan.run and plan.run.path) == ("done", finished.path)
    runs.add(config, further)
    assert runs.plan(member_of(config)).done is further
