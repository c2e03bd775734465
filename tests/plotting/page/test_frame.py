"""The page in a notebook: in a frame out of which its script does not reach."""

from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver.common.keys import Keys

import seqrev
from seqrev.api.attention import Page as Html
from seqrev.runs.folders import PRETRAINED
from tests.browser import Page
from tests.plotting.page.conftest import Open

NOTEBOOK = "<!DOCTYPE html><title>a notebook</title><body>{}</body>"


@contextmanager
def framed(show: Open, html: Html) -> Iterator[Page]:
    """Open a notebook that shows a page, go into the frame, and out of it again."""
    page = show(NOTEBOOK.format(html._repr_html_()))
    page.enter()
    try:
        yield page
    finally:
        page.driver.switch_to.default_content()


def test_a_script_in_the_frame_does_not_reach_the_notebook(show: Open) -> None:
    script = "try { parent.document.title = 'reached' } catch { document.title = 'refused' }"
    with framed(show, Html(f"<script>{script}</script>")) as page:
        assert page.run("return document.title") == "refused"
    assert page.driver.title == "a notebook"


def test_the_model_answers_in_the_frame(show: Open) -> None:
    with framed(show, seqrev.load(PRETRAINED, "cpu").attention([4, 8, 2, 9]).page()) as page:
        page.type("7 1 3")
        page.press(Keys.ENTER)
        page.click("#last")
        assert page.texts(".answer .token") == ["3", "1", "7", "<EOS>"]
        assert page.text(".verdict") == "✓ right"
