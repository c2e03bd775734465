"""The table of docs/configuration.md is that of the fields. ``python -m tests.docs.test_configuration`` writes it again."""

import re

from seqrev.config import fields
from tests.docs.guide import ROOT

PAGE = ROOT / "docs" / "configuration.md"


def with_table(page: str) -> str:
    """The page with the table of the fields as they are now."""
    rows = [f"| `{name}` | `{default}` | {description} |" for name, default, description in fields()]
    table = "\n".join(["| field | default | what it does |", "|---|---|---|", *rows])
    return re.sub(r"(?<=<!-- begin -->\n).*(?=<!-- end -->)", lambda match: f"{table}\n", page, count=1, flags=re.DOTALL)


def test_the_table_is_that_of_the_fields() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page)
    assert "`train.steps`" in page


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
