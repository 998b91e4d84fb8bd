"""Experiments on masks, and what docs/science.md says of measurements in docs/results/science.

python -m scripts.science holds                     # can a random network hold a given one? Minutes of one core
python -m scripts.science images --root FOLDER      # what do masks look like? FOLDER: the four files of MNIST

They write a JSON, a plot, and their tables in the page. scripts/tables.py writes plots and tables again.

A section comes to the end of the page with the first measurement of its kind: the question, what was done, the table.
From then on only its table is written anew. Its answer is for people to write, below the question.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from one_layer_lt import markdown, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json, write_whole
from one_layer_lt.lab import overlap, scoring
from one_layer_lt.origin import commit, machine
from scripts.experiments import holds, images
from scripts.results import RESULTS, ROOT

Measured = Mapping[str, Any]
Cells = Mapping[str, str]
COMMAND = "python -m scripts.tables: {}"
"""Of a table's place in the page, with its kind."""
PAGE, FOLDER = ROOT / "docs" / "science.md", RESULTS / "science"
EXPERIMENTS: dict[str, Any] = {"holds": holds, "images": images}
"""Each kind has a section of its own in the page, with places for its tables."""


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
    pairs = [{**one, "weight": f"`{one['weight']}`"} for one in measured.get("pairs", [])]
    pairs += [{**one, "weight": f"all, in `{Path(measured['other']).stem}`"} for one in measured.get("between", [])]
    for figures in overlap.summaries(pairs):
        found = overlap.cells(figures)
        yield {"ticket": link, "random weight": found.pop("weight"), **found}


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
    for path, measured in found.items():
        if experiment := EXPERIMENTS.get(measured["kind"]):
            experiment.draw(measured, path.with_suffix(".png"))
            for place, table in experiment_tables(measured).items():
                markdown.put_table(page, place, table)
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


def experiment_tables(measured: Measured) -> dict[str, str]:
    """The tables of an experiment in Markdown, by what marks the place of each."""
    kind = measured["kind"]
    return {COMMAND.format(f"{kind}, {what}"): table for what, table in EXPERIMENTS[kind].tables(measured).items()}


def main() -> None:
    parser = Parser(prog="scripts.science", description=__doc__)
    parser.add_argument("name", choices=EXPERIMENTS, help="the experiment")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="of images: the folder of MNIST's four files")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    path, command = FOLDER / f"{args.name}.json", f"python -m scripts.science {args.name}"
    started = time.process_time()
    if args.name == "holds":
        results = holds.run()
    else:
        if args.root is None:
            raise UserError("--root is missing: name the folder of MNIST's four files")
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        command, started = f"{command} --root FOLDER", started - before.get("cpu_seconds", 0)
        results = images.run(args.root, before)
    origin = {"kind": args.name, "command": command, "commit": commit(), "machine": machine()}
    for found in results:
        write_json(path, {**origin, "cpu_seconds": round(time.process_time() - started), **found})
    tables(PAGE, FOLDER)


if __name__ == "__main__":
    terminal.run(main)
