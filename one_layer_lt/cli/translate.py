"""Translate standard input, line by line: raw text goes in, and raw text comes out, on standard output.

    echo "Ein Hund rennt." | one-layer-lt translate m30k.ticket

With several tickets, each line is NAME<tab>TEXT, where NAME is a ticket's file name without its ending. By the engine
torch they share what random weights they can.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError, flagged
from ..progress import progress
from ..ticket import TicketSet, load_ticket
from ..ticket.ticket import names_of
from ..translation import Decoding, Progress
from .parser import Parser, add_search

_CHUNK = 2000  # lines that are sorted by length and translated together
_BYTES = 1 << 24  # of a chunk, after which no further line is read
_LONGEST = 1 << 20  # bytes of a line
FLAGS = {"length_penalty": "--lenpen", "max_len_a": "--max-len-a", "max_len_b": "--max-len-b"}
FLAGS |= {"beam": "--beam", "max_tokens": "--max-tokens"}


def add_arguments(parser: Parser) -> None:
    parser.renamed = {"--length-penalty": "--lenpen"}
    parser.add_argument("files", type=Path, nargs="+", metavar="TICKET", help="a ticket")
    said = "who translates: torch is fairseq, auto is ctranslate2 where it is installed, else torch (auto)"
    parser.add_argument("--engine", choices=["auto", "torch", "ctranslate2"], default="auto", help=said)
    add_quantization(parser)
    add_search(parser)
    for name, default in (("a", 0.0), ("b", 200)):
        said = f"at most A * source + B subwords: {name.upper()} ({default:g})"
        parser.add_argument(f"--max-len-{name}", type=type(default), default=default, metavar=name.upper(), help=said)


def add_quantization(parser: argparse.ArgumentParser) -> None:
    """`--quantization`."""
    said = "of ctranslate2: int8, int8_float32, bfloat16, ... (float32)"
    parser.add_argument("--quantization", metavar="KIND", help=said)


def run(args: argparse.Namespace) -> None:
    if args.quantization and args.engine == "torch":
        raise UserError("--quantization needs --engine ctranslate2")
    try:
        decoding = Decoding(args.beam, args.lenpen, args.max_len_a, args.max_len_b, args.max_tokens)
    except ValueError as error:
        raise UserError(flagged(error, FLAGS)) from None
    if sys.stdin is None:
        raise UserError("standard input is closed: the text to translate comes from it, a sentence a line")
    names = names_of(args.files)
    tickets = TicketSet(dict(zip(names, map(load_ticket, args.files))), args.engine, args.quantization)
    if len(names) == 1:
        tickets.use(names[0])  # a ticket that cannot run says so before any input
    done = 0
    with progress("translating", unit="sentences", shown=not sys.stdin.isatty()) as bar:
        for lines in _chunks():
            for text in _translated(tickets, lines, decoding, done, bar.update):
                sys.stdout.write(text + "\n")
            sys.stdout.flush()
            done += len(lines)


def _chunks() -> Iterator[list[str]]:
    """Lines of standard input, a few at a time; one at a time from a terminal, whose user waits."""
    most = 1 if sys.stdin.isatty() else _CHUNK
    chunk: list[str] = []
    size = 0
    for number in itertools.count(1):
        line = sys.stdin.buffer.readline(_LONGEST + 1)
        if len(line) > _LONGEST:
            raise UserError(f"standard input: line {number} is longer than {_LONGEST:,} bytes: break it up")
        if line:
            chunk.append(_decoded(number, line))
            size += len(line)
        if chunk and (not line or len(chunk) == most or size >= _BYTES):
            yield chunk
            chunk, size = [], 0
        if not line:
            return


def _decoded(number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UserError(f"standard input: line {number} is not UTF-8: convert it, for example with iconv") from None


def _translated(tickets: TicketSet, lines: list[str], decoding: Decoding, before: int, bar: Progress) -> list[str]:
    """The translations of some lines, ticket by ticket, in the order of the lines."""
    chosen: dict[str, list[int]] = {}
    for at, line in enumerate(lines):
        name, tab, text = line.partition("\t")
        if len(tickets.tickets) == 1:
            name, text = next(iter(tickets.tickets)), line
        elif not tab or name not in tickets.tickets:
            names = ", ".join(tickets.tickets)
            raise UserError(f"standard input: line {before + at + 1} must be NAME<tab>TEXT, NAME one of {names}")
        lines[at] = text
        chosen.setdefault(name, []).append(at)
    for name, places in chosen.items():
        numbers = [before + at + 1 for at in places]
        texts = tickets.use(name).translate([lines[at] for at in places], decoding, bar, numbers)
        for at, text in zip(places, texts):
            lines[at] = text
    return lines
