"""Tables in Markdown."""

from __future__ import annotations

from scripts.markdown import table


def test_table() -> None:
    assert list(table(["run", "BLEU"], ["dense", 30.5], ["", "none"])) == [
        "| run | BLEU |",
        "| --- | --- |",
        "| dense | 30.5 |",
        "|  | none |",
    ]
    assert list(table(["run"])) == ["| run |", "| --- |"]
