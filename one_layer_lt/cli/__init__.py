"""`one-layer-lt`: one command. Its subcommands are modules, each loaded when it is called.

A module's docstring is its help; ``add_arguments(parser)`` adds its options, and ``run(args)`` does the work.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from ..errors import UserError
from ..terminal import run
from ..version import __version__
from .parser import Parser

PROGRAM = "one-layer-lt"
GROUPS = {
    "Translators": {
        "score": ("fairseq_plugins.commands.score", "translate a test set with a checkpoint, and score it"),
        "compare": ("one_layer_lt.cli.compare", "tell whether two scores differ by more than chance"),
        "average": ("fairseq_plugins.commands.average", "average the last checkpoints of a training"),
        "report": ("one_layer_lt.cli.report", "show runs, tickets and results as one page to look at"),
    },
    "Tickets": {
        "export": ("fairseq_plugins.commands.export", "make a ticket of a checkpoint"),
        "info": ("one_layer_lt.cli.info", "show what a ticket holds, and its size"),
        "verify": ("one_layer_lt.cli.verify", "check all that a ticket claims"),
        "translate": ("one_layer_lt.cli.translate", "translate standard input with tickets"),
        "controls": ("one_layer_lt.cli.controls", "tell whether the masks matter, by tickets with other masks"),
        "tickets": ("one_layer_lt.cli.tickets", "list the tickets that come with the package"),
        "convert": ("one_layer_lt.cli.convert", "make a web page of a ticket, or a model for CTranslate2 or fairseq"),
    },
    "Training": {
        "make": ("fairseq_plugins.commands.make", "make a ticket or a web page of your own text, from first to last"),
        "train": ("fairseq_plugins.commands.train", "run fairseq-train, and show how far it is"),
        "options": ("fairseq_plugins.commands.options", "list what one_layer_masked can be told in training"),
        "plugin-dir": ("one_layer_lt.cli.plugin_dir", "print the folder for fairseq's --user-dir"),
        "launch": ("one_layer_lt.cli.launch", "train on several processes of CPUs as one"),
        "prune": ("fairseq_plugins.commands.prune", "prune by magnitude, in rounds with rewinding"),
        "distil": ("fairseq_plugins.commands.distil", "add models' translations to the training text"),
        "reverse": ("fairseq_plugins.commands.reverse", "turn prepared data to the other direction"),
        "embeddings": ("fairseq_plugins.commands.embeddings", "make pre-trained embeddings of a text or a model"),
    },
    "Images": {
        "vision": ("one_layer_lt.cli.vision", "train and evaluate networks for images, and make tickets of them"),
    },
}
COMMANDS = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}
_LEVELS = {  # what is said of models as they are built is for trainings
    "fairseq": logging.ERROR,
    "fairseq_plugins": logging.WARNING,
    "fairseq_plugins.commands": logging.INFO,
    "one_layer_lt.convert": logging.WARNING,
}
ALIASES = {"fold": "convert"}  # names of before, still understood


def main(name: str | None = None) -> NoReturn:
    """Run the command line, or subcommand ``name`` of it: exit 0 when done, 2 with one line on what to mend."""
    for logger, level in _LEVELS.items():
        logging.getLogger(logger).setLevel(level)
    warnings.simplefilter("ignore")  # of libraries, on matters that no user can mend
    words = sys.argv[1:] if name is None else [name, *sys.argv[1:]]
    run(lambda: call(words), ValueError)  # options go to the library, and what it refuses is theirs


def call(words: Sequence[str]) -> None:
    """Do what the command line's words say."""
    name, *rest = words or ["--help"]
    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"{PROGRAM} {__version__}")
    else:
        module, parser = subcommand(name)
        module.run(parser.parse_args(rest))


def subcommand(name: str) -> tuple[ModuleType, Parser]:
    """The module of a subcommand, and its parser. Raises ``UserError`` where there is none, or its packages miss."""
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, 1)
        mend = f"did you mean {close[0]}?" if close else f"{PROGRAM} --help lists them"
        raise UserError(f"{PROGRAM} has no subcommand {name!r}: {mend}")
    path = COMMANDS[name]
    if path.startswith(f"{__name__}."):
        module = import_module(path)
    else:
        from ..ticket.companions import companion  # it imports torch, which not all need

        module = companion(path)
    parser = Parser(prog=f"{PROGRAM} {name}", description=module.__doc__)
    module.add_arguments(parser)
    return module, parser


def overview() -> str:
    """The table of subcommands."""
    lines = [
        f"usage: {PROGRAM} SUBCOMMAND ...",
        "",
        "Translators and other networks of random weights, by masks alone.",
    ]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<12}{what}" for name, (_, what) in group.items())]
    return "\n".join([*lines, "", f"{PROGRAM} SUBCOMMAND --help tells more, with an example. --version: {__version__}"])
