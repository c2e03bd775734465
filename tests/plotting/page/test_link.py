"""What is shown is in the address of the page, and an address shows it again."""

from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from selenium.webdriver.common.keys import Keys

from seqrev.config import ModelConfig
from tests.browser import Page
from tests.plotting.page.conftest import Open
from tests.plotting.page.models import page_of, random_model, stage_of

SHAPE = ModelConfig(d_model=16, heads=2, encoder_layers=1, decoder_layers=2, d_ff=16, max_positions=64)
STATE = """
const pressed = (selector) => [...document.querySelectorAll(`${selector}[aria-pressed=true]`)]
return [
  document.getElementById("sequence").value,
  page.state.step,
  pressed("main .panel button").map(({ariaLabel}) => ariaLabel),
  pressed(".stages button").map(({textContent}) => textContent),
  [...document.querySelectorAll(".head input")].filter(({checked}) => !checked).map(({ariaLabel}) => ariaLabel),
]
"""


@pytest.fixture
def page(show: Open) -> Page:
    model = random_model(SHAPE)
    return show(page_of(model, [4, 8], [stage_of(model, "step 8"), stage_of(model, "step & 16"), stage_of(model)]))


def address(page: Page) -> str:
    fragment: str = page.run("return location.hash")
    return fragment


def follow(page: Page, fragment: str) -> None:
    """Open the page anew, at an address."""
    path = page.driver.current_url.partition("#")[0]
    page.driver.get("about:blank")
    page.driver.get(path + fragment)


def test_an_address_shows_again_what_was_shown(page: Page) -> None:
    assert address(page) == ""  # nothing was done yet
    page.type("3 1 4")
    page.press(Keys.ENTER, Keys.ARROW_RIGHT)
    page.click(".stages button", "& 16")
    page.click("#compare")
    page.click("button", "cross-attention, layer 1, head 2")
    for head in ("encoder self-attention, layer 1, head 1", "cross-attention, layer 2, head 2"):
        page.click("input", f"{head} is on")
    shown = page.run(STATE)
    page.until(lambda: address(page).count("off=") == 2)
    kept = address(page)
    assert parse_qs(urlsplit(kept).fragment) == {
        "sequence": ["3 1 4"],
        "token": ["2"],
        "map": ["cross.1.2"],
        "stage": ["step 8", "step & 16"],
        "off": ["encoder.1.1", "cross.2.2"],
    }
    follow(page, kept)
    assert page.run(STATE) == shown
    assert shown[1:4] == [2, ["cross-attention, layer 1, head 2"], ["8", "& 16"]]


def test_another_address_of_the_same_page_is_shown_at_once(page: Page) -> None:
    page.run("location.hash = 'sequence=1+2+3&token=2'")
    page.until(lambda: page.run(STATE)[:2] == ["1 2 3", 2])
    page.run("location.hash = 'map=encoder.1'")
    mean = ["encoder self-attention, layer 1, mean over the heads"]
    page.until(lambda: page.run(STATE)[2] == mean)


def test_an_address_alone_switches_heads_off_and_on(page: Page) -> None:
    certain = "return page.panes[0].recording.top(1)[0].probability"
    before = page.run(certain)
    page.run("location.hash = 'off=cross.2.1'")
    page.until(lambda: page.run(STATE)[4] != [])
    assert page.run(certain) != before
    page.run("location.hash = ''")
    page.until(lambda: page.run(STATE)[4] == [])
    assert page.run(certain) == before


@pytest.mark.parametrize(
    "fragment",
    [
        "#",
        "#map=cross.3",
        "#map=cross.1.3&token=-4",
        "#map=cross.01.1&token=x",
        "#map=__proto__.1&off=constructor",
        "#off=cross.1&off=cross.1.9&stage=step+9",
        "#%&&==&sequence",
    ],
)
def test_what_the_model_does_not_have_is_left_out(page: Page, fragment: str) -> None:
    first = page.run(STATE)
    follow(page, fragment)
    shown = page.run(STATE)
    assert shown[1:] == first[1:]
    assert [entry for entry in page.logged("browser") if entry["level"] != "INFO"] == []


@pytest.mark.parametrize("text", ["4 x", "10 4", "<img src=x onerror='window.broken = 1'>", "1 " * 101])
def test_a_sequence_in_an_address_is_as_if_typed(page: Page, text: str) -> None:
    follow(page, f"#sequence={quote_plus(text)}")
    assert len(page.texts("#message")) == 1
    assert page.run("return document.querySelector('main').inert")
    assert page.run("return window.broken === undefined && !document.querySelector('img')")


def test_a_page_without_a_model_keeps_its_sequence(show: Open) -> None:
    page = show(page_of(random_model(SHAPE), [4, 2], stages=[]))
    follow(page, "#sequence=1+2+3&token=2&off=cross.1.1&stage=step+500")
    assert page.run("return page.source") == [4, 2]
    assert page.run("return [page.state.step, page.off.size]") == [2, 0]
