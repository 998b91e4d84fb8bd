"""`one-layer-lt`: export, look into, verify, fold and run tickets.

one-layer-lt export runs/m30k/checkpoint_best.pt --data data-bin/multi30k.de-en -o m30k.ticket
echo "Ein Hund rennt." | one-layer-lt translate m30k.ticket
"""

from __future__ import annotations

import itertools
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Optional

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .terminal import run_click
from .ticket import Ticket, TicketSet, WeightPool, load_ticket
from .ticket.companions import companion
from .ticket.sizes import Sizes, sizes
from .ticket.ticket import names_of
from .translation import Decoding
from .version import __version__

_FAIRSEQ = "fairseq_plugins.ticket"  # reads fairseq's checkpoints
_FOLD = "fairseq_plugins.fold"
_LISTING = "fairseq_plugins.listing"
_CHUNK = 2000  # lines that are sorted by length and translated together
_path = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__)
def cli() -> None:
    """Tickets: translators as a seed plus about one bit per weight.

    \b
    one-layer-lt export runs/m30k/checkpoint_best.pt --data data-bin/multi30k.de-en -o m30k.ticket
    echo "Ein Hund rennt." | one-layer-lt translate m30k.ticket
    """


@cli.command()
@click.argument("checkpoint", type=_path)
@click.option("--data", type=_path, required=True, help="The fairseq data folder that it was trained on.")
@click.option("--bpe", type=_path, help="Sentencepiece model or BPE codes, where the data folder does not hold them.")
@click.option("-o", "--out", type=_path, required=True, help="The ticket to write.")
def export(checkpoint: Path, data: Path, bpe: Optional[Path], out: Path) -> None:
    """Make a ticket of a checkpoint of one_layer_masked."""
    ticket: Ticket = companion(_FAIRSEQ).from_checkpoint(checkpoint, data, bpe)
    ticket.save(out)
    measured = sizes(ticket)
    click.echo(f"{out}: {measured.file:,} bytes, of which masks {measured.masks:,}")


@cli.command()
@click.argument("file", type=_path)
def info(file: Path) -> None:
    """Show what a ticket holds.

    And its size, against the dense model and the entropy bound.
    """
    ticket = load_ticket(file)
    measured = sizes(ticket)
    Console(width=max(Console().width, 110)).print(_table(measured))
    click.echo("\n".join(_summary(ticket, measured)))


@cli.command()
@click.argument("file", type=_path)
def verify(file: Path) -> None:
    """Check all that a ticket claims.

    Its random weights are drawn anew for that.
    """
    ticket, pool = load_ticket(file), WeightPool()
    drawn = [pool.get(spec, ticket.redraws.get(spec)) for spec in ticket.weights if spec not in ticket.existing]
    if ticket.architecture:
        ticket.model(pool)
    click.echo(f"{file}: good. {len(ticket.masks)} masks, over {len(drawn)} random weights that come out as they were")


@cli.command()
@click.argument("files", type=_path, nargs=-1, required=True, metavar="FILE...")
@click.option("--engine", type=click.Choice(["torch", "ctranslate2"]), default="torch", show_default=True)
@click.option("--quantization", help="Of ctranslate2: int8, int8_float32, bfloat16, ... (default: float32).")
@click.option("--beam", type=int, default=5, show_default=True, help="Width of the beam search.")
@click.option("--length-penalty", type=float, default=1.0, show_default=True, help="Above 1 favours long translations.")
@click.option("--max-len-a", type=float, default=0.0, show_default=True, help="At most A * source + B subwords: A.")
@click.option("--max-len-b", type=int, default=200, show_default=True, help="At most A * source + B subwords: B.")
@click.option("--max-tokens", type=int, default=8000, show_default=True, help="Source subwords in a batch.")
def translate(files: Sequence[Path], engine: str, quantization: Optional[str], **search: Any) -> None:
    """Translate standard input, line by line.

    Raw text goes in, and raw text comes out, on standard output.

    With several tickets, which share what random weights they can, each line is NAME<tab>TEXT, where NAME is a
    ticket's file name without its ending.
    """
    if quantization and engine != "ctranslate2":
        raise click.UsageError("--quantization needs --engine ctranslate2")
    decoding = Decoding(**search)
    names = names_of(files)
    tickets = TicketSet(dict(zip(names, map(load_ticket, files))), engine, quantization)
    if len(files) == 1:
        tickets.use(names[0])  # a ticket that cannot run says so before any input
    out = sys.stdout
    with _progress() as bar:
        done = 0
        for lines in _chunks():
            for text in _translated(tickets, lines, decoding, done, bar):
                out.write(text + "\n")
            out.flush()
            done += len(lines)


