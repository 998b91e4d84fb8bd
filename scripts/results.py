"""What is kept of a training in docs/results, and a table's place in a page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from one_layer_lt.errors import UserError
from one_layer_lt.files import write_whole
from one_layer_lt.text.lines import read_lines

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"


def history(log: Iterable[str]) -> dict[str, list[list[float]]]:
    """``{"train": [[update, perplexity], ...], "valid": ...}`` from the JSON lines of a fairseq log.

    Where a run was resumed, what it did again replaces what was lost.
    """
    found: dict[str, dict[int, float]] = {"train": {}, "valid": {}}
    for line in log:
        match = re.search(r'\{"epoch".*\}', line)
        if not match:
            continue
        entry = json.loads(match[0])
        if "valid_ppl" in entry:
            found["valid"][int(entry["valid_num_updates"])] = float(entry["valid_ppl"])
        elif "ppl" in entry and "num_updates" in entry:
            found["train"][int(entry["num_updates"])] = float(entry["ppl"])
    return {part: [[update, value] for update, value in sorted(points.items())] for part, points in found.items()}


def seconds(log: Iterable[str]) -> int:
    """Of training, from the JSON lines of a fairseq log: of each time that the run was started, up to its last line."""
    total = last = 0
    for wall in (int(found[1]) for line in log if (found := re.search(r'"wall": "(\d+)"', line))):
        total, last = (total + last if wall < last else total), wall
    return total + last


def result_of(run: Path, command: str, scores: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What is kept of a run: the command, the training curve, the scores of each split and the time it took."""
    log = run / "train.log"
    if not log.is_file():
        raise UserError(f"no such log: {log} (train with --log-format json --log-file {log})")
    lines = list(read_lines(log))
    return {"command": command, "curve": history(lines), **scores, "seconds": seconds(lines)}


def put_table(page: Path, command: str, table: str) -> None:
    """Put a table in its place in a page: between a comment that names the command, and one that ends it."""
    begin, end = f"<!-- table: {command} -->", "<!-- end of table -->"
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise UserError(f"{page} has no place for the table: a line {begin}, and after it one {end}")
    write_whole(page, f"{before}{begin}\n{table}\n{end}{after}")
