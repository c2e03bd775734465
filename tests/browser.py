"""A headless Chromium, for the tests of the live page. Whoever looks at a page waits for it, however slow it is."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.helpers import PATIENCE

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
# What the page does for an event it does before the next frame, or in it (its observer of sizes).
AFTER_A_FRAME = """
return new Promise((done) => requestAnimationFrame(() => setTimeout(done)))
  .then(() => (function () {%s}).apply(null, arguments))
"""
VISIBLE = "const visible = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility())\n"
CONTRAST = """
// Every visible element with text of its own: its text, its size, and the contrast of its colours (WCAG 2.2, 1.4.3).
const luminance = (colour) => {
  const [red, green, blue] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor
    if (colour !== "rgba(0, 0, 0, 0)") return colour
  }
}
const found = []
for (const element of document.body.querySelectorAll("*")) {
  const text = element.matches("input:not([type=checkbox])") ? element.value
    : [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data).join("").trim()
  if (!text || element.matches("script, .unseen") || !element.checkVisibility({visibilityProperty: true})) continue
  const {color, fontSize} = getComputedStyle(element)
  const [dark, light] = [luminance(color), luminance(ground(element))].sort((one, other) => one - other)
  found.push([text, parseFloat(fontSize), (light + 0.05) / (dark + 0.05)])
}
return found
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
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
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
        self.wait(f"location.href === {json.dumps(path.as_uri())}")

    def wait(self, condition: str) -> None:
        """Until the document is loaded, all of its scripts have run, and a condition, in JavaScript, holds."""
        script = f"return document.readyState === 'complete' && ({condition})"
        # While a document gives way to the next one, scripts fail.
        self.until(lambda: self.driver.execute_script(script), WebDriverException)

    def until(self, condition: Callable[[], bool], *passing: type[Exception]) -> None:
        """Until a condition holds; meanwhile exceptions of some types pass."""
        WebDriverWait(self.driver, PATIENCE, 0.02, passing).until(lambda _: condition())

    def enter(self) -> None:
        """Go into the only frame; it is empty at first."""
        self.driver.switch_to.frame(self.driver.find_element(By.TAG_NAME, "iframe"))
        self.wait("location.href === 'about:srcdoc'")

    def run(self, script: str, *arguments: object) -> Any:
        """What a script of the page's own world returns, after the next frame: then all that was done before is shown."""
        return self.driver.execute_script(AFTER_A_FRAME % script, *arguments)

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """New entries of a log of the browser: ``browser`` (its console) or ``performance``."""
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]  # Selenium does not annotate it
        return entries

    def hear(self, words: str) -> None:
        """Until the console of the browser says so."""
        self.until(lambda: any(words in entry["message"] for entry in self.logged("browser")))

    def requests(self) -> list[str]:
        """The addresses that were requested; those of the browser's own first page, ``chrome:``, may still come."""
        events = [json.loads(entry["message"])["message"] for entry in self.logged("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("chrome:")]

    def find(self, selector: str) -> list[WebElement]:
        """The visible elements."""
        elements: list[WebElement] = self.run(VISIBLE + "return visible(arguments[0])", selector)
        return elements

    def texts(self, selector: str) -> list[str]:
        """The texts of visible elements."""
        texts: list[str] = self.run(
            VISIBLE + "return visible(arguments[0]).map(({innerText}) => innerText.trim())", selector
        )
        return texts

    def text(self, selector: str) -> str:
        """The text of the only visible one."""
        (text,) = self.texts(selector)
        return text

    def click(self, selector: str, label: str | None = None) -> None:
        """Press a button, the only one, or the only one of that name."""
        named = "({ariaLabel, innerText}) => [null, ariaLabel ?? innerText.trim()].includes(arguments[1])"
        (element,) = self.run(VISIBLE + f"return visible(arguments[0]).filter({named})", selector, label)
        element.click()

    def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys, wherever the focus is."""
        held = [Keys.SHIFT] * shift
        actions = ActionChains(self.driver)
        for key in held:
            actions.key_down(key)
        actions.send_keys(*keys)
        for key in held:
            actions.key_up(key)
        actions.perform()

    def type(self, text: str) -> None:
        """Paste a sequence, all but its last character, which is typed, in place of the one that is there."""
        (field,) = self.find("#sequence")
        field.clear()
        self.run("arguments[0].value = arguments[1]", field, text[:-1])
        field.send_keys(text[-1:])

    def point(self, row: int, column: int) -> None:
        """Move the mouse to the middle of a cell of the large map, counted from 0."""
        x, y = self.run(
            "const box = document.querySelector('.cells').getBoundingClientRect()\n"
            "const {rows, columns} = page.panes[0].map.view.grid\n"
            "return [box.x + box.width * (arguments[1] + 0.5) / columns, box.y + box.height * (arguments[0] + 0.5) / rows]",
            *(row, column),
        )
        action = ActionBuilder(self.driver)
        action.pointer_action.move_to_location(round(x), round(y))  # type: ignore[no-untyped-call]  # nor this
        action.perform()

    def resize(self, width: int, height: int, zoom: float = 1.0) -> None:
        """A window of so many pixels, in which the page is shown at a zoom."""
        size = {"width": round(width / zoom), "height": round(height / zoom), "deviceScaleFactor": zoom, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.wait(f"innerWidth === {size['width']} && innerHeight === {size['height']} && devicePixelRatio === {zoom}")

    def choose_scheme(self, scheme: str) -> None:
        """What the system prefers, ``dark`` or ``light``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.wait(f"matchMedia('(prefers-color-scheme: {scheme})').matches")

    def written(self) -> list[tuple[str, float, float]]:
        """Every visible text with its size in pixels and its contrast."""
        return [(text, size, contrast) for text, size, contrast in self.run(CONTRAST)]
