"""A headless Chromium, for the tests of the interactive page."""

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,800",
    "about:blank",
)
VISIBLE = """
const seen = []
const walk = (root) => {
  for (const element of root.querySelectorAll("*")) {
    if (element.shadowRoot) walk(element.shadowRoot)
    const {width, height} = element.getBoundingClientRect()
    const visible = width && height && element.checkVisibility({visibilityProperty: true})
    if (visible && element.matches(arguments[0])) seen.push(element)
  }
}
walk(document)
return seen
"""
TITLES = "return Bokeh.documents[0].get_model_by_name(arguments[0]).children.slice(1).map((plot) => plot.title.text)"
FRAME = """
const plot = Bokeh.documents[0].get_model_by_name(arguments[0]).children[arguments[1]]
const view = Bokeh.index.find_one(plot), box = view.el.getBoundingClientRect(), frame = view.frame.bbox
return [box.left + frame.left, box.top + frame.top, frame.width, frame.height]
"""


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser of its own, with an empty profile. Where there is none, the test is skipped, but in CI it fails."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        reason = f"{' and '.join(missing)} not found: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(str(programs["chromedriver"])))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The page as a person uses it."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver = driver
        self.logged("performance")  # reading the log empties it
        driver.get(path.as_uri())
        self.until(lambda: self.texts(".bk-tab.bk-active") and "weights of" in self.titles()[0])

    def until(self, done: Callable[[], object]) -> None:
        """Wait, at most for a minute."""
        end = time.monotonic() + 60
        while not done():
            assert time.monotonic() < end, "the page does not reach the expected state"
            time.sleep(0.05)

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """New entries of a log of the browser: ``browser`` (its console) or ``performance``."""
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]  # Selenium does not annotate it
        return entries

    def requests(self) -> list[str]:
        """The addresses that were requested."""
        events = [json.loads(entry["message"])["message"] for entry in self.logged("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def seen(self, selector: str) -> list[Any]:
        """Visible elements, those inside of Bokeh's components too."""
        elements: list[Any] = self.driver.execute_script(VISIBLE, selector)
        return elements

    def texts(self, selector: str) -> list[str]:
        """The texts of visible elements."""
        return [element.text for element in self.seen(selector)]

    def titles(self) -> list[str]:
        """The titles of the bars and of the map, read from Bokeh, which draws them."""
        (view,) = self.texts(".bk-tab.bk-active")
        titles: list[str] = self.driver.execute_script(TITLES, view)
        return titles

    def click(self, label: str, selector: str = ".bk-btn") -> None:
        """Press a button, or open a tab."""
        (element,) = [element for element in self.seen(selector) if element.text == label]
        element.click()

    def choose(self, layer: int, head: int) -> None:
        """Press the buttons of a layer, and of a head (0: the mean)."""
        for group, choice in zip(self.seen(".bk-RadioButtonGroup"), (layer - 1, head), strict=True):
            self.driver.execute_script(
                "arguments[0].shadowRoot.querySelectorAll('.bk-btn')[arguments[1]].click()", group, choice
            )

    def cell(self, view: str, row: int, column: int, rows: int, columns: int) -> tuple[int, int]:
        """Where the middle of a cell of the map is, in pixels of the window."""
        left, top, width, height = self.driver.execute_script(FRAME, view, 2)
        return round(left + width * (column + 0.5) / columns), round(top + height * (row + 0.5) / rows)

    def point(self, x: int, y: int) -> None:
        """Move the mouse."""
        action = ActionBuilder(self.driver)
        action.pointer_action.move_to_location(x, y)  # type: ignore[no-untyped-call]  # nor here
        action.perform()

    def pixels(self) -> NDArray[np.float64]:
        """The window as colours, ``[height, width, 3]``, 0 to 1."""
        image = matplotlib.image.imread(io.BytesIO(self.driver.get_screenshot_as_png()))
        return np.asarray(image[..., :3], dtype=np.float64)
