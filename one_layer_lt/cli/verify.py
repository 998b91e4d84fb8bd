"""Check all that a ticket claims; its random weights are drawn anew for that.

one-layer-lt verify m30k.ticket
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..optional import MissingPackage
from ..ticket import Ticket, TicketError, WeightPool, load_ticket


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="TICKET", help="a ticket")


def run(args: argparse.Namespace) -> None:
    ticket, pool = load_ticket(args.file), WeightPool()
    drawn = [pool.get(spec, ticket.redraws.get(spec)) for spec in ticket.weights if spec not in ticket.existing]
    unbuilt = _build(ticket, pool) if ticket.architecture else ""
    masks, weights = len(ticket.masks), len(drawn)
    print(f"{args.file}: good. {masks} masks, over {weights} random weights that come out as they were{unbuilt}")


def _build(ticket: Ticket, pool: WeightPool) -> str:
    """Build the network; says where that could not be tried, for what builds it is not installed."""
    try:
        ticket.model(pool)
    except TicketError as error:
        if isinstance(error.__cause__, MissingPackage):
            return f" (the network itself was not built: {error})"
        raise
    return ""
