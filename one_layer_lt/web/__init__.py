"""Tickets as one web page that translates: nothing but the page is needed, and no request leaves it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from pathlib import Path

from ..text.architecture import checked
from ..ticket import Ticket, TicketError
from ..ticket.encoding import to_bytes

HERE = Path(__file__).parent
# Each after those that it imports.
MODULES = (
    *("sha256", "random", "container", "masks", "matrix", "subwords"),
    *("text", "layers", "model", "beam", "translator", "worker"),
)


def page(tickets: Mapping[str, Ticket]) -> str:
    """The page of one ticket or of several, by their names. Raises ``TicketError`` for one that no page can run."""
    blocks = "\n".join(_block(name, ticket) for name, ticket in tickets.items())
    style = re.sub("([{:;,]) ", r"\1", _bare(_read("page.css")))
    worker = f"function runtime() {{\n{_squeezed(runtime())}serve(self);\n}}\n"
    script = f'"use strict";\n{worker}{_squeezed(_read("page.js"))}'
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; worker-src blob:; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    first = next(iter(tickets.values())).architecture
    title = html.escape(f"{first['source']} → {first['target']}")
    parts = {"policy": policy, "style": style, "script": script, "title": title, "tickets": blocks}
    return re.sub(r"{{(\w+)}}", lambda found: parts[found[1]], _bare(_read("page.html")))


def runtime() -> str:
    """The modules that run in the worker as one script, without their imports and exports."""
    source = "".join(_read(f"{name}.js") for name in MODULES)
    return re.sub(r"^export |^import .*\n", "", source, flags=re.MULTILINE)


def _bare(source: str) -> str:
    """A script, style or page without comments and indents."""
    comments = r"^ *//.*\n|^ */\*[\s\S]*?\*/\n|(?<=[;{},(]) +// .*"
    return re.sub(rf"{comments}|^ +|^\n", "", source, flags=re.MULTILINE)


def _squeezed(script: str) -> str:
    """A script without the spaces at some operators and brackets, but for those within quotes."""
    parts = re.split(r"""("[^"\n]*"|`[^`]*`)""", _bare(script))
    operators = r" ?(=>|[=!]==|[-+*<>]?=|[{},?:;]|&&|\|\|) ?"
    return "".join(part if part[:1] in '"`' else re.sub(operators, r"\1", part) for part in parts)


def _block(name: str, ticket: Ticket) -> str:
    """A ticket in the page: a block of data, which no browser runs."""
    if ticket.architecture.get("kind") != "fairseq_transformer":
        raise TicketError(f"{name}: a page translates, and this ticket is of no translator")
    about = checked(ticket)
    if not about["text"] or "subwords" not in ticket.assets:
        raise TicketError(f"{name}: has no subword model: export it again with --bpe FILE")
    if about["text"]["tokenizer"] != "sentencepiece":
        raise TicketError(
            f"{name}: its text is split by Moses' tokenizer, which no page has: run it with one-layer-lt translate"
        )
    data = {"name": name, "source": about["source"], "target": about["target"]}
    attributes = "".join(f' data-{key}="{html.escape(value)}"' for key, value in data.items())
    content = base64.b64encode(to_bytes(ticket)).decode()
    return f'<script type="application/octet-stream"{attributes}>{content}</script>'


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (HERE / name).read_text("utf-8")
