"""Check all that a ticket claims; its random weights are drawn anew for that.

one-layer-lt verify m30k.ticket
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ..optional import MissingPackage
from ..ticket import Ticket, WeightPool, load_ticket


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="TICKET", help="a ticket")


def run(args: argparse.Namespace) -> None:
    ticket = load_ticket(args.file)
    untried = check(ticket)
    masks, weights = len(ticket.masks), len(ticket.weights) - len(ticket.existing)
    print(f"{args.file}: good. {masks} masks, over {weights} random weights that come out as they were{untried}")


def check(ticket: Ticket) -> str:
    """Draw the random weights, build the network, and open what splits its text; raises as they do.

    Returns in words what could not be tried, for what it takes is not installed.
    """
    pool = WeightPool()
    for spec in ticket.weights:
        if spec not in ticket.existing:
            pool.get(spec, ticket.redraws.get(spec))
    what = "the network itself was not built"
    try:
        if ticket.architecture:
            model = ticket.model(pool)
            what = "what splits its text was not opened"
            if ticket.architecture.get("text"):
                ticket.translator("torch", model=model)
    except UserError as error:
        if isinstance(error, MissingPackage) or isinstance(error.__cause__, MissingPackage):
            return f" ({what}: {error})"
        raise
    return ""
