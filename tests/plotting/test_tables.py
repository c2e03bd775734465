"""The picture of a sweep: every number is there, no text touches another, and the darker the better."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrev.plotting.tables import shaded_table
from seqrev.system.text import mean_and_range
from tests.helpers import assert_apart

TITLE = "exact match by length; trained on lengths 1 to 10, seeds: 0, 1"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_the_mean_is_within_its_range(values: list[float]) -> None:
    mean, _, rest = mean_and_range(values).partition(" ")
    assert abs(float(mean) - sum(values) / len(values)) <= 0.0051
    assert bool(rest) == (min(values) < max(values))
    if rest:
        low, high = map(float, rest.strip("()").split("–"))
        assert low <= float(mean) <= high
        assert abs(low - min(values)) <= 0.0051
        assert abs(high - max(values)) <= 0.0051


@pytest.mark.parametrize(
    ("names", "lengths"),
    [
        (["plain"], [3]),
        (["the recipe", "plain, no positions"], [10, 20, 50, 100, 500, 1_000]),
        (["a $name$ that is long: " + "W" * 57, "b"], [10, 131_070]),
        ([f"variant {n}" for n in range(40)], list(range(1, 31))),
    ],
)
def test_every_name_length_and_share_is_drawn_and_none_touches_another(names: list[str], lengths: list[int]) -> None:
    rows = {name: [[0.25, 0.75] if column % 2 else [1.0, 1.0] for column in range(len(lengths))] for name in names}
    texts = assert_apart(shaded_table(rows, lengths, TITLE))
    assert [text for text in texts if text.startswith("0.50")] == ["0.50\n(0.25–0.75)"] * (len(lengths) // 2 * len(names))
    assert {f"{length:,}" for length in lengths} <= set(texts)
    assert {name.replace("$", r"\$")[:19] for name in names} <= {text[:19] for text in texts}
    assert TITLE in texts


def test_the_better_the_darker() -> None:
    axes = shaded_table({"a": [[0.0], [0.5, 0.7], [1.0]]}, [1, 2, 3], TITLE).axes[0]
    (image,) = axes.images
    shown = image.get_array()
    assert shown is not None
    brightness = image.to_rgba(shown)[0, :, :3].sum(axis=-1)
    assert brightness[0] > brightness[1] > brightness[2]
    assert [text.get_color() for text in axes.texts] == ["black", "black", "white"]
