"""List the tickets that come with the package.

    one-layer-lt tickets

Where a command takes a ticket's file, it takes the name of one of these, too, if there is no file of that name.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from ..ticket import load_ticket
from ..ticket.box import boxed
from ..ticket.card import facts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(args: argparse.Namespace) -> None:
    box = boxed()
    if not box:
        print("no tickets come with this package: make one with one-layer-lt export")
        return
    table = Table("name", "bytes", "BLEU", "card", show_lines=True)
    for name, path in box.items():
        card = load_ticket(path).card
        bleu = [f"{score['value']:.2f}" for score in card.get("scores", ()) if score["metric"] == "BLEU"]
        said = "\n".join(f"{field}: {text}" for field, text in facts(card))
        table.add_row(name, f"{path.stat().st_size:,}", ", ".join(bleu), said)
    Console(width=max(Console().width, 110), markup=False, emoji=False).print(table)
