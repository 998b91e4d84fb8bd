"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def table(columns: Sequence[object], *rows: Sequence[object]) -> Iterator[str]:
    """The lines of a table: its columns' names, and a cell of each row for every column."""
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(map(str, cells))} |"
