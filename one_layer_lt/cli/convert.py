r"""Fold a ticket, or a checkpoint, into a dense model for others to run; or make tickets a web page that translates.

A dense model is written into a folder, with its dictionaries and its subword model. For fairseq, model.pt is of the
stock arch `transformer`, which runs without this project. The command that translates with it is printed; of a
German-English model with sentencepieces it is:

    one-layer-lt convert m30k.ticket --to fairseq -o folded
    fairseq-interactive folded --path folded/model.pt --source-lang de --target-lang en --bpe sentencepiece \
        --sentencepiece-model folded/spm.model

A page is one file, which any browser opens from a disk, and it sends no request. Several tickets go into one page:

    one-layer-lt convert de-en.ticket en-de.ticket --to html -o translate.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ..files import write_whole
from ..ticket import Ticket, load_ticket
from ..ticket.box import found
from ..ticket.companions import companion
from ..ticket.ticket import names_of
from .parser import add_data, add_out
from .translate import add_quantization


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", type=Path, nargs="+", metavar="TICKET", help="a ticket, or a checkpoint")
    parser.add_argument("--to", choices=["fairseq", "ctranslate2", "html"], required=True, help="who is to run it")
    add_out(parser, "the folder to write; of html, the file", "PATH")
    add_quantization(parser)
    add_data(parser, "data folder of a checkpoint (the one that it names)", required=False)


def run(args: argparse.Namespace) -> None:
    if args.quantization and args.to != "ctranslate2":
        raise UserError("--quantization needs --to ctranslate2")
    if len(args.sources) > 1 and args.to != "html":
        raise UserError(f"--to {args.to} takes one ticket, not {len(args.sources)}: only a page holds several")
    tickets = dict(zip(names_of(args.sources), [opened(source, args.data) for source in args.sources]))
    if args.to == "html":
        from ..web import page

        write_whole(args.out, page(tickets))
        print(f"{args.out}: {args.out.stat().st_size:,} bytes; a browser opens it")
        return
    (ticket,) = tickets.values()
    ticket.convert(args.out, args.to, args.quantization)
    print(f"{args.out}: {', '.join(sorted(path.name for path in args.out.iterdir()))}")
    if args.to == "fairseq":
        print(companion("fairseq_plugins.fold").how_to_translate(ticket, args.out))


def opened(source: Path, data: Path | None) -> Ticket:
    """The ticket that a file is, or that of a checkpoint. data: the checkpoint's data folder."""
    source = found(source)
    if not source.is_file():
        raise UserError(f"no such file: {source}")
    with source.open("rb") as file:
        is_checkpoint = file.read(2) == b"PK"
    if is_checkpoint:
        ticket: Ticket = companion("fairseq_plugins.ticket").from_checkpoint(source, data)
        return ticket
    return load_ticket(source)
