"""Make a data folder for the other direction: source and target swap; text, subwords and dictionaries stay.

python scripts/reverse.py data-bin/multi30k.de-en --out data-bin/multi30k.en-de
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

from data_prep.lib import cli
from data_prep.lib.pipeline import workplace
from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import Manifest, Settings, checksums

log = logging.getLogger(__name__)


def reverse(data: Path, out: Path) -> None:
    """Make ``out`` of ``data``."""
    manifest = Manifest.read(data)
    if out.exists():
        raise UserError(f"--out {out} is there already: choose another, or delete it first")
    with workplace(out) as work:
        made = work / "data"
        reversed_copy(data, made, manifest.settings)
        replace(manifest, settings=swapped(manifest.settings), sha256=checksums(made)).write(made)
        os.replace(made, out)
    log.info("made %s", out)


def swapped(settings: Settings) -> Settings:
    """The settings of the other direction."""
    return replace(settings, source=settings.target, target=settings.source)


def reversed_copy(data: Path, made: Path, settings: Settings) -> None:
    """Copy a data folder for the other direction: fairseq's binary files have the direction in their names only."""
    shutil.copytree(data, made)
    here, there = (f".{way.source}-{way.target}." for way in (settings, swapped(settings)))
    for path in list(made.glob(f"*{here}*")):
        path.rename(path.with_name(path.name.replace(here, there)))


def main() -> None:
    parser = cli.Parser(prog="reverse.py", description=__doc__)
    parser.add_argument("data", type=Path, help="prepared data folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data folder to make")
    args = parser.parse_args()
    reverse(args.data, args.out)


if __name__ == "__main__":
    cli.run(main)
