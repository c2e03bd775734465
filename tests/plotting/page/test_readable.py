"""The page on every screen, in both schemes, and for those who use the keyboard: all of it can be read."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser import Page
from tests.plotting.page.reading import finish

SCREENS = {
    "laptop": (1280, 720, 1.0),
    "full HD": (1920, 1080, 1.0),
    "telephone": (390, 844, 1.0),
    "zoomed": (1280, 720, 2.0),
    "notebook": (890, 736, 1.0),  # the frame
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_it_is_readable_on_every_screen(page: Page, scheme: str, screen: str) -> None:
    width, height, zoom = SCREENS[screen]
    page.resize(width, height, zoom)
    page.choose_scheme(scheme)
    for action in ("", "page.type('1 2 3 x')", "page.type('1 2 3 4 5 6 7 8 9 0'); page.compare(); page.go(99)"):
        page.run(action)
        for text, size, contrast in page.written():
            assert size >= 18, text
            assert contrast >= 4.5, text
        sizes = page.run("return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert sizes[0] <= width / zoom
        if screen == "notebook":  # the switches are in view, two stages or one
            (first, *_, last) = page.run(
                "return [...document.querySelectorAll('.head input')].map((box) => box.getBoundingClientRect().bottom)"
            )
            assert 0 < first < last < height
        if screen in ("laptop", "full HD"):
            assert sizes[1] <= height
            cut = (
                "return [...document.querySelectorAll('main *, footer *')].filter((element) => element.checkVisibility() "
                "&& element.getBoundingClientRect().bottom > innerHeight + 1).map((element) => element.outerHTML)"
            )
            assert page.run(cut) == []
            touching = (
                "const bottom = document.querySelector('.map').getBoundingClientRect().bottom\n"
                "return document.querySelector('.cells').clientHeight > 120 && bottom <= innerHeight"
            )
            assert page.run(touching)
    lightness = page.run("return getComputedStyle(document.documentElement).backgroundColor")
    assert lightness == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}[scheme]


def test_whoever_uses_the_keyboard_sees_where_the_focus_is(page: Page) -> None:
    seen = set()
    for _ in range(12):
        page.press(Keys.TAB)
        name, outline = page.run(
            "const element = document.activeElement; return [element.outerHTML, getComputedStyle(element).outlineStyle]"
        )
        assert outline == "solid", name
        seen.add(name)
    assert len(seen) == 12


def test_a_long_answer_leaves_room_for_the_map(page: Page) -> None:
    page.type("1 2 3 4 5 6 7 8 9 0 " * 5)
    page.click("button", "compare two stages")
    finish(page)
    assert page.texts(".verdict.bad") == ["✗ wrong", "✗ wrong"]
    assert page.run("return [...document.querySelectorAll('.cells')].every((cells) => cells.clientHeight > 80)")
    assert page.run("return document.documentElement.scrollHeight") <= 720
