"""A page in headless Chromium, opened from the disk, with all that it asks for and complains of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from one_layer_lt.errors import UserError
from one_layer_lt.optional import need

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
SECONDS = 600  # that anything may take


@dataclass
class Shown:
    """An open page: Playwright's ``page``, what it said on its console, and what it asked the network for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def ready(self) -> None:
        """Wait until the ticket is unpacked."""
        self.page.wait_for_selector("#target:not([hidden])", timeout=1000 * SECONDS)

    @property
    def seconds(self) -> float:
        """How long the page says that the last translation took."""
        return float(self.page.text_content("#took").removesuffix(" s"))

    def translate(self, lines: Sequence[str]) -> list[str]:
        """Type lines, and read the translations."""
        self.page.fill("#source", "\n".join(lines))
        self.page.wait_for_selector("#target[aria-busy=false]:not([hidden])", timeout=1000 * SECONDS)
        found: list[str] = self.page.eval_on_selector_all("#target > p", "lines => lines.map(line => line.textContent)")
        return found


@contextmanager
def browser() -> Iterator[Any]:
    """Playwright's headless Chromium. Raises ``UserError`` where there is none."""
    if CHROMIUM is None:
        raise UserError(f"needs a browser, and found none of {', '.join(NAMES)}: apt-get install chromium")
    with need("playwright.sync_api", "test").sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def processor_seconds(chromium: Any) -> float:
    """What all processes of the browser have computed so far: other programs take none of it."""
    said = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    return sum(float(process["cpuTime"]) for process in said["processInfo"])


@contextmanager
def opened(chromium: Any, path: Path, **context: Any) -> Iterator[Shown]:
    """The page in a file; ``context``: Playwright's options, such as the size and the colour scheme."""
    shown = Shown(chromium.new_context(**context).new_page())
    shown.page.on("console", lambda message: shown.said.append(message.text))
    shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
    shown.page.on("request", lambda request: shown.asked.append(request.url))
    shown.page.goto(path.resolve().as_uri())
    yield shown
    shown.page.context.close()
