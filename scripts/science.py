"""Experiments on masks, and the tables of docs/science.md from measurements in docs/results/science.

python -m scripts.science holds                     # can a random network hold a given one? Minutes of one core
python -m scripts.science images --from FOLDER      # what do masks look like? FOLDER: the four files of MNIST
python -m scripts.science pruning --from FOLDER     # pruned translators. FOLDER: data-bin/multi30k.de-en

They write a JSON, a plot, and their tables in the page. scripts/tables.py writes plots and tables again. What was
stopped goes on when it is called again. A table comes to where the page has a place for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from one_layer_lt import markdown, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json
from one_layer_lt.lab import overlap, scoring
from one_layer_lt.origin import commit, machine
from scripts.experiments import holds, images, pruning
from scripts.results import RESULTS, ROOT

Measured = Mapping[str, Any]
Cells = Mapping[str, str]
COMMAND = "python -m scripts.tables: {}"
"""Of a table's place in the page, with its kind."""
PAGE, FOLDER = ROOT / "docs" / "science.md", RESULTS / "science"
EXPERIMENTS: dict[str, Any] = {"holds": holds, "images": images, "pruning": pruning}
"""Each kind has a section of its own in the page, with places for its tables."""


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


ROWS: dict[str, Callable[[str, Measured], Iterator[Cells]]] = {"controls": _of_controls, "overlap": _of_overlap}
"""Of the table of each kind of measurement, those that are of one file, which is called by a link."""


def tables(page: Path, results: Path) -> None:
    """Write the tables of the page from the JSON files in ``results``; without any the page stays as it is."""
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    for path, measured in found.items():
        if experiment := EXPERIMENTS.get(measured["kind"]):
            experiment.draw(measured, path.with_suffix(".png"))
            for place, table in experiment_tables(measured).items():
                markdown.put_table(page, place, table)
    for kind, rows_of in ROWS.items():
        rows: list[Cells] = []
        for path, measured in found.items():
            if measured["kind"] == kind:
                link = f"[{Path(measured['ticket']).stem}](results/{results.name}/{path.name})"
                rows += rows_of(link, measured)
        if rows:
            markdown.put_table(page, COMMAND.format(kind), "\n".join(_table(rows)))


def _table(rows: Sequence[Cells]) -> Iterator[str]:
    return markdown.table_of(markdown.used(dict.fromkeys(name for row in rows for name in row), rows), rows)


def experiment_tables(measured: Measured) -> dict[str, str]:
    """The tables of an experiment in Markdown, by what marks the place of each."""
    kind = measured["kind"]
    return {COMMAND.format(f"{kind}, {what}"): table for what, table in EXPERIMENTS[kind].tables(measured).items()}


def main() -> None:
    parser = Parser(prog="scripts.science", description=__doc__)
    parser.add_argument("name", choices=EXPERIMENTS, help="the experiment")
    wanted = "; ".join(f"of {name}: {module.FROM}" for name, module in EXPERIMENTS.items() if module.FROM)
    parser.add_argument("--from", type=Path, dest="source", metavar="FOLDER", help=wanted)
    args = parser.parse_args()
    experiment, command = EXPERIMENTS[args.name], f"python -m scripts.science {args.name}"
    if experiment.FROM:
        if args.source is None:
            raise UserError(f"--from is missing: name the folder of {experiment.FROM}")
        command += " --from FOLDER"
    logging.disable(logging.INFO)
    path = FOLDER / f"{args.name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    origin = {"kind": args.name, "command": command, "commit": commit(), "machine": machine()}
    for found in experiment.run(args.source, before):
        write_json(path, {**origin, **found})
    tables(PAGE, FOLDER)


if __name__ == "__main__":
    terminal.run(main)
