"""Corpora of evaluation campaigns: their archives, and their XML and SGM files, which are not quite XML."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import unescape

from one_layer_lt.text import moses
from one_layer_lt.text.lines import Pair, read_lines, write_pairs
from one_layer_lt.text.manifest import Settings

from .archive import Files, Group, collect, extract, together
from .fetch import Remote, fetch
from .pipeline import pair_of

_OPEN = re.compile(r'<seg id="[0-9]*">\s*')
_CLOSE = re.compile(r"\s*</seg>\s*")


def locate(homes: Mapping[Remote, Collection[Group]], origin: Path | None, downloads: Path, into: Path) -> Files:
    """Every file of a corpus: of a local copy, or of the archives at its homes, which hold these groups of files."""
    if origin is not None:
        return collect(origin, [group for groups in homes.values() for group in groups], into)
    found: Files = {}
    for home, groups in homes.items():
        archive = fetch(home, downloads)
        places = extract(archive, [name for group in groups for name in group], into / archive.name)
        found.update(together(str(archive), places, groups, ": delete it and run the command again"))
    return found


def evaluation(pairs: Sequence[tuple[str, str]], split: str, settings: Settings, work: Path) -> tuple[Pair, Pair]:
    """Raw text and tokens of a split whose segments these are."""
    raw, marked, tokens = (pair_of(work / folder, split, settings) for folder in ("raw", "marked", "tok"))
    write_pairs(((readable(left), readable(right)) for left, right in pairs), raw)
    # What the published recipes do to evaluation text before they tokenise it.
    write_pairs(((left.replace("’", "'"), right.replace("’", "'")) for left, right in pairs), marked)
    tokenize(marked, tokens, settings)
    return raw, tokens


def tokenize(before: Pair, after: Pair, settings: Settings) -> None:
    """Both sides by Moses, as the settings say."""
    for language, source, target in zip(settings.languages, before, after):
        target.parent.mkdir(exist_ok=True)
        moses.tokenize(source, target, language, settings.lowercase, settings.aggressive)


def segments(path: Path) -> Iterator[str]:
    """The text of each line that opens a segment, entities and all."""
    for line in read_lines(path):
        if "<seg id" in line:
            yield _CLOSE.sub("", _OPEN.sub("", line))


def readable(line: str) -> str:
    """The text as a reader sees it: what translations are compared with."""
    return unescape(line, {"&quot;": '"', "&apos;": "'"})
