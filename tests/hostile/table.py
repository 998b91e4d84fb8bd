"""The classes of hostile files, and the table of what they came to."""

from __future__ import annotations

from typing import Callable

from tests.hostile import archives, checkpoints, corpora, studies, tickets
from tests.hostile.engine import CONSTANT, SECONDS, Case, Found

CLASSES: dict[str, Callable[[], list[Case]]] = {
    "tickets": tickets.cases,
    "checkpoints": checkpoints.cases,
    "archives": archives.cases,
    "corpora": corpora.cases,
    "studies": studies.cases,
}
TRIED = {
    "tickets": """
        shapes, tiles, patterns and draws of billions; deflate bombs; every entry of the metadata with odd values;
        numbers that are not finite; names with markup and escapes; damaged dictionaries and subword models""",
    "checkpoints": """
        pickles that call functions; bombs; tensors larger than the file; options that fairseq would evaluate; deep and
        endless parts; flipped bits""",
    "archives": """
        tar, tar.gz, tar.xz and zip, of text and of images: paths that climb, links, devices, bombs, and
        headers that lie""",
    "corpora": """
        NUL, escapes, endless lines, text that is not UTF-8, mixed line ends, byte order marks, bombs; and a
        damaged data.json""",
    "studies": """
        TOML bombs, odd types of every setting, commands and escapes in names""",
}
SECTION = """\
## Hostile input

Every file that a stranger could have written is read without trust. A reader refuses it in one line, or reads it
without harm: it writes nothing outside the folder, runs nothing in the file, and sends the terminal nothing that it
would obey.

`python -m tests.hostile` writes each hostile file, reads it in a process of its own, and makes this table. A process
may take {seconds} s of the processor, and {memory} MiB of memory above what it begins with. The tests run the quick
cases.

| files | tried | refused | read, harmless | longest | most memory |
|---|---:|---:|---:|---:|---:|
{rows}

What was tried:

{tried}

[results/hostile.json](results/hostile.json) holds each case.
"""


def page(found: dict[str, list[Found]]) -> str:
    """The section of the docs."""
    rows = []
    for name, some in found.items():
        tried, refused = sum(one.tried for one in some), sum(one.refused for one in some)
        seconds, memory = max(one.seconds for one in some), max(one.memory for one in some)
        wrong = sum(bool(one.wrong) for one in some)
        harmless = f"{tried - refused:,}" + (f" ({wrong} WRONG)" if wrong else "")
        rows.append(f"| {name} | {tried:,} | {refused:,} | {harmless} | {seconds:.1f} s | {memory >> 20} MiB |")
    said = [f"- {name}: {' '.join(what.split())}." for name, what in TRIED.items()]
    limits = {"seconds": SECONDS, "memory": CONSTANT >> 20}
    return SECTION.format(rows="\n".join(rows), tried="\n".join(said), **limits)


def record(found: dict[str, list[Found]]) -> dict[str, list[dict[str, object]]]:
    """Each case as JSON."""
    return {
        name: [
            {
                "case": one.case,
                "tried": one.tried,
                "refused": one.refused,
                "seconds": round(one.seconds, 2),
                "mebibytes": one.memory >> 20,
                **({"wrong": one.wrong} if one.wrong else {}),
            }
            for one in some
        ]
        for name, some in found.items()
    }
