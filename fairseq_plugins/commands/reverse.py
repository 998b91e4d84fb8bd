"""Make a data folder for the other direction: source and target swap; text, subwords and dictionaries stay.

one-layer-lt reverse data-bin/multi30k.de-en -o data-bin/multi30k.en-de
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

from data_prep.lib.pipeline import workplace
from one_layer_lt.cli.parser import add_out
from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import FILE, Manifest, Settings, checksums

log = logging.getLogger(__name__)


def reverse(data: Path, out: Path) -> None:
    """Make ``out`` of ``data``."""
    manifest = Manifest.read(data)
    manifest.verify(data)
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
    shutil.copytree(data, made, ignore=shutil.ignore_patterns(FILE))  # it would name the files of before
    here, there = (f".{way.source}-{way.target}." for way in (settings, swapped(settings)))
    for path in list(made.glob(f"*{here}*")):
        path.rename(path.with_name(path.name.replace(here, there)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, metavar="FOLDER", help="prepared data folder")
    add_out(parser, "data folder to make", "FOLDER")


def run(args: argparse.Namespace) -> None:
    reverse(args.data, args.out)
