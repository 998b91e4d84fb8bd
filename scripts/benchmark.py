"""Measure what this project promises of speed, memory and size, in one run: a table, and the same as JSON.

    python scripts/benchmark.py                              # all subjects; about ten minutes
    python scripts/benchmark.py tickets --ticket runs/m30k-masked/m30k.ticket --data data-bin/multi30k.de-en

Run it on a machine that does nothing else. Figures other than memory and seconds are ratios of median times, of two
sides that are measured in turns.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from one_layer_lt import markdown, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json, write_whole
from one_layer_lt.origin import commit, machine
from scripts import plots
from scripts.bench import ranks, steps, tickets, vision
from scripts.bench.timing import Row
from scripts.results import RESULTS

SUBJECTS: dict[str, Callable[[argparse.Namespace], Iterable[Row]]] = {
    "steps": lambda args: steps.rows(),
    "ranks": lambda args: ranks.rows(),
    "tickets": lambda args: tickets.rows(args.ticket, args.data),
    "vision": lambda args: vision.rows(),
}


def main() -> None:
    parser = Parser(prog="benchmark.py", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"what to measure: {', '.join(SUBJECTS)} (all)")
    parser.add_argument(
        "--ticket", type=Path, help="ticket of a trained translator, for the speed of fairseq and CTranslate2"
    )
    parser.add_argument("--data", type=Path, help="the prepared data folder of that translator")
    parser.add_argument("--out", type=Path, default=RESULTS / "benchmark.json", help="the JSON file to write")
    args = parser.parse_args()
    for subject in args.subjects:
        if subject not in SUBJECTS:
            parser.error(f"unknown subject {subject!r}; choose of {', '.join(SUBJECTS)}")
    if (args.ticket is None) != (args.data is None):
        parser.error("--ticket and --data go together")
    for path in filter(None, (args.ticket, args.data)):  # before ten minutes of measuring
        if not path.exists():
            raise UserError(f"no such file or folder: {path}")
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    found = {subject: list(_shown(SUBJECTS[subject](args))) for subject in args.subjects or SUBJECTS}
    kept = json.loads(args.out.read_text())["rows"] if args.out.is_file() else {}
    stamp = {"commit": commit(), "machine": machine(), "versions": _versions()}
    for subject, rows in found.items():
        kept[subject] = {**stamp, "figures": [{**asdict(row), "holds": row.holds} for row in rows]}
    write_json(args.out, {"rows": kept})
    _draw(kept, args.out.with_suffix(".png"))
    write_whole(args.out.with_suffix(".md"), _markdown(kept))
    Console().print(_table(row for rows in found.values() for row in rows))


def _shown(rows: Iterable[Row]) -> Iterator[Row]:
    console = Console(stderr=True)
    for row in rows:
        console.print(f"{row.name}: {row.value}")
        yield row


def _table(rows: Iterable[Row]) -> Table:
    table = Table("figure", "found", "within", "holds")
    for row in rows:
        least = "" if row.least is None else f"at least {row.least}"
        most = "" if row.most is None else f"at most {row.most}"
        holds = {True: "yes", False: "NO", None: "not measured"}[row.holds] if least or most else ""
        table.add_row(row.name, str(row.value), least or most, holds)
    return table


def _markdown(kept: dict[str, Any]) -> str:
    lines = ["# Benchmark", "", "Written by `python scripts/benchmark.py`.", ""]
    for subject, run in kept.items():
        about = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        machine = f"{run['machine']['processor']}, {run['machine']['cores']} cores"
        lines += [f"## {subject}", "", f"{machine}; {about}; commit {run['commit']['hash'][:12]}", ""]
        rows = [("figure", "found", "bound", "holds")]
        for figure in run["figures"]:
            bound = f"at least {figure['least']}" if figure["least"] is not None else ""
            bound = f"at most {figure['most']}" if figure["most"] is not None else bound
            holds = {True: "yes", False: "**no**", None: "not measured"}[figure["holds"]] if bound else ""
            rows.append((figure["name"], figure["value"], bound, holds))
        lines += [*markdown.table(*rows), ""]
    return "\n".join(lines)


def _draw(kept: dict[str, Any], path: Path) -> None:
    """The plot of step time against width, where it was measured."""
    figures = kept.get("steps", {}).get("figures", [])
    ratios = next((figure["detail"] for figure in figures if "feed-forward block" in figure["name"]), None)
    if ratios is None:
        return
    pyplot = plots.set_up()
    figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
    for name, label in (("sorted", "sorting in every forward pass"), ("ours", "ours")):
        axes.plot(*zip(*((int(width), ratio) for width, ratio in ratios[name].items())), "o-", label=label)
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set(
        xlabel="width", ylabel="training step, times dense", xscale="log", title="Feed-forward block, 2,048 tokens"
    )
    axes.set_xticks([int(width) for width in ratios["ours"]], list(ratios["ours"]))
    axes.minorticks_off()
    axes.legend()
    plots.save(figure, path)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


if __name__ == "__main__":
    terminal.run(main)
