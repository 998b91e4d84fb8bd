"""Make a ticket of a checkpoint of a masked model.

    one-layer-lt export runs/m30k/checkpoint_best.pt --data data-bin/multi30k.de-en -o m30k.ticket
    one-layer-lt export runs/m30k/checkpoint_best.pt --card card.toml -o m30k.ticket

A ticket holds masks and what draws the random weights under them. A model that was trained with --dense has no masks,
so there is no ticket of it. The ticket is opened as `one-layer-lt verify` does before it gets its name.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from one_layer_lt.cli.parser import add_data, add_out
from one_layer_lt.cli.verify import check
from one_layer_lt.files import whole
from one_layer_lt.ticket import Ticket, TicketError, load_ticket
from one_layer_lt.ticket.card import read_card
from one_layer_lt.ticket.sizes import sizes

from ..ticket import from_checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a masked model")
    add_data(
        parser, "the fairseq data folder that it was trained on (the one that the checkpoint names)", required=False
    )
    said = "sentencepiece model or codes of subword-nmt, where the data folder does not hold them"
    parser.add_argument("--bpe", type=Path, metavar="FILE", help=said)
    said = "TOML that says what the ticket is: name, data, licence, scores (docs/ticket-format.md)"
    parser.add_argument("--card", type=Path, metavar="FILE", help=said)
    add_out(parser, "the ticket to write")


def run(args: argparse.Namespace) -> None:
    card = read_card(args.card) if args.card else {}
    ticket, untried = export(args.checkpoint, args.out, card, args.data, args.bpe)
    measured = sizes(ticket)
    print(f"{args.out}: {measured.file:,} bytes, of which masks {measured.masks:,}{untried}")


def export(
    checkpoint: Path, out: Path, card: Mapping[str, Any], data: Path | None = None, subwords: Path | None = None
) -> tuple[Ticket, str]:
    """Write the ticket of a checkpoint; with it, what of it could not be tried (``verify.check``).

    Raises ``TicketError`` where it would be of no use, and then writes nothing.
    """
    ticket = replace(from_checkpoint(checkpoint, data, subwords), card=card)
    with whole(out) as part:
        ticket.save(part)
        try:
            untried = check(load_ticket(part))
        except TicketError as error:
            raise TicketError(f"{checkpoint}: its ticket would be of no use: {error}") from error
    return ticket, untried
