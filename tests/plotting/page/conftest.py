"""One browser for all tests of the page, and the page of the model that ships with the package."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver

import seqrev
from seqrev.api.reverser import Reverser
from seqrev.runs.folders import PRETRAINED
from tests.browser import Page, chromium
from tests.plotting.page.models import page_of

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


@pytest.fixture(scope="session")
def pretrained() -> Reverser:
    return seqrev.load(PRETRAINED, "cpu")


@pytest.fixture(scope="session")
def html(pretrained: Reverser) -> str:
    return page_of(pretrained.model, [4, 8, 2, 9], pretrained.stages(), title="runs/001")


@pytest.fixture
def page(show: Open, html: str) -> Page:
    return show(html)
