"""one_layer_lt/markdown.py: tables, and their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from one_layer_lt.errors import UserError
from one_layer_lt.markdown import put_table, table


def test_table() -> None:
    assert list(table(["run", "BLEU"], ["dense", 30.5], ["", "none"])) == [
        "| run | BLEU |",
        "| --- | --- |",
        "| dense | 30.5 |",
        "|  | none |",
    ]
    assert list(table(["run"])) == ["| run |", "| --- |"]


@pytest.mark.parametrize("text", ["no place\n", "<!-- table: it -->\nnever ends\n"])
def test_a_page_without_a_place_for_the_table_stays_as_it_is(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UserError, match=r"page.md has no place for the table: a line <!-- table: it -->"):
        put_table(page, "it", "| new |")
    assert page.read_text() == text
