"""What griffe does to docstrings: lines such as `name: what it is` become the items of a list."""

from __future__ import annotations

import re
from typing import Any

import griffe

FIELD = re.compile(r"^(?P<names>\w+(?:, \w+)*): (?=\S)", re.MULTILINE)


class Fields(griffe.Extension):
    """Turned where a line begins with names and a colon, after an empty line or another such line."""

    def on_object(self, *, obj: griffe.Object, **named: Any) -> None:
        """The object's own docstring."""
        if obj.docstring and not obj.is_module:
            blocks = obj.docstring.value.split("\n\n")
            obj.docstring.value = "\n\n".join(
                FIELD.sub(lambda field: f"- `{field['names']}`: ", block) if FIELD.match(block) else block
                for block in blocks
            )
