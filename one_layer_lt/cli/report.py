"""Show runs, tickets and results as one HTML page: curves, scores, tests, masks and translations.

    one-layer-lt report runs/dense runs/masked -o report.html
    one-layer-lt report m30k.ticket docs/results/multi30k/*.json -o report.html

A run is the folder of a fairseq-train: checkpoint_best.pt, the train.log of --log-format json, and what `one-layer-lt
score` wrote beside them. A result is a JSON of a study, or of `one-layer-lt score`. The first one with translations is
the baseline: the others are tested against it as `one-layer-lt compare` does. The page needs no network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_whole
from ..report.gather import SPLITS, Entry, gather
from ..report.page import page
from .parser import add_out


def report(paths: Sequence[Path]) -> bytes:
    """The page of runs, tickets and results. Raises ``UserError`` where one is none, or a package is missing."""
    entries = gather(paths)
    split = next((split for split in SPLITS if any(split in entry.files for entry in entries)), None)
    return page(entries, **(_compared(entries, split) if split else {}))


def _compared(entries: Sequence[Entry], split: str) -> dict[str, Any]:
    """What ``page`` takes of the translations of a split."""
    from . import compare  # it takes sacrebleu

    found: dict[str, Any] = {"split": split}
    systems: dict[int, compare.System] = {}
    notes = found["notes"] = []
    for number, entry in enumerate(entries):
        if split in entry.files:
            try:
                system = compare.read_system(entry.files[split])
                compare.check_alike(next(iter(systems.values()), system), system)
                systems[number] = system
            except UserError as error:
                notes.append(f"{entry.name}: its translations and tests, for {error}")
    if systems:
        found["systems"] = systems
        try:
            compared, found["signatures"] = compare.compare(list(systems.values()))
            found["tested"] = dict(zip(systems, compared))
        except UserError as error:
            notes.append(f"tests of translations, for {error}")
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", type=Path, nargs="+", metavar="RUN|TICKET|RESULT", help="what to show, in this order")
    add_out(parser, "the page to write", "FILE.html")


def run(args: argparse.Namespace) -> None:
    made = report(args.paths)
    write_whole(args.out, made)
    print(f"{args.out}: {len(made):,} bytes")
