import datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seqrev.system.safe_yaml import DEEPEST_NESTING, LARGEST_TEXT, parse_yaml

plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text("abc: -#'\"é", max_size=9))
settings_trees = st.dictionaries(
    st.text("abcdef_", min_size=1, max_size=9), st.one_of(plain, st.lists(plain, max_size=3)), max_size=5
)


@given(settings_trees)
def test_plain_settings_are_read_as_pyyaml_reads_them(tree: dict[str, Any]) -> None:
    text = yaml.safe_dump(tree)
    assert parse_yaml(text) == yaml.safe_load(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# only a comment", None),
        ("3", 3),
        ("a: {b: [1, x]}", {"a": {"b": [1, "x"]}}),
        ("2020-01-02", datetime.date(2020, 1, 2)),
    ],
)
def test_what_yaml_says_is_returned(text: str, value: object) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x 1\nb: *x", "uses YAML aliases (*name)"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "uses YAML aliases (*name)"),
        ("a: &x {<<: *x}", "uses YAML aliases (*name)"),
        ("!!python/object/apply:os.getcwd []", "uses YAML tags (!name)"),
        ("a: !!str 1", "uses YAML tags (!name)"),
        ("a: !mine {b: 1}", "uses YAML tags (!name)"),
        ("[" * 17 + "]" * 17, "is nested more than 16 levels deep"),
        ("[" * LARGEST_TEXT, "is nested more than 16 levels deep"),
        ("\n".join("  " * level + "a:" for level in range(17)), "is nested more than 16 levels deep"),
        ("#" * (LARGEST_TEXT + 1), "has more than 20,000 characters"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_no_configuration_needs_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="which no configuration needs") as caught:
        parse_yaml(text)
    assert str(caught.value) == f"{says}, which no configuration needs"


def test_the_limits_themselves_are_allowed() -> None:
    value: Any = parse_yaml("[" * DEEPEST_NESTING + "]" * DEEPEST_NESTING)
    for _ in range(DEEPEST_NESTING - 1):
        (value,) = value
    assert value == []
    assert parse_yaml("#" * LARGEST_TEXT) is None
    assert len(parse_yaml("\n".join("- [[1]]" for _ in range(100)))) == 100  # depth is counted, not brackets


def test_an_anchor_that_nobody_refers_to_does_no_harm() -> None:
    assert parse_yaml("a: &x 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1", "line 1"),
        ("a: 1\nb: [2\nc: 3", "line 3"),
        ("a: 1\n\t- b", "line 2"),
        ("--- 1\n--- 2", "line 2"),
        ("a: 2020-13-45", ""),
        ("a: " + "1:" * 400 + "1.5", ""),
        ("a: \0", ""),
        ("? [a]\n: 1", "line 1"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_not_yaml_is_refused_with_its_line_where_that_is_known(text: str, where: str) -> None:
    with pytest.raises(ValueError, match="is not valid YAML") as caught:
        parse_yaml(text)
    assert str(caught.value) == "is not valid YAML" + (f" ({where})" if where else "")
