"""List each option of one_layer_masked, with its default and what it does.

    one-layer-lt options

They are for fairseq-train, whose own --help leaves them out.
"""

from __future__ import annotations

import argparse
import shutil
import textwrap

from ..listing import listed, markdown

_FLAGS = 40  # columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as tables in Markdown")


def run(args: argparse.Namespace) -> None:
    width = max(80, min(120, shutil.get_terminal_size().columns)) - _FLAGS
    for title, found in zip(("The model's own:", "Of fairseq's Transformer:"), listed()):
        print(f"{title}\n")
        for line in markdown(found) if args.markdown else []:
            print(line)
        for option in [] if args.markdown else found:
            flag = f"{option.flag} [{option.default}]" if option.default else option.flag
            lines = textwrap.wrap(option.text, width) or [""]
            first = [] if len(flag) < _FLAGS else [flag]
            starts = ["" if first else flag] + [""] * len(lines)
            print("\n".join([*first, *(f"{start:<{_FLAGS}}{line}" for start, line in zip(starts, lines))]))
        print()
