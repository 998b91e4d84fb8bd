"""One look for progress bars: lively on a terminal, a line every half minute in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .optional import need

if TYPE_CHECKING:
    from tqdm import tqdm


def progress(what: str, total: int | None = None, unit: str = "lines", done: int = 0) -> tqdm[Any]:
    """A bar on stderr to be used as a context manager; call `.update(n)`."""
    terminal = sys.stderr.isatty()
    bar: tqdm[Any] = need("tqdm", "data").tqdm(
        desc=what,
        total=total,
        initial=done,
        unit=" " + unit,
        unit_scale=True,
        leave=False,
        mininterval=0.2 if terminal else 30,
        delay=1 if terminal else 30,
    )
    return bar
