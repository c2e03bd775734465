"""What a page says."""

from selenium.webdriver.common.keys import Keys

from tests.browser import Page


def answered(page: Page) -> list[str]:
    tokens: list[str] = page.run(
        "return [...document.querySelectorAll('.answer .token')].map((one) => one.firstChild.data)"
    )
    return tokens


def labels(page: Page) -> tuple[list[str], list[str]]:
    """The labels of the rows and of the columns of the large map."""
    return page.texts(".rows span"), page.texts(".columns span")


def finish(page: Page) -> None:
    page.press(Keys.END)


def assert_silent(page: Page) -> None:
    """Nothing was refused or went wrong, and nothing but the file was asked for."""
    assert [entry for entry in page.logged("browser") if entry["level"] != "INFO"] == []
    assert [url for url in page.requests() if not url.startswith("data:")] == [page.driver.current_url.partition("#")[0]]
