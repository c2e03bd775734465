import functools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver

from seqrev.errors import UsageError
from seqrev.plotting import page as page_module
from seqrev.plotting.page import attention_page
from seqrev.plotting.style import PALETTE
from seqrev.system.files import atomic_write
from tests.browser import Page, chromium

KINDS = {"cross-attention": "cross", "decoder self-attention": "decoder", "encoder self-attention": "encoder"}
Arrays = dict[str, NDArray[Any]]


def attention(length: int, layers: int = 2, heads: int = 3, answer: int | None = None) -> Arrays:
    """Maps that are neither square nor symmetric, another one for every layer and head."""
    random = np.random.default_rng(0)
    source = list(map(str, random.integers(0, 10, length)))
    target = list(map(str, random.integers(0, 10, length if answer is None else answer)))
    rows, columns = len(target) + 1, length + 2

    def maps(layers: int, rows: int, columns: int) -> NDArray[np.float32]:
        return random.dirichlet(np.full(columns, 0.3), size=(layers, heads, rows)).astype(np.float32)

    return {
        "encoder": maps(layers + 1, columns, columns),
        "decoder": maps(layers, rows, rows),
        "cross": maps(layers, rows, columns),
        "source_tokens": np.array(["<BOS>", *source, "<EOS>"]),
        "target_tokens": np.array(["<BOS>", *target]),
        "emitted_tokens": np.array([*target, "<EOS>"]),
    }


def captions(arrays: Arrays) -> list[str]:
    layers, heads, *_ = arrays["cross"].shape
    return [f"caption {layer} {head}" for layer in range(1, layers + 1) for head in range(heads + 1)]


def chosen(arrays: Arrays, kind: str, layer: int, head: int) -> NDArray[Any]:
    maps = arrays[kind][layer - 1]
    return np.asarray(maps.mean(axis=0) if head == 0 else maps[head - 1])


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return attention(4, answer=3)


@pytest.fixture
def page(driver: webdriver.Chrome, arrays: Arrays, tmp_path: Path) -> Page:
    path = tmp_path / "map.html"
    atomic_write(path, attention_page(arrays, captions(arrays), "a title").encode())
    return Page(driver, path)


def assert_drawn(page: Page, view: str, weights: NDArray[Any]) -> None:
    """The colour in every cell of the map is that of its weight, on a scale from 0 to 1; NaN is white."""
    rows, columns = weights.shape
    colours = matplotlib.colormaps[PALETTE].with_extremes(bad="white")(np.ma.masked_invalid(weights))[..., :3]

    def drawn() -> bool:
        pixels = page.pixels()
        for row in range(rows):
            for column in range(columns):
                x, y = page.cell(view, row, column, rows, columns)
                if np.abs(pixels[y, x] - colours[row, column]).max() > 0.02:
                    return False
        return True

    page.until(drawn)


def test_the_page_loads_without_a_warning_and_without_the_network(page: Page, arrays: Arrays) -> None:
    assert_drawn(page, "cross-attention", chosen(arrays, "cross", 2, 0))
    assert [entry for entry in page.logged("browser") if entry["level"] != "INFO"] == []
    requests = page.requests()
    assert page.driver.current_url in requests
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [url for url in requests if url.startswith("file:")] == [page.driver.current_url]
    assert page.driver.title == "a title"
    assert "a title" in page.texts(".bk-Div")


@pytest.mark.parametrize("view", KINDS)
def test_type_layer_and_head_choose_the_map_that_is_drawn(page: Page, arrays: Arrays, view: str) -> None:
    page.click(view, ".bk-tab")
    layers, heads, *_ = arrays[KINDS[view]].shape
    for layer, head in ((1, 0), (1, heads), (layers, 1)):
        page.choose(layer, head)
        assert_drawn(page, view, chosen(arrays, KINDS[view], layer, head))
        caption = f"caption {layer} {head}"
        assert (caption in page.titles()) == (view == "cross-attention")


