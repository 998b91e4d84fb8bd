"""Tables in Markdown, and their places in pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import UserError
from .files import write_whole


def table(columns: Sequence[object], *rows: Sequence[object]) -> Iterator[str]:
    """The lines of a table: its columns' names, and a cell of each row for every column."""
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(map(str, cells))} |"


def put_table(page: Path, command: str, table: str) -> None:
    """Put a table in its place in a page: between a comment that names the command, and one that ends it."""
    begin, end = f"<!-- table: {command} -->", "<!-- end of table -->"
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise UserError(f"{page} has no place for the table: a line {begin}, and after it one {end}")
    write_whole(page, f"{before}{begin}\n{table}\n{end}{after}")
