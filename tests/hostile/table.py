"""The classes of hostile files, and the table of what they came to."""

from __future__ import annotations

from tests.hostile import archives, checkpoints, corpora, studies, tickets
from tests.hostile.engine import ACCEPTED, CONSTANT, REFUSED, SECONDS, Found

CLASSES = {
    "tickets": tickets.cases,
    "checkpoints": checkpoints.cases,
    "archives": archives.cases,
    "corpora": corpora.cases,
    "studies": studies.cases,
}


def page(found: dict[str, list[Found]]) -> str:
    return ""
