"""Encoded text into fairseq's binary form, by fairseq-preprocess itself."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import SPLITS

log = logging.getLogger(__name__)

SMALL = 8 << 20  # bytes of training text below which a second worker costs more than it gains


def binarize(encoded: Path, source: str, target: str, out: Path, joined_dictionary: bool) -> None:
    """`encoded/{train,valid,test}.{source,target}` into `out`. The result does not depend on the number of workers."""
    size = sum((encoded / f"train.{language}").stat().st_size for language in (source, target))
    command = [sys.executable, "-W", "ignore", "-m", "fairseq_cli.preprocess", "--cpu"]
    command += ["--source-lang", source, "--target-lang", target, "--destdir", str(out)]
    for split in SPLITS:
        command += [f"--{split}pref", str(encoded / split)]
    command += ["--workers", str(1 if size < SMALL else min(8, os.cpu_count() or 1))]
    command += ["--joined-dictionary"] if joined_dictionary else []
    record = encoded / "preprocess.log"
    with record.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    failed = process.wait(timeout=30)
                    break
                except subprocess.TimeoutExpired:
                    log.info("still binarising")
        except BaseException:
            process.kill()
            process.wait()
            raise
    if failed:
        said = record.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"]
        raise UserError(f"fairseq-preprocess failed: {said[-1]}")
    (out / "preprocess.log").unlink(missing_ok=True)  # it names folders of this machine
