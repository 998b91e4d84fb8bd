"""What a ticket says of itself: its name, data and licences, scores, date and command.

The format: docs/ticket-format.md. A reader shows it as text, and believes none of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from ..toml import read_toml
from .parts import TicketError, refusing

# Of a list, the kind of its entries; of a table, its fields.
_DATA = {"name": str, "licence": str, "attribution": str}
_SCORE = {"metric": str, "value": float, "on": str, "signature": str}
_CARD: Mapping[str, Any] = {
    "name": str,
    "languages": [str],
    "licence": str,
    "data": [_DATA],
    "scores": [_SCORE],
    "date": str,
    "command": str,
}
_NEEDED = {"name", "metric", "value", "signature"}  # where a table can have them
_MOST_BYTES = 1 << 13
_MOST_VALUE = 1e6


def read_card(path: Path) -> dict[str, Any]:
    """The card that a TOML file holds. Raises ``UserError`` that names file and field, ``OSError`` for no file."""
    card = read_toml(path)
    if isinstance(card.get("date"), date):  # TOML has dates of its own
        card["date"] = card["date"].isoformat()
    try:
        with refusing():
            return checked(card)
    except TicketError as error:
        raise TicketError(f"{path}: {error}") from None


def checked(card: Any) -> dict[str, Any]:
    """A card as JSON, its fields in their order. Raises ``TicketError`` that names the field."""
    found: dict[str, Any] = _checked("the card", card, _CARD)
    size = len(json.dumps(found, ensure_ascii=False).encode())
    if size > _MOST_BYTES:
        raise TicketError(f"the card is of {size:,} bytes, and may be of {_MOST_BYTES:,}: shorten it")
    return found


def facts(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a card says: (field, text in one line)."""
    for name, value in card.items():
        if name == "scores":
            yield from (
                (score["metric"], ", ".join(str(part) for key, part in score.items() if key != "metric"))
                for score in value
            )
        elif name == "data":
            yield from ((name, ", ".join(part.values())) for part in value)
        else:
            yield name, value if isinstance(value, str) else ", ".join(value)


def _checked(where: str, value: Any, kind: Any) -> Any:
    if kind is str and isinstance(value, str) and value.strip() and value.isprintable():
        return value
    if kind is float and type(value) in (int, float) and abs(value) <= _MOST_VALUE:
        return value
    if isinstance(kind, list) and isinstance(value, (list, tuple)) and value:
        return [_checked(f"{where}[{number}]", part, kind[0]) for number, part in enumerate(value, 1)]
    if isinstance(kind, dict) and isinstance(value, Mapping):
        if unknown := [str(name) for name in value if name not in kind]:
            raise TicketError(f"{where} has no field {unknown[0]!r:.60}: its fields are {', '.join(kind)}")
        if missing := [name for name in kind if name in _NEEDED and name not in value]:
            raise TicketError(f"{where} lacks {missing[0]}")
        return {name: _checked(f"{where}: {name}", value[name], kind[name]) for name in kind if name in value}
    must = {str: "text in one line, of characters that can be printed", float: f"a number up to {_MOST_VALUE:,.0f}"}
    what = "a list of one or more" if isinstance(kind, list) else "a table" if isinstance(kind, dict) else must[kind]
    raise TicketError(f"{where} must be {what}, not {value!r:.60}")
