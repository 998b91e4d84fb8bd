"""The command line that all recipes share: the same flags, logging, and one line an error."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any, Callable, NoReturn

from .errors import DataError
from .manifest import ALPHA

log = logging.getLogger(__name__)


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


def run(main: Callable[[], None]) -> NoReturn:
    """Run a recipe: exit 0 when done, 2 with one line on what the user can mend, 130 when interrupted."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s | %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except DataError as error:
        stop(str(error), 2)
    except OSError as error:  # a full disk, a folder that may not be written
        stop(f"{error.filename or 'system'}: {error.strerror or error}", 2)
    except KeyboardInterrupt:
        stop("interrupted: run the same command again", 130)
    sys.exit(0)


def stop(message: str, code: int) -> NoReturn:
    """Leave with one line on stderr."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)
