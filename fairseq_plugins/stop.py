"""A bad option ends the program in one line."""

from __future__ import annotations

import sys
from typing import NoReturn


def stop(who: str, reason: object) -> NoReturn:
    """Say on stderr what ``who``, a model or a criterion, cannot do, and leave with status 2."""
    said = "".join(letter if letter.isprintable() else " " for letter in str(reason))  # a file's words may be in it
    sys.stderr.write(f"{who}: error: {' '.join(said.split())}\n")
    raise SystemExit(2) from None
