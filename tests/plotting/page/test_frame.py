"""The page in a notebook: in a frame out of which its script does not reach."""

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

import seqrev
from seqrev.api.attention import Page
from seqrev.runs.folders import PRETRAINED
from tests.plotting.page.conftest import Open

NOTEBOOK = "<!DOCTYPE html><title>a notebook</title><body>{}</body>"


def framed(show: Open, driver: webdriver.Chrome, page: Page) -> None:
    """Open a notebook that shows a page, and go into the frame."""
    show(NOTEBOOK.format(page._repr_html_()))
    driver.switch_to.frame(driver.find_element(By.TAG_NAME, "iframe"))


def test_a_script_in_the_frame_does_not_reach_the_notebook(show: Open, driver: webdriver.Chrome) -> None:
    script = "try { parent.document.title = 'reached' } catch { document.title = 'refused' }"
    framed(show, driver, Page(f"<script>{script}</script>"))
    WebDriverWait(driver, 60).until(lambda _: driver.execute_script("return document.title") == "refused")
    driver.switch_to.default_content()
    assert driver.title == "a notebook"


def test_the_model_answers_in_the_frame(show: Open, driver: webdriver.Chrome) -> None:
    framed(show, driver, seqrev.load(PRETRAINED, "cpu").attention([4, 8, 2, 9]).page())
    field = driver.find_element(By.ID, "sequence")
    field.clear()
    field.send_keys("7 1 3\n")
    driver.find_element(By.ID, "last").click()
    answer = driver.find_element(By.CSS_SELECTOR, ".answer").text
    driver.switch_to.default_content()
    assert "3 1 7" in " ".join(answer.split())
    assert "right" in answer
