"""Check all that a ticket claims; its random weights are drawn anew for that.

one-layer-lt verify m30k.ticket
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..ticket import WeightPool, load_ticket


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a ticket")


def run(args: argparse.Namespace) -> None:
    ticket, pool = load_ticket(args.file), WeightPool()
    drawn = [pool.get(spec, ticket.redraws.get(spec)) for spec in ticket.weights if spec not in ticket.existing]
    if ticket.architecture:
        ticket.model(pool)
    print(f"{args.file}: good. {len(ticket.masks)} masks, over {len(drawn)} random weights that come out as they were")
