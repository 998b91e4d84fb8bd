"""The one parser of all command lines: the same words for the same things, and one line an error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, NoReturn

from ..files import first_folder
from ..terminal import stop


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose description is printed as it stands and whose errors are one line.

    renamed: old spelling -> new one, of options that are still understood. passes: `-- ARGS`, or `[-- ARGS]`,
    where what follows a lone `--` is another program's: the usage shows it, and it is left as it is in ``args.passed``.
    `ARGS`: all words but --help are.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **settings})
        self.renamed: Mapping[str, str] = {}
        self.passes = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words: Sequence[str] = list(sys.argv[1:] if args is None else args)
        passed: Sequence[str] = []
        if self.passes == "ARGS":
            words, passed = [word for word in words if word in ("-h", "--help")], words
        elif self.passes and "--" in words:
            at = words.index("--")
            words, passed = words[:at], words[at + 1 :]
        parsed, unknown = super().parse_known_args(list(map(self._new, words)), namespace)
        if self.passes:
            parsed.passed = passed
        return parsed, unknown

    def format_usage(self) -> str:
        usage = super().format_usage()
        if not self.passes:
            return usage
        lines = usage.rstrip("\n").split("\n")
        if len(lines[-1]) + 1 + len(self.passes) > get_terminal_size().columns - 2:  # as argparse counts
            lines.append(" " * len(f"usage: {self.prog}"))
        lines[-1] += f" {self.passes}"
        return "\n".join(lines) + "\n"

    def format_help(self) -> str:
        return self.format_usage() + super().format_help().removeprefix(super().format_usage())

    def error(self, message: str) -> NoReturn:
        stop(f"{message} ({self.prog} --help lists the options)", 2)

    def _new(self, word: str) -> str:
        flag, equals, value = word.partition("=")
        return self.renamed.get(flag, flag) + equals + value


def add_out(parser: argparse.ArgumentParser, what: str, metavar: str = "FILE", required: bool = True) -> None:
    """`-o`, `--out`: what is written."""
    parser.add_argument("-o", "--out", type=Path, required=required, metavar=metavar, help=what)


def add_data(parser: argparse.ArgumentParser, what: str = "prepared data folder", required: bool = True) -> None:
    """`--data`: a folder that `data_prep` made, or several as fairseq-train takes them, of which it is the first."""
    parser.add_argument("--data", type=first_folder, required=required, metavar="FOLDER", help=what)


def add_beam(parser: argparse.ArgumentParser) -> None:
    """`--beam`."""
    parser.add_argument("--beam", type=count, default=5, metavar="N", help="width of the beam search (5)")


def add_search(parser: argparse.ArgumentParser) -> None:
    """`--beam`, `--lenpen` and `--max-tokens`: how a translation is searched for."""
    add_beam(parser)
    parser.add_argument("--lenpen", type=float, default=1.0, metavar="X", help="above 1 favours long translations (1)")
    parser.add_argument("--max-tokens", type=count, default=8000, metavar="N", help="source tokens in a batch (8000)")


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)
