"""TOML files, also from strangers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_DOTS = 10_000  # each part of a dotted key costs tomllib what all before it did


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds. Raises ``UserError`` where it is none, ``OSError`` where it cannot be read."""
    try:
        text = path.read_text("utf-8")
        dots = text.count(".")
        parsed = tomllib.loads(text) if dots <= _MOST_DOTS else {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no TOML: {error}") from None
    if dots > _MOST_DOTS:
        raise UserError(f"{path} has more than {_MOST_DOTS:,} dots: no file that this reads has so many")
    return parsed
