"""Tables in Markdown, and their places in pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .errors import UserError
from .files import write_whole


def table(columns: Sequence[object], *rows: Sequence[object]) -> Iterator[str]:
    """The lines of a table: its columns' names, and a cell of each row for every column."""
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(map(str, cells))} |"


def used(columns: Iterable[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Those of the columns that any row has something in."""
    return [name for name in columns if any(row.get(name) for row in rows)]


def table_of(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """``table`` of rows whose cells are called by their column; those that are missing are empty."""
    return table(columns, *([row.get(name, "") for name in columns] for row in rows))


def put_table(page: Path, command: str, table: str) -> None:
    """Put a table in its place in a page: between a comment that names the command, and one that ends it."""
    begin, end = f"<!-- table: {command} -->", "<!-- end of table -->"
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise UserError(f"{page} has no place for the table: a line {begin}, and after it one {end}")
    write_whole(page, f"{before}{begin}\n{table}\n{end}{after}")