@cli.command()
@click.argument("source", type=_path)
@click.option("--to", type=click.Choice(["fairseq", "ctranslate2"]), required=True, help="Who is to run it.")
@click.option("-o", "--out", type=_path, required=True, help="The folder to write.")
@click.option("--quantization", help="Of ctranslate2: int8, int8_float32, bfloat16, ... (default: float32).")
@click.option("--data", type=_path, help="The data folder of a checkpoint (default: the one it names).")
def fold(source: Path, to: str, out: Path, quantization: Optional[str], data: Optional[Path]) -> None:
    """Fold a ticket, or a checkpoint, into a dense model.

    It is written into a folder, with its dictionaries and its subword model. For fairseq, model.pt is of the stock arch
    `transformer`, which runs without this project. The command that translates with it is printed; of a German-English
    model with sentencepieces it is:

    \b
    one-layer-lt fold m30k.ticket --to fairseq -o folded
    fairseq-interactive folded --path folded/model.pt --source-lang de --target-lang en --bpe sentencepiece \\
        --sentencepiece-model folded/spm.model
    """
    if quantization and to != "ctranslate2":
        raise click.UsageError("--quantization needs --to ctranslate2")
    if not source.exists():
        raise click.UsageError(f"no such file: {source}")
    is_checkpoint = source.open("rb").read(2) == b"PK"
    ticket = companion(_FAIRSEQ).from_checkpoint(source, data) if is_checkpoint else load_ticket(source)
    ticket.convert(out, to, quantization)
    click.echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    if to == "fairseq":
        click.echo(companion(_FOLD).how_to_translate(ticket, out))


@cli.command("options")
@click.option("--markdown", is_flag=True, help="As tables in Markdown.")
def options_(markdown: bool) -> None:
    """List what one_layer_masked can be told in training.

    Each option of the model, with its default and what it does: fairseq-train takes them, but its own --help leaves
    them out.
    """
    listing = companion(_LISTING)
    for title, found in zip(("The model's own:", "Of fairseq's Transformer:"), listing.listed()):
        click.echo(f"{title}\n")
        if markdown:
            click.echo("\n".join(listing.markdown(found)) + "\n")
            continue
        shown = click.HelpFormatter(max_width=120)
        flags = (f"{option.flag} [{option.default}]" if option.default else option.flag for option in found)
        shown.write_dl(list(zip(flags, (option.text for option in found))))
        click.echo(shown.getvalue())


def main() -> NoReturn:
    """Run the command line: exit 0 when done, 2 with one line on what to mend, 130 when interrupted."""
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")
    logging.getLogger("fairseq").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # of libraries, on matters that no user can mend
    run_click(cli)


def _chunks() -> Iterator[list[str]]:
    """Lines of standard input, a few at a time; one at a time from a terminal, whose user waits."""
    size = 1 if sys.stdin.isatty() else _CHUNK
    lines = enumerate(sys.stdin.buffer, start=1)
    while chunk := list(itertools.islice(lines, size)):
        yield [_decoded(number, line) for number, line in chunk]


def _decoded(number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"standard input: line {number} is not UTF-8: convert it, for example with iconv") from None


def _translated(tickets: TicketSet, lines: list[str], decoding: Decoding, before: int, bar: Any) -> list[str]:
    """The translations of some lines, ticket by ticket, in the order of the lines."""
    chosen: dict[str, list[int]] = {}
    for at, line in enumerate(lines):
        name, tab, text = line.partition("\t")
        if len(tickets.tickets) == 1:
            name, text = next(iter(tickets.tickets)), line
        elif not tab or name not in tickets.tickets:
            names = ", ".join(tickets.tickets)
            raise ValueError(f"standard input: line {before + at + 1} must be NAME<tab>TEXT, NAME one of {names}")
        lines[at] = text
        chosen.setdefault(name, []).append(at)
    for name, places in chosen.items():
        numbers = [before + at + 1 for at in places]
        texts = tickets.use(name).translate([lines[at] for at in places], decoding, bar, numbers)
        for at, text in zip(places, texts):
            lines[at] = text
    return lines


@contextmanager
def _progress() -> Iterator[Any]:
    """Counts sentences on a terminal; silent in a pipe."""
    console = Console(stderr=True)
    shown = console.is_terminal and not sys.stdin.isatty()
    columns = (SpinnerColumn(), TextColumn("translated"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not shown, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done: progress.advance(task, done)


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
