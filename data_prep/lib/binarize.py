"""Encoded text into fairseq's binary form, by fairseq-preprocess itself."""

from __future__ import annotations

import os
from pathlib import Path

from one_layer_lt import process
from one_layer_lt.text.manifest import SPLITS

SMALL = 8 << 20  # bytes of training text below which a second worker costs more than it gains


def binarize(encoded: Path, source: str, target: str, out: Path, joined_dictionary: bool) -> None:
    """`encoded/{train,valid,test}.{source,target}` into `out`. The result does not depend on the number of workers."""
    size = sum((encoded / f"train.{language}").stat().st_size for language in (source, target))
    command = ["fairseq-preprocess", "--cpu", "--source-lang", source, "--target-lang", target, "--destdir", str(out)]
    for split in SPLITS:
        command += [f"--{split}pref", str(encoded / split)]
    command += ["--workers", str(1 if size < SMALL else min(8, os.cpu_count() or 1))]
    command += ["--joined-dictionary"] if joined_dictionary else []
    process.run(command, still="still binarising")
    (out / "preprocess.log").unlink(missing_ok=True)  # it names folders of this machine
