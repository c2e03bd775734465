"""One browser for all tests of the page."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser import Page, chromium

Open = Callable[[str], Page]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def show(driver: webdriver.Chrome, tmp_path: Path) -> Open:
    """Open a page, given its HTML, in a light window of 1280 x 720 pixels."""

    def show(html: str) -> Page:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        page = Page(driver, path)
        page.resize(1280, 720)
        page.choose_scheme("light")
        return page

    return show
