"""Show what a ticket holds, and its size, against the dense model and the entropy bound.

one-layer-lt info m30k.ticket
one-layer-lt info m30k.ticket --model-card card.md        # its card, for Hugging Face
one-layer-lt info m30k.ticket --overlap                   # do layers that share a random weight choose the same masks?
one-layer-lt info seed1.ticket --overlap-with seed2.ticket -o overlap.json

Overlap is the number of weights that both masks keep, over the number that either keeps. Chance is what masks that
keep as many, independently of one another, would give. Of masks of signs, which keep all weights, the positive ones
count as kept. Signs are compared where both masks keep a weight.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..errors import UserError
from ..files import sha256, write_json, write_whole
from ..lab import overlap
from ..origin import commit, relative
from ..ticket import Ticket, TicketError, load_ticket
from ..ticket.box import found
from ..ticket.card import facts
from ..ticket.model_card import model_card
from ..ticket.sizes import Sizes, sizes
from .parser import add_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="TICKET", help="a ticket")
    parser.add_argument("--model-card", type=Path, metavar="FILE", help="write its card as a model card, and no more")
    said = "show how alike the masks of layers over one random weight are, and what they keep, head by head"
    parser.add_argument("--overlap", action="store_true", help=said)
    said = "show how alike its masks and those of another ticket are, tensor by tensor"
    parser.add_argument("--overlap-with", type=Path, metavar="TICKET", help=said)
    add_out(parser, "a JSON of the overlaps", "FILE.json", required=False)


def run(args: argparse.Namespace) -> None:
    ticket = load_ticket(args.file)
    if args.model_card:
        try:
            write_whole(args.model_card, model_card(ticket))
        except TicketError as error:
            raise TicketError(f"{args.file}: {error}") from None
        print(f"{args.model_card}: the model card of {args.file}")
        return
    if args.overlap or args.overlap_with:
        _overlaps(ticket, args)
        return
    if args.out:
        raise UserError("-o takes overlaps: add --overlap, or --overlap-with TICKET")
    measured = sizes(ticket)
    for name, text in facts(ticket.card):
        print(f"{name}: {text}")
    print_table(_table(measured))
    print("\n".join(_summary(ticket, measured)))


def print_table(table: Table) -> None:
    """Its first column is of words, the others of numbers."""
    for column in table.columns[1:]:
        column.justify = "right"
    # Names may look like markup.
    Console(width=max(Console().width, 110), markup=False, emoji=False).print(table)


def shown(rows: Sequence[Mapping[str, str]]) -> None:
    """Print some rows as a table, whose columns are those that hold anything."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    table = Table(*columns)
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    print_table(table)


def _overlaps(ticket: Ticket, args: argparse.Namespace) -> None:
    """Show, and write, how alike masks are."""
    made: dict[str, Any] = {"kind": "overlap", **_file("ticket", args.file)}
    if args.overlap:
        made["pairs"], made["kept"] = overlap.pairs(ticket), overlap.kept(ticket)
        if made["pairs"]:
            shown([overlap.cells(one) for one in overlap.summaries(made["pairs"])])
        else:
            print("no two masks are over one random weight")
        percents = [[f"{kept:.1%}" for kept in (one["kept"], *one["heads"])] for one in made["kept"]]
        rows = zip(made["kept"], percents)
        shown([{"mask": one["mask"], "kept": whole, "by head": " ".join(heads)} for one, (whole, *heads) in rows])
    if args.overlap_with:
        made |= {
            **_file("other", args.overlap_with),
            "between": overlap.between(ticket, load_ticket(args.overlap_with)),
        }
        shown([overlap.cells(one) for one in made["between"]])
    if args.out:
        write_json(args.out, {**made, "commit": commit()})


def _file(name: str, path: Path) -> dict[str, str]:
    return {name: relative(found(path)), f"{name}_sha256": sha256(found(path))}


def _table(measured: Sizes) -> Table:
    table = Table("tensors", "number", "shape", "kept", "bits a weight", "bytes")
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
