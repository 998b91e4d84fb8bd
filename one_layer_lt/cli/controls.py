"""Tell whether a ticket's masks matter, or any masks of that density would do: measure it beside its controls.

    one-layer-lt controls m30k.ticket --data data-bin/multi30k.de-en
    one-layer-lt controls m30k.ticket --data data-bin/multi30k.de-en --seeds 5 --lines 200 -o m30k.controls.json
    one-layer-lt controls conv2.ticket --data mnist --root FOLDER

A control is the ticket with one thing of its masks destroyed:

    shuffled              the values of each mask in another order: a random mask of that density
    shuffled in rows      the same within each row, so that each output unit keeps as many inputs
    other random weights  the masks over the random weights of another seed
    another layer's       each layer has the mask of another one that uses the same random weight

A control that a ticket has not is named with the reason. Figures are means over the seeds of a control, with ± their
standard deviation. Translators are scored as by `one-layer-lt score`, but a translation has at most twice as many
subwords as its source, and ten more. Their loss is per subword of the references, and takes CTranslate2. Networks for
images are measured on the test set.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

from ..errors import UserError, flagged
from ..files import sha256, write_json
from ..lab.controls import CONTROLS
from ..lab.scoring import Result, cells, translations
from ..origin import commit, machine, relative
from ..progress import progress
from ..ticket import Ticket
from ..ticket.box import found
from ..ticket.encoding import to_bytes
from ..translation import Decoding
from .convert import opened
from .info import shown
from .parser import add_data, add_out, add_search, count
from .translate import FLAGS

LENGTH = 2.0, 10  # a translation has at most twice as many subwords as its source, and ten more
Measure = Callable[..., Result]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ticket", type=Path, metavar="TICKET", help="a ticket, or a translator's checkpoint")
    add_data(parser, "prepared data folder; for a network for images, the name of a data set")
    parser.add_argument("--root", type=Path, metavar="PATH", help="where the images are: a folder, or an archive")
    parser.add_argument("--split", choices=("test", "valid"), default="test", help="what to translate (test)")
    parser.add_argument("--lines", type=count, metavar="N", help="translate the first N lines (all)")
    add_search(parser)
    parser.add_argument("--seed", type=count, default=1, metavar="N", help="first seed of the controls (1)")
    parser.add_argument("--seeds", type=count, default=3, metavar="N", help="seeds of each control (3)")
    add_out(parser, "a JSON of all figures", "FILE.json", required=False)


def run(args: argparse.Namespace) -> None:
    file = found(args.ticket)
    ticket = opened(file, args.data)
    seeds = range(args.seed, args.seed + args.seeds)
    if ticket.architecture.get("kind") == "vision":
        units, measure = _images(ticket, args)
    else:
        units, measure = translations(args.data, args.split, args.lines, _decoding(args))
    refused: dict[str, str] = {}
    with progress("measuring", units * (1 + len(CONTROLS) * len(seeds)), "examples") as bar:
        rows: list[dict[str, Any]] = [{"name": "the ticket", "results": [measure(ticket, bar.update)]}]
        for name in CONTROLS:
            try:
                results = [
                    {"seed": seed, **measure(control, bar.update)} for seed, control in made(ticket, name, seeds)
                ]
                rows.append({"name": name, "results": results})
            except NoControl as error:
                refused[name] = str(error)
    shown([{"masks": row["name"], **cells(row["results"])} for row in rows])
    for name, why in refused.items():
        print(f"no control {name!r}: {why}")
    if signature := rows[0]["results"][0].get("signature"):
        print(f"BLEU: {signature}, on {units:,} sentences")
    if args.out:
        about = {"kind": "controls", "ticket": relative(file), "ticket_sha256": sha256(file), "examples": units}
        about |= {"command": _command(args), "commit": commit(), "machine": machine()}
        write_json(args.out, {**about, "rows": rows, "refused": refused})


class NoControl(UserError):
    """A ticket does not have such a control; the text says why."""


def made(ticket: Ticket, name: str, seeds: Sequence[int]) -> Iterator[tuple[int, Ticket]]:
    """(seed, control) for the seeds that make different ones. Raises ``NoControl``."""
    seen: set[bytes] = set()
    for seed in seeds:
        try:
            control = CONTROLS[name](ticket, seed)
        except UserError as error:
            raise NoControl(str(error)) from None
        if (content := to_bytes(control)) not in seen:
            seen.add(content)
            yield seed, control


def _images(ticket: Ticket, args: argparse.Namespace) -> tuple[int, Measure]:
    """The number of test images, and what measures a network on them."""
    if args.lines or args.split != "test":
        raise UserError(
            "--lines and --split are for translators: a network for images has one test set; leave them out"
        )
    from .vision import of_ticket

    trainer, data = of_ticket(ticket, str(args.ticket), str(args.data), args.root)

    def measure(control: Ticket, done: Callable[[int], None]) -> Result:
        trainer.model = control.model()
        accuracy, loss = trainer.measured(data.test)
        done(len(data.test))
        return {"accuracy": accuracy, "loss": loss}

    return len(data.test), measure


def _decoding(args: argparse.Namespace) -> Decoding:
    try:  # what has no end, as the translations of most controls, would take most of the time
        return Decoding(args.beam, args.lenpen, *LENGTH, args.max_tokens)
    except ValueError as error:
        raise UserError(flagged(error, FLAGS)) from None


def _command(args: argparse.Namespace) -> str:
    words: list[Any] = ["one-layer-lt", "controls", relative(found(args.ticket))]
    words += ["--data", args.data if args.root else relative(args.data), "--split", args.split, "--beam", args.beam]
    words += ["--lenpen", f"{args.lenpen:g}", "--max-tokens", args.max_tokens]
    words += ["--seed", args.seed, "--seeds", args.seeds]
    words += ["--lines", args.lines] if args.lines else []
    words += ["--root", relative(args.root)] if args.root else []
    return shlex.join(map(str, words))
