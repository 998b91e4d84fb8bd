"""The training curve that a log of fairseq-train holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable


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
