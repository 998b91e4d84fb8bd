"""Raw text to the subwords that a ticket's model reads, and its subwords to raw text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..optional import MissingPackage
from ..ticket import Ticket, TicketError
from . import moses
from .lines import tidy
from .manifest import FILE, Manifest
from .subwords import Subword, encoder, joined


def text_settings(data: Path, subwords: Path | None) -> tuple[dict[str, Any] | None, bytes | None]:
    """(settings, subword model) of a data folder, or of the file ``subwords`` where the folder does not say.

    None where unknown. Raises ``TicketError`` where the folder's description is damaged, or the file is not its model,
    or none at all.
    """
    given = None if subwords is None else subwords.read_bytes()
    kind = None if given is None else _kind_of(given, subwords)
    if (data / FILE).is_file():
        try:
            settings = Manifest.read(data).settings
        except UserError as error:
            raise TicketError(str(error)) from None
        model = data / settings.model
        if given is not None and given != model.read_bytes():
            raise TicketError(f"{subwords} is not the subword model of {data}, which is {model}: leave --bpe out")
        return {name: getattr(settings, name) for name in ("tokenizer", "lowercase", "aggressive")}, model.read_bytes()
    if given is None:
        return None, None
    return {"tokenizer": kind, "lowercase": False, "aggressive": False}, given


def _kind_of(content: bytes, path: Path | None) -> str:
    """The kind of a subword model. Raises ``TicketError``, which names the file, where it is none."""
    kind = "moses-bpe" if content.startswith(b"#version:") else "sentencepiece"
    try:
        encoder(Subword(kind, 1), content)
    except MissingPackage:
        pass  # whoever opens the ticket here will be told
    except (RuntimeError, ValueError) as error:
        known = "neither a sentencepiece model nor codes of subword-nmt, which begin with #version:"
        raise TicketError(f"{path} is {known} ({error})") from None
    return kind


class Text:
    """The text side of a ticket. Raises ``TicketError`` where the ticket lacks it or it is damaged, and
    ``MissingPackage`` where what splits it is not installed.
    """

    def __init__(self, ticket: Ticket) -> None:
        settings: Mapping[str, Any] | None = ticket.architecture["text"]
        if settings is None or not ticket.assets.get("subwords"):
            raise TicketError("the ticket has no subword model: export it again with --bpe FILE")
        self.tokenizer = settings["tokenizer"]
        self.lowercase, self.aggressive = bool(settings.get("lowercase")), bool(settings.get("aggressive"))
        self.source, self.target = ticket.architecture["source"], ticket.architecture["target"]
        try:
            subword = Subword(self.tokenizer, 1, self.lowercase, self.aggressive)
            self._encode = encoder(subword, ticket.assets["subwords"])
        except MissingPackage:
            raise
        except (RuntimeError, ValueError) as error:
            raise TicketError(f"the ticket's subword model is damaged ({error})") from None

    def split(self, lines: Sequence[str], language: str | None = None) -> list[list[str]]:
        """The subwords of each line. language: of the lines; default: the source's."""
        texts = [tidy(line) for line in lines]
        if self.tokenizer == "moses-bpe":
            commands = moses.tokenizer(language or self.source, self.aggressive)
            texts = moses.through([*commands, *([moses.LOWERCASE] if self.lowercase else [])], texts)
        elif self.lowercase:
            texts = [line.lower() for line in texts]
        return [line.split() for line in self._encode(texts)]

    def join(self, subwords: Sequence[str]) -> list[str]:
        """Raw text from lines of subwords separated by spaces."""
        lines = [_shown(joined(self.tokenizer, line)) for line in subwords]
        return moses.detokenise(lines, self.target) if self.tokenizer == "moses-bpe" else lines


def _shown(text: str) -> str:
    """Text without what would drive a terminal: a dictionary may hold anything."""
    return text if text.isprintable() else tidy(text)
