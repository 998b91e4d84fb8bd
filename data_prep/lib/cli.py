"""The command line that all recipes share: the same flags, in the words of `one-layer-lt`."""

from __future__ import annotations

import argparse
from pathlib import Path

from one_layer_lt.cli.parser import Parser, add_out
from one_layer_lt.terminal import run as run
from one_layer_lt.text.manifest import ALPHA


def parser(recipe: str, doc: str) -> Parser:
    """A parser with `--out`; the recipe's docstring is its help."""
    made = Parser(prog=f"data_prep/{recipe}.sh", description=doc)
    default = f"data-bin/{recipe}.<source>-<target>"
    add_out(made, f"data folder to make ({default})", "FOLDER", required=False)
    return made


def add_from(made: Parser, what: str, required: bool = False) -> None:
    """`--from`: a local copy in place of the download; its value is `args.origin`."""
    made.add_argument("--from", dest="origin", type=Path, metavar="PATH", required=required, help=what)


def add_languages(made: Parser, source: str | None = None, target: str | None = None) -> None:
    """`--source` and `--target`, required where there is no default."""
    for flag, default in (("--source", source), ("--target", target)):
        shown = f" ({default})" if default else ""
        made.add_argument(flag, default=default, required=default is None, metavar="LANG", help=f"language code{shown}")


def add_samples(made: Parser) -> None:
    """`--samples` and `--alpha`: subword regularisation."""
    said = "write the training text N times, cut into other sentencepieces each time but the first (1)"
    made.add_argument("--samples", type=int, default=1, metavar="N", help=said)
    said = f"0 makes all segmentations as likely, 1 as likely as the model has it ({ALPHA})"
    made.add_argument("--alpha", type=float, default=ALPHA, metavar="X", help=said)


def out_folder(args: argparse.Namespace, corpus: str, source: str, target: str) -> Path:
    """`--out`, or its default."""
    return args.out if args.out is not None else Path("data-bin") / f"{corpus}.{source}-{target}"


def downloads(out: Path, corpus: str) -> Path:
    """Where downloads are kept, beside the data folder, for the next run."""
    return out.parent / "downloads" / corpus
