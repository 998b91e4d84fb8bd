"""The classes of hostile files, and the table of what they came to."""

from __future__ import annotations

from typing import Callable

from one_layer_lt import markdown
from tests.hostile import archives, checkpoints, corpora, studies, tickets
from tests.hostile.engine import Case, Found

CLASSES: dict[str, Callable[[], list[Case]]] = {
    "tickets": tickets.cases,
    "checkpoints": checkpoints.cases,
    "archives": archives.cases,
    "corpora": corpora.cases,
    "studies": studies.cases,
}
COLUMNS = ("files", "tried", "refused", "read, harmless", "longest", "most memory")


def table(found: dict[str, list[Found]]) -> str:
    """The table of the page."""
    rows = []
    for name, some in found.items():
        tried, refused = sum(one.tried for one in some), sum(one.refused for one in some)
        seconds, memory = max(one.seconds for one in some), max(one.memory for one in some)
        wrong = sum(bool(one.wrong) for one in some)
        harmless = f"{tried - refused:,}" + (f" ({wrong} WRONG)" if wrong else "")
        rows.append([name, f"{tried:,}", f"{refused:,}", harmless, f"{seconds:.1f} s", f"{memory >> 20} MiB"])
    return "\n".join(markdown.table(COLUMNS, *rows))


def record(found: dict[str, list[Found]]) -> dict[str, list[dict[str, object]]]:
    """Each case as JSON."""
    return {
        name: [
            {
                "case": one.case,
                "tried": one.tried,
                "refused": one.refused,
                "seconds": round(one.seconds, 2),
                "mebibytes": one.memory >> 20,
                **({"wrong": one.wrong} if one.wrong else {}),
            }
            for one in some
        ]
        for name, some in found.items()
    }
