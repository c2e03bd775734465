import datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seqrev.system.safe_yaml import DEEPEST_NESTING, LARGEST_TEXT, MOST_VALUES, parse_yaml

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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x [1]\nb: [*x, *x]", {"a": [1], "b": [[1], [1]]}),
        ("a: &x {c: 1}\nb: {<<: *x, d: 2}", {"a": {"c": 1}, "b": {"c": 1, "d": 2}}),
        ("", None),
        ("3", 3),
    ],
)
def test_aliases_are_read_where_they_are_allowed(text: str, value: object) -> None:
    assert parse_yaml(text, aliases=True) == value


def laugh(inner: str, outer: str) -> str:
    """Nine levels, each of which has the one below nine times."""
    lines = [f"a0: &a0 {inner}"]
    lines += [f"a{n}: &a{n} {outer.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (laugh("[x]", "[{}]"), "unfolds to more than 20,000 values"),
        (laugh("{b: 1}", "{{<<: [{}]}}"), "unfolds to more than 20,000 values"),
        (f"a: &a [{', '.join('x' * 4_000)}]\nb: [{', '.join(['*a'] * 1_900)}]", "unfolds to more than 20,000 values"),
        ("a: &a [*a]", "is nested more than 16 levels deep"),
        ("a: &a {b: *a}", "is nested more than 16 levels deep"),
        ("&a {*a : 1}", "is nested more than 16 levels deep"),
        ("a: !!str 1", "uses YAML tags (!name)"),
        ("\n".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else ''}]" for n in range(20)), "is nested more than 16 levels deep"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_aliases_that_unfold_to_too_much_are_refused(text: str, says: str) -> None:
    assert len(text) <= LARGEST_TEXT
    with pytest.raises(ValueError, match="which no configuration needs") as caught:
        parse_yaml(text, aliases=True)
    assert str(caught.value) == f"{says}, which no configuration needs"


@pytest.mark.parametrize(("more", "is_read"), [(99, True), (100, False)])
def test_as_many_values_as_are_allowed_are_read(more: int, is_read: bool) -> None:
    text = f"[&a [{', '.join('x' * 99)}]{', *a' * 198}, {', '.join('x' * more)}]"
    assert (1 + 199 * (1 + 99) + more <= MOST_VALUES) is is_read
    if is_read:
        assert len(parse_yaml(text, aliases=True)) == 199 + more
    else:
        with pytest.raises(ValueError, match="unfolds to more"):
            parse_yaml(text, aliases=True)


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
        ("a: \0", ""),
        ("? [a]\n: 1", "line 1"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_not_yaml_is_refused_with_its_line_where_that_is_known(text: str, where: str) -> None:
    with pytest.raises(ValueError, match="is not valid YAML") as caught:
        parse_yaml(text)
    assert str(caught.value) == "is not valid YAML" + (f" ({where})" if where else "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "has 'a' twice (line 3)"),
        ("a: 1\n'a': 2", "has 'a' twice (line 2)"),
        ("{steps: 5, steps: 6}", "has 'steps' twice (line 1)"),
        ("a:\n- b: {c: 1, d: 2,\n    c: 3}", "has 'c' twice (line 3)"),
        ("a: 0100", "has '0100' in it (line 1)"),
        ("a: [1,\n -010]", "has '-010' in it (line 2)"),
        ("1:30", "has '1:30' in it (line 1)"),
        ("a: " + "1:" * 400 + "1.5", "has "),
        ("a: 1:30.5", "has '1:30.5' in it (line 1)"),
    ],
)
@pytest.mark.parametrize("aliases", [False, True])
def test_what_can_be_read_in_two_ways_is_refused_with_its_line(text: str, says: str, aliases: bool) -> None:
    with pytest.raises(ValueError, match=r"twice|another number") as caught:
        parse_yaml(text, aliases)
    assert str(caught.value).startswith(says)


def test_the_same_name_in_two_places_and_quoted_numbers_are_fine() -> None:
    assert parse_yaml("a: {c: 1}\nb: {c: 2}\nd: '0100'") == {"a": {"c": 1}, "b": {"c": 2}, "d": "0100"}
    assert parse_yaml("a: &x {c: 1}\nb: [*x, *x]", aliases=True) == {"a": {"c": 1}, "b": [{"c": 1}] * 2}


@given(st.text("0123456789_:.+-", min_size=1, max_size=6))
def test_a_number_is_what_it_looks_like_or_no_number(text: str) -> None:
    try:
        value = parse_yaml(text)
    except ValueError:
        return
    if isinstance(value, int | float):
        assert value == float(text.replace("_", ""))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_names_are_refused_if_and_only_if_one_is_there_twice(names: list[str]) -> None:
    text = "\n".join(f"{name}: {index}" for index, name in enumerate(names))
    if len({*names}) == len(names):
        assert parse_yaml(text) == {name: index for index, name in enumerate(names)}
    else:
        with pytest.raises(ValueError, match="twice"):
            parse_yaml(text)
