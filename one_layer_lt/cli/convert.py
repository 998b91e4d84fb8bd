r"""Fold a ticket, or a checkpoint, into a dense model for others to run.

It is written into a folder, with its dictionaries and its subword model. For fairseq, model.pt is of the stock arch
`transformer`, which runs without this project. The command that translates with it is printed; of a German-English
model with sentencepieces it is:

    one-layer-lt convert m30k.ticket --to fairseq -o folded
    fairseq-interactive folded --path folded/model.pt --source-lang de --target-lang en --bpe sentencepiece \
        --sentencepiece-model folded/spm.model
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ..ticket import load_ticket
from ..ticket.companions import companion
from .parser import add_data, add_out
from .translate import add_quantization


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="TICKET", help="a ticket, or a checkpoint")
    parser.add_argument("--to", choices=["fairseq", "ctranslate2"], required=True, help="who is to run it")
    add_out(parser, "the folder to write", "FOLDER")
    add_quantization(parser)
    add_data(parser, "data folder of a checkpoint (the one that it names)", required=False)


def run(args: argparse.Namespace) -> None:
    if args.quantization and args.to != "ctranslate2":
        raise UserError("--quantization needs --to ctranslate2")
    if not args.source.is_file():
        raise UserError(f"no such file: {args.source}")
    with args.source.open("rb") as file:
        is_checkpoint = file.read(2) == b"PK"
    if is_checkpoint:
        ticket = companion("fairseq_plugins.ticket").from_checkpoint(args.source, args.data)
    else:
        ticket = load_ticket(args.source)
    ticket.convert(args.out, args.to, args.quantization)
    print(f"{args.out}: {', '.join(sorted(path.name for path in args.out.iterdir()))}")
    if args.to == "fairseq":
        print(companion("fairseq_plugins.fold").how_to_translate(ticket, args.out))
