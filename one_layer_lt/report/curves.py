"""The training curve that a log of fairseq-train holds, and how it looks in a line of text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence

LEVELS = "▁▂▃▄▅▆▇█"


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


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Positive numbers as a line of at most ``width`` letters, whose heights are those of the logarithms."""
    count = min(width, len(values))
    heights = [math.log(min(1e9, max(1e-9, values[step * len(values) // count]))) for step in range(count)]
    low, high = min(heights, default=0), max(heights, default=0)
    return "".join(LEVELS[round((height - low) / ((high - low) or 1) * (len(LEVELS) - 1))] for height in heights)
