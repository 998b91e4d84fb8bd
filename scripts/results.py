"""What is kept of a training in docs/results, whatever its kind: a JSON object.

    command      what trained it; ``settings``: how it was scored; ``added``: the flags that the machine added
    curve        "train" and "valid": [update, perplexity]; of images "train": [epoch, loss], "test": [epoch, accuracy]
    valid, test  the scores of a split, as `one-layer-lt score` writes them; of images, {"accuracy": a fraction}
    lenpen       BLEU on valid by length penalty, where there were several
    int8, ...    the scores and the size of the model rounded to so many bits
    seconds      of training; ``threads``: their number
    size         "weights", and "bytes" of the file: of a ticket, or of a dense model in float32
    commit, machine, inputs    where it comes from; ``inputs``: sha256 of the data and of the files that flags name
    diverged     the last error; beside it there are only the command and the settings

Older results lack the fields that say where they come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from one_layer_lt.errors import UserError
from one_layer_lt.report.curves import history
from one_layer_lt.text.lines import read_lines

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"


def seconds(log: Iterable[str]) -> int:
    """Of training, from the JSON lines of a fairseq log: of each time that the run was started, up to its last line."""
    total = last = 0
    for wall in (int(found[1]) for line in log if (found := re.search(r'"wall": "(\d+)"', line))):
        total, last = (total + last if wall < last else total), wall
    return total + last


def trained(log: Path) -> dict[str, Any]:
    """The training curve and the time it took, of a fairseq log."""
    if not log.is_file():
        raise UserError(f"no such log: {log} (train with --log-format json, and keep what fairseq-train says)")
    lines = list(read_lines(log))
    return {"curve": history(lines), "seconds": seconds(lines)}