def test_the_page_begins_with_the_map_that_is_asked_for(driver: webdriver.Chrome, arrays: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    atomic_write(path, attention_page(arrays, captions(arrays), "title", "encoder", 2, 3).encode())
    assert_drawn(Page(driver, path), "encoder self-attention", chosen(arrays, "encoder", 2, 3))


@pytest.mark.parametrize(
    ("view", "row", "column", "query", "key"),
    [
        ("cross-attention", 1, 2, "{emitted} (step 2)", "{source} (position 2)"),
        ("cross-attention", 3, 0, "<EOS> (step 4)", "<BOS> (position 0)"),
        ("decoder self-attention", 2, 0, "{emitted} (step 3)", "<BOS> (step 1)"),
        ("encoder self-attention", 5, 1, "<EOS> (position 5)", "{source} (position 1)"),
    ],
)
def test_pointing_names_the_query_the_key_and_the_weight(
    page: Page, arrays: Arrays, view: str, row: int, column: int, query: str, key: str
) -> None:
    page.click(view, ".bk-tab")
    page.choose(1, 2)
    weights = chosen(arrays, KINDS[view], 1, 2)
    emitted, source = arrays["emitted_tokens"].tolist(), arrays["source_tokens"].tolist()
    query = query.format(emitted=emitted[row] if row < len(emitted) else "")
    page.point(*page.cell(view, row, column, *weights.shape))
    page.until(lambda: f"attention weights of {query}" in page.titles())
    page.until(lambda: len(page.texts(".bk-tooltip-row-value")) == 3)
    shown = page.texts(".bk-tooltip-row-value")
    assert shown[:2] == [query, key.format(source=source[column])]
    assert float(shown[2]) == pytest.approx(weights[row, column], abs=1e-4)
    strip = "return Bokeh.documents[0].get_model_by_name(arguments[0]).children[1].renderers[0].data_source.data.weight"
    bars = page.driver.execute_script(strip, view)
    assert bars == pytest.approx(weights[row], abs=1e-5)


def test_decoding_goes_on_token_by_token(page: Page, arrays: Arrays) -> None:
    emitted = arrays["emitted_tokens"].tolist()
    weights = chosen(arrays, "cross", 2, 0)

    def output_is(expected: str) -> bool:
        return page.texts(".bk-Div")[4] == expected

    assert output_is(" ".join(emitted))
    for step in (1, 2, 3, 4, 1):  # after the last token the first one again
        page.click("next token ▶")
        page.until(functools.partial(output_is, " ".join(emitted[:step])))
        assert f"attention weights of {emitted[step - 1]} (step {step})" in page.titles()
        hidden = np.arange(len(emitted))[:, None] >= step
        assert_drawn(page, "cross-attention", np.where(hidden, np.nan, weights))
    page.click("◀ back")
    assert output_is(emitted[0])


def test_what_is_not_decoded_yet_cannot_be_pointed_at(page: Page, arrays: Arrays) -> None:
    weights = chosen(arrays, "cross", 2, 0)
    page.click("next token ▶")
    page.until(lambda: f"attention weights of {arrays['emitted_tokens'][0]} (step 1)" in page.titles())
    page.point(*page.cell("cross-attention", 2, 1, *weights.shape))
    page.until(lambda: page.texts(".bk-tooltip-row-value")[2:] == ["NaN"])
    assert f"attention weights of {arrays['emitted_tokens'][0]} (step 1)" in page.titles()


@pytest.mark.parametrize(
    "title", ["</script><script>window.broken = 1</script>", '"><img src=x onerror="window.broken = 1">', "$$x$$ & ü"]
)
def test_the_title_is_text(driver: webdriver.Chrome, arrays: Arrays, tmp_path: Path, title: str) -> None:
    path = tmp_path / "map.html"
    atomic_write(path, attention_page(arrays, [title] * 8, title).encode())
    page = Page(driver, path)
    assert title in page.texts(".bk-Div")
    assert driver.title == title
    assert driver.execute_script("return window.broken === undefined")
    assert [url for url in page.requests() if not url.startswith(("file:", "data:", "blob:"))] == []


def test_one_step_is_enough_for_a_page(driver: webdriver.Chrome, tmp_path: Path) -> None:
    arrays = attention(1, layers=1, heads=1, answer=0)
    path = tmp_path / "map.html"
    atomic_write(path, attention_page(arrays, captions(arrays), "one").encode())
    page = Page(driver, path)
    for _ in range(2):
        assert_drawn(page, "cross-attention", arrays["cross"][0, 0])
        page.click("next token ▶")
    assert [entry for entry in page.logged("browser") if entry["level"] != "INFO"] == []


def test_a_page_of_many_heads_and_tokens_stays_small() -> None:
    assert len(attention_page(attention(50, layers=4, heads=8), [""] * 36, "title").encode()) < 5_000_000


def test_weights_are_kept_to_five_digits() -> None:
    weights = np.random.default_rng(0).random((2, 3, 4, 5))
    compact = page_module._compact(weights).astype(np.float64) / 65_535
    np.testing.assert_allclose(compact[:, 1:], weights, atol=0.8e-5)
    np.testing.assert_allclose(compact[:, 0], weights.mean(axis=1), atol=0.8e-5)


def test_more_weights_than_a_browser_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch, arrays: Arrays) -> None:
    monkeypatch.setattr(page_module, "MAX_WEIGHTS", 100)
    with pytest.raises(UsageError, match="a page takes 100") as caught:
        attention_page(arrays, captions(arrays), "title")
    assert caught.value.hint == "seqrev attention --out map.png"


def test_without_bokeh_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch, arrays: Arrays) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(UsageError, match="Bokeh, which is not installed") as caught:
        attention_page(arrays, captions(arrays), "title")
    assert caught.value.hint == "pip install 'seqrev[explorer]'"


@pytest.mark.parametrize("missing", ["chromium", "chromedriver"])
@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_browser_is_a_failure_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else f"/usr/bin/{name}")
    with pytest.raises(outcome, match=f"{missing} not found"), chromium(tmp_path):
        pass
