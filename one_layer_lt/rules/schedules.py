"""Schedules: how a value goes from one to another as training goes on."""

from __future__ import annotations

import math
from typing import Callable

from .base import check_option

Schedule = Callable[[float, float, float], float]


def _linear(start: float, end: float, part: float) -> float:
    return start + (end - start) * part


def _exponential(start: float, end: float, part: float) -> float:
    return float(start * (end / start) ** part)


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


SCHEDULES: dict[str, Schedule] = {"linear": _linear, "exponential": _exponential, "cosine": _cosine}


def scheduled(schedule: str, start: float, end: float, update: int, over: int) -> float:
    """From ``start`` at update 0 to ``end`` at update ``over`` and after."""
    part = min(1.0, update / over) if over else 1.0
    return SCHEDULES[schedule](start, end, part)


def check_schedule(schedule: str) -> None:
    check_option(schedule in SCHEDULES, "schedule", schedule, f"one of {', '.join(SCHEDULES)}")
