"""One look for progress bars: lively on a terminal, a line every half minute in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Optional


class progress:
    """A count on its way to its total, shown on stderr; a context manager. n: how far it is. note: its last words."""

    def __init__(
        self, what: str, total: int | None = None, unit: str = "lines", done: int = 0, shown: bool = True
    ) -> None:
        self.what, self.total, self.unit, self.note = what, total, unit, ""
        self.start(done)
        self._lively = sys.stderr.isatty()
        self._wait = 0.2 if self._lively else 30.0  # seconds between two looks
        self._due = time.monotonic() + max(1.0, self._wait) if shown else float("inf")
        self._bar: Any = None  # rich's, once there is something to show

    def __enter__(self) -> progress:
        return self

    def start(self, n: int) -> None:
        """Be at ``n``. The time left follows from what is done from here on."""
        self.n, self._begun = n, (n, time.monotonic())

    def update(self, n: int = 1) -> None:
        """Count ``n`` more."""
        self.n += n
        if (now := time.monotonic()) >= self._due:
            self._due = now + self._wait
            self._show()

    @property
    def left(self) -> str:
        """The time that is left, or nothing where it cannot be told."""
        n, begun = self._begun
        if not self.total or self.n <= n:
            return ""
        seconds = (time.monotonic() - begun) / (self.n - n) * max(0, self.total - self.n)
        return f"{timedelta(seconds=round(seconds))} left"

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        if not self._lively:
            of = f" of {self.total:,}" if self.total else ""
            said = f"{self.what}: {self.n:,}{of} {self.unit} {self.left} {self.note}"
            print(" ".join(said.split()), file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = _begun(self)
        self._bar.update(0, description=self.what, total=self.total, completed=self.n, left=self.left)


def _begun(of: progress) -> Any:
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Bar(rich.Progress):
        def get_renderables(self) -> Iterator[Any]:
            yield from super().get_renderables()
            if of.note:
                yield Text(f"  {of.note}", no_wrap=True, overflow="ellipsis")

    def text(shown: str) -> rich.TextColumn:
        return rich.TextColumn(shown, markup=False)  # names of files may look like markup

    counted = [rich.DownloadColumn()] if of.unit == "B" else [rich.MofNCompleteColumn(), text("{task.fields[unit]}")]
    columns = [text("{task.description}"), rich.BarColumn(20), *counted, rich.TimeElapsedColumn()]
    bar = Bar(*columns, text("{task.fields[left]}"), console=Console(stderr=True), transient=True)
    bar.add_task(of.what, total=of.total, completed=of.n, unit=of.unit, left=of.left)
    bar.start()
    return bar
