"""Sequence-level distillation: a data folder whose training targets are a teacher's translations.

    python scripts/distil.py runs/dense/checkpoint_best.pt --data data-bin/multi30k.de-en \\
        --out data-bin/multi30k-distilled.de-en

What a model says is more regular than what people wrote, and easier to learn (Kim & Rush 2016, arXiv 1606.07947). Each
source sentence is kept twice, with the target that it had and with the teacher's; validation and test stay as they are.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset
from fairseq.data.indexed_dataset import make_builder

from data_prep.lib import cli
from data_prep.lib.errors import DataError
from data_prep.lib.manifest import Manifest, checksums
from data_prep.lib.pipeline import workplace
from scripts.average import count
from scripts.score import ROOT, find_checkpoint, translate

log = logging.getLogger(__name__)


def distil(checkpoint: Path, data: Path, out: Path, beam: int) -> None:
    """Make ``out`` of ``data`` and the checkpoint's translations of its training text, by beam search."""
    manifest = Manifest.read(data)
    settings = manifest.settings
    if out.exists():
        raise DataError(f"--out {out} is there already: choose another, or delete it first")
    checkpoint, _ = find_checkpoint(checkpoint)
    command = [sys.executable, "-m", "fairseq_cli.generate", str(data), "--path", str(checkpoint)]
    command += ["--user-dir", str(ROOT / "fairseq_plugins"), "--gen-subset", "train", "--beam", str(beam)]
    command += ["--source-lang", settings.source, "--target-lang", settings.target, "--max-tokens", "8000"]
    command += ["--required-batch-size-multiple", "1", "--no-progress-bar"]
    translations = translate(command, manifest.pairs["train"])
    with workplace(out) as work:
        made = work / "data"
        shutil.copytree(data, made)
        for language, added in ((settings.source, None), (settings.target, translations)):
            _extend(made, f"train.{settings.source}-{settings.target}.{language}", language, added)
        pairs = {**manifest.pairs, "train": 2 * manifest.pairs["train"]}
        replace(manifest, pairs=pairs, sha256=checksums(made)).write(made)
        os.replace(made, out)
    log.info("made %s", out)


def _extend(folder: Path, name: str, language: str, added: list[str] | None) -> None:
    """Append lines of subwords to a binary text, or the text itself once more."""
    dictionary = Dictionary.load(str(folder / f"dict.{language}.txt"))
    text = load_indexed_dataset(str(folder / name), dictionary)
    if text is None:
        raise DataError(f"{folder} has no {name}")
    new = folder / f"{name}.new"
    builder = make_builder(f"{new}.bin", "mmap", vocab_size=len(dictionary))
    for numbers in chain(text, text if added is None else _encoded(added, dictionary)):
        builder.add_item(numbers)
    builder.finalize(f"{new}.idx")
    del text  # it maps the files that now go
    for part in ("bin", "idx"):
        os.replace(f"{new}.{part}", folder / f"{name}.{part}")


def _encoded(lines: list[str], dictionary: Dictionary) -> Iterator[torch.Tensor]:
    for line in lines:
        yield dictionary.encode_line(line, add_if_not_exist=False).int()


def main() -> None:
    parser = cli.Parser(prog="distil.py", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="the teacher: a checkpoint, or a folder of them")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="prepared data folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data folder to make")
    parser.add_argument("--beam", type=count, default=5, metavar="N", help="width of the beam search (5)")
    args = parser.parse_args()
    distil(args.checkpoint, args.data, args.out, args.beam)


if __name__ == "__main__":
    cli.run(main)
