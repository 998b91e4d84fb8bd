"""The command line that all recipes share: the same flags, and one line an error."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from one_layer_lt.terminal import run as run
from one_layer_lt.terminal import stop as stop
from one_layer_lt.text.manifest import ALPHA


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose description is printed as it stands and whose errors are one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the flags)\n")


def parser(recipe: str, doc: str) -> Parser:
    """A parser with `--out`; the recipe's docstring is its help."""
    made = Parser(prog=f"data_prep/{recipe}.sh", description=doc)
    default = f"data-bin/{recipe}.<source>-<target>"
    made.add_argument("--out", type=Path, metavar="FOLDER", help=f"data folder to make ({default})")
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


def split_passed() -> tuple[list[str], list[str]]:
    """The command line's arguments: those before a lone `--`, and those after it, which another program gets."""
    arguments = sys.argv[1:]
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]
