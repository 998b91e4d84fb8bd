"""Times on a noisy machine: functions taken in turns, and only ratios of their medians compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from one_layer_lt import process
from scripts.results import ROOT


@dataclass(frozen=True)
class Row:
    """One figure.

    value: what was found. least, most: what it should be within. detail: the medians behind it, and what was run.
    """

    name: str
    value: Optional[float]
    least: Optional[float] = None
    most: Optional[float] = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> Optional[bool]:
        """Whether the value is within its bounds; None where it was not measured."""
        if self.value is None:
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each function, called in turns: what slows the machine for a while slows them all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if turn >= warmup:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def in_process(code: str, *arguments: str) -> str:
    """Run Python code in a fresh process at the repository's root; the last line that it prints."""
    printed: list[str] = []
    process.run(["python", "-c", code, *arguments], each=printed.append, cwd=ROOT, name="a measurement")
    return printed[-1]
