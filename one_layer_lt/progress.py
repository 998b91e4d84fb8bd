"""One look for progress bars: lively on a terminal, a line every half minute in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Optional


class Progress:
    """A count on its way to its total, shown on stderr; a context manager. n: how far it is."""

    def __init__(self, what: str, total: int | None, unit: str, done: int, shown: bool) -> None:
        self.what, self.total, self.unit, self.n, self.note = what, total, unit, done, ""
        self._lively = sys.stderr.isatty()
        self._wait = 0.2 if self._lively else 30.0  # seconds between two looks
        self._due = time.monotonic() + max(1.0, self._wait) if shown else float("inf")
        self._bar: Any = None  # rich's, once there is something to show

    def __enter__(self) -> Progress:
        return self

    def update(self, n: int = 1) -> None:
        """Count ``n`` more."""
        self.n += n
        if (now := time.monotonic()) >= self._due:
            self._due = now + self._wait
            self._show()

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        if not self._lively:
            of = f" of {self.total:,}" if self.total else ""
            print(" ".join(f"{self.what}: {self.n:,}{of} {self.unit} {self.note}".split()), file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = _begun(self)
        self._bar.update(0, completed=self.n, note=self.note)


def progress(what: str, total: int | None = None, unit: str = "lines", done: int = 0, shown: bool = True) -> Progress:
    """A bar to be used as a context manager; call `.update(n)`. note: its last words."""
    return Progress(what, total, unit, done, shown)


def _begun(of: Progress) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    bytes_ = of.unit == "B"
    counted = [DownloadColumn()] if bytes_ else [MofNCompleteColumn(), TextColumn(of.unit)]
    ends = [TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")]
    bar = Bar(TextColumn(of.what), BarColumn(), *counted, *ends, console=Console(stderr=True), transient=True)
    bar.add_task("", total=of.total, completed=of.n, note=of.note)
    bar.start()
    return bar
