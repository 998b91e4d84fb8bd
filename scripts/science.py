"""Ask what masks are, by experiment: write docs/results/science/NAME.json, its plot and its tables in docs/science.md.

python -m scripts.science holds                     # can a random network hold a given one? Minutes of one core
python -m scripts.science images --root FOLDER      # what do masks look like? FOLDER: the four files of MNIST
python -m scripts.science holds --redraw            # only the plot and the tables, from the JSON
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from one_layer_lt import markdown, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json
from one_layer_lt.origin import commit, machine
from scripts.experiments import holds, images
from scripts.results import RESULTS, ROOT

PAGE, FOLDER = ROOT / "docs" / "science.md", RESULTS / "science"
COMMAND = "python -m scripts.science"
EXPERIMENTS: dict[str, Any] = {"holds": holds, "images": images}


def tables(name: str, result: dict[str, Any]) -> dict[str, str]:
    """The tables of an experiment in Markdown, by the command that marks the place of each."""
    return {f"{COMMAND} {name}, {what}": table for what, table in EXPERIMENTS[name].tables(result).items()}


def results(name: str, root: Path | None, before: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is found, each time that there is more; the last is whole. before: what was found, to go on from."""
    if name == "images":
        if root is None:
            raise UserError("--root is missing: name the folder of MNIST's four files")
        yield from images.run(root, before)
    else:
        yield holds.run()


def main() -> None:
    parser = Parser(prog="scripts.science", description=__doc__)
    parser.add_argument("name", choices=EXPERIMENTS, help="the experiment")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="of images: the folder of MNIST's four files")
    parser.add_argument("--redraw", action="store_true", help="only write the plot and the tables again")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    path, command = FOLDER / f"{args.name}.json", f"{COMMAND} {args.name}" + (" --root FOLDER" if args.root else "")
    if args.redraw and not path.is_file():
        raise UserError(f"there is no {path}: leave --redraw out to measure")
    result = json.loads(path.read_text()) if path.is_file() else {}
    if not args.redraw:
        origin = {"command": command, "commit": commit(), "machine": machine()}
        spent = time.process_time() - result.get("cpu_seconds", 0)
        for found in results(args.name, args.root, result):
            result = {**origin, "cpu_seconds": round(time.process_time() - spent), **found}
            write_json(path, result)
    EXPERIMENTS[args.name].draw(result, path.with_suffix(".png"))
    for place, table in tables(args.name, result).items():
        markdown.put_table(PAGE, place, table)


if __name__ == "__main__":
    terminal.run(main)
