"""Show what a ticket holds, and its size, against the dense model and the entropy bound.

one-layer-lt info m30k.ticket
one-layer-lt info m30k.ticket --model-card README.md      # its card, for Hugging Face
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..files import write_whole
from ..ticket import Ticket, TicketError, load_ticket
from ..ticket.card import facts
from ..ticket.model_card import model_card
from ..ticket.sizes import Sizes, sizes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="TICKET", help="a ticket")
    parser.add_argument("--model-card", type=Path, metavar="FILE", help="write its card as a model card, and no more")


def run(args: argparse.Namespace) -> None:
    ticket = load_ticket(args.file)
    if args.model_card:
        try:
            write_whole(args.model_card, model_card(ticket))
        except TicketError as error:
            raise TicketError(f"{args.file}: {error}") from None
        print(f"{args.model_card}: the model card of {args.file}")
        return
    measured = sizes(ticket)
    for name, text in facts(ticket.card):
        print(f"{name}: {text}")
    plain = Console(width=max(Console().width, 110), markup=False, emoji=False)  # names may look like either
    plain.print(_table(measured))
    print("\n".join(_summary(ticket, measured)))


def _table(measured: Sizes) -> Table:
    table = Table("tensors", "number", "shape", "kept", "bits a weight", "bytes")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in (*measured.masked, *measured.unmasked):
        shape = " x ".join(map(str, kind.shape))
        kept = f"{kind.kept / kind.weights:.1%}"
        table.add_row(kind.name, str(kind.tensors), shape, kept, f"{kind.bits:.3f}", f"{kind.bytes:,.0f}")
    return table


def _summary(ticket: Ticket, measured: Sizes) -> Iterator[str]:
    weights = ticket.weights
    numbers = sum(spec.size for spec in weights)
    yield f"random weights: {len(weights)}, {numbers:,} numbers, drawn from seed {_seeds(ticket)}"
    bound = f", {measured.masks / measured.bound:.4f} times the entropy bound" if measured.bound else ""
    yield f"masks: {measured.masks:,} bytes{bound}"
    yield f"dictionaries and tokenizer: {measured.assets:,} bytes"
    yield f"the file: {measured.file:,} bytes"
    yield (
        f"dense in float32: {measured.dense:,} bytes, {measured.dense / measured.without_assets:.1f} times the file "
        "without dictionaries and tokenizer"
    )


def _seeds(ticket: Ticket) -> str:
    return ", ".join(map(str, sorted({mask.config.seed for mask in ticket.masks})))
