"""Segments of the evaluation campaigns' XML and SGM files, which are not quite XML: read line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import unescape

from one_layer_lt.text.lines import read_lines

_OPEN = re.compile(r'<seg id="[0-9]*">\s*')
_CLOSE = re.compile(r"\s*</seg>\s*")


def segments(path: Path) -> Iterator[str]:
    """The text of each line that opens a segment, entities and all."""
    for line in read_lines(path):
        if "<seg id" in line:
            yield _CLOSE.sub("", _OPEN.sub("", line))


def plain_apostrophes(line: str) -> str:
    """What the published recipes do to evaluation text before they tokenise it."""
    return line.replace("’", "'")


def readable(line: str) -> str:
    """The text as a reader sees it: what translations are compared with."""
    return unescape(line, {"&quot;": '"', "&apos;": "'"})
