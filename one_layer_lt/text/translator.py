"""Raw text through a ticket's subwords, whatever engine translates them."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence

from ..ticket import Ticket
from ..translation import Decoding, Progress, Translator, checked_lines, no_progress
from .ticket import Text

logger = logging.getLogger(__name__)


class SubwordTranslator(Translator):
    """Raw text through a ticket's subwords; an engine adds ``search``. A line too long for the model goes in parts."""

    def __init__(self, ticket: Ticket) -> None:
        self.text = Text(ticket)
        self.longest = ticket.architecture["max_source_positions"] - 1  # one is for the end of the sentence

    @abstractmethod
    def search(self, sentences: Sequence[Sequence[str]], decoding: Decoding, progress: Progress) -> list[str]:
        """The best translation of each sentence of subwords, as subwords separated by spaces."""

    def translate(
        self,
        lines: Sequence[str],
        decoding: Decoding,
        progress: Progress = no_progress,
        numbers: Sequence[int] | None = None,
    ) -> list[str]:
        parts = [parts_of(subwords, self.longest) for subwords in self.text.split(checked_lines(lines))]
        for number, part in zip(numbers or range(1, len(parts) + 1), parts):
            if len(part) > 1:
                length = sum(map(len, part))
                logger.warning(
                    "line %d: %d subwords are too many for the model, which reads %d: translated in %d parts",
                    *(number, length, self.longest, len(part)),
                )
        flat = [part for line in parts for part in line]
        found = iter(self.text.join(self.search(flat, decoding, progress)))
        return [" ".join(next(found) for _ in line) for line in parts]


def parts_of(subwords: list[str], longest: int) -> list[list[str]]:
    """The subwords in parts of at most ``longest``, cut between words where one starts in the second half of a part."""
    starts_word = _sentencepiece_starts if any(s.startswith("\u2581") for s in subwords) else _bpe_starts
    parts = []
    while len(subwords) > longest:
        cut = next((at for at in range(longest, longest // 2, -1) if starts_word(subwords, at)), longest)
        parts.append(subwords[:cut])
        subwords = subwords[cut:]
    return [*parts, subwords] if subwords else parts


def _sentencepiece_starts(subwords: list[str], at: int) -> bool:
    return subwords[at].startswith("\u2581")


def _bpe_starts(subwords: list[str], at: int) -> bool:
    return not subwords[at - 1].endswith("@@")
