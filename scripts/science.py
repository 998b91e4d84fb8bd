"""What docs/science.md says of measurements in docs/results/science: scripts/tables.py writes its tables.

A section comes to the end of the page with the first measurement of its kind: the question, what was done, the table.
From then on only its table is written anew. Its answer is for people to write, below the question.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from one_layer_lt import markdown
from one_layer_lt.files import write_whole
from one_layer_lt.lab import overlap, scoring

Measured = Mapping[str, Any]
Cells = Mapping[str, str]
COMMAND = "python -m scripts.tables: {}"
"""Of a table's place in the page, with its kind."""


@dataclass(frozen=True)
class Section:
    """text: what was done, with the command. rows: those of the table that are of one file, called by a link."""

    title: str
    text: str
    rows: Callable[[str, Measured], Iterator[Cells]]


def _of_controls(link: str, measured: Measured) -> Iterator[Cells]:
    for row in measured["rows"]:
        yield {"ticket": link, "masks": row["name"], **scoring.cells(row["results"])}
    for name in measured["refused"]:
        yield {"ticket": link, "masks": name, "seeds": "none"}


def _of_overlap(link: str, measured: Measured) -> Iterator[Cells]:
    between = [{**one, "weight": f"all, in {Path(measured['other']).stem}"} for one in measured.get("between", [])]
    for figures in overlap.summaries([*measured.get("pairs", []), *between]):
        found = overlap.cells(figures)
        yield {"ticket": link, "random weight": f"`{found.pop('weight')}`".replace("`all, in ", "all, in `"), **found}


SECTIONS = {
    "controls": Section(
        "Does the mask matter?",
        """Each ticket was measured beside its [controls](#controls). Where a control is as good as the ticket, what the
control destroys did not matter.

```bash
one-layer-lt controls m30k.ticket --data data-bin/multi30k.de-en -o docs/results/science/m30k.controls.json
```
""",
        _of_controls,
    ),
    "overlap": Section(
        "Do layers that share a weight choose the same masks?",
        """Every two masks over one random weight were compared. [Overlap](#overlap) says what the columns mean.

```bash
one-layer-lt info m30k.ticket --overlap -o docs/results/science/m30k.overlap.json
```
""",
        _of_overlap,
    ),
}


def tables(page: Path, results: Path) -> None:
    """Write the tables of the page from the JSON files in ``results``; without any the page stays as it is."""
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    for kind, section in SECTIONS.items():
        rows: list[Cells] = []
        for path, measured in found.items():
            if measured["kind"] == kind:
                link = f"[{Path(measured['ticket']).stem}](results/{results.name}/{path.name})"
                rows += section.rows(link, measured)
        if rows:
            _add(page, section.title, section.text, COMMAND.format(kind))
            markdown.put_table(page, COMMAND.format(kind), "\n".join(_table(rows)))


def _add(page: Path, title: str, text: str, command: str) -> None:
    """A section with a place for its table, where the page has none."""
    said = page.read_text(encoding="utf-8")
    if f"\n## {title}\n" not in said:
        place = f"<!-- table: {command} -->\n<!-- end of table -->"
        write_whole(page, f"{said.rstrip()}\n\n## {title}\n\n{text}\n{place}\n")


def _table(rows: Sequence[Cells]) -> Iterator[str]:
    columns = [
        name for name in dict.fromkeys(name for row in rows for name in row) if any(row.get(name) for row in rows)
    ]
    return markdown.table(columns, *([row.get(name, "") for name in columns] for row in rows))
