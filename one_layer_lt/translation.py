"""What every engine of translation offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Callable

Progress = Callable[[int], None]

# Whole numbers are for what is counted. Longer sentences than 2**20 subwords fit no model that a ticket may hold, and a
# length to the power of 10 is about all that float32 holds.
BOUNDS: dict[str, tuple[float, float]] = {
    "beam": (1, 1000),
    "length_penalty": (-10.0, 10.0),
    "max_len_a": (0.0, 1000.0),
    "max_len_b": (0, 1 << 20),
    "max_tokens": (1, 1 << 30),
}


def no_progress(done: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Decoding:
    """How to search for a translation. Raises ``ValueError`` for a value that cannot be.

    beam: width of the beam search.
    length_penalty: above 1 favours long translations, below 1 short ones; the exponent of the length.
    max_len_a, max_len_b: a translation has at most ``a * source + b`` subwords.
    max_tokens: subwords in a batch, padding counted.

    ``BOUNDS`` holds the least and the most of each.
    """

    beam: int = 5
    length_penalty: float = 1.0
    max_len_a: float = 0.0
    max_len_b: int = 200
    max_tokens: int = 8000

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value, whole = getattr(self, name), isinstance(least, int)
            good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if not (good and least <= value <= most):
                kind = "a whole number" if whole else "a number"
                raise ValueError(f"{name} must be {kind} from {least:,} to {most:,}, not {value!r:.40}")
        if self.max_len_a + self.max_len_b < 1:  # a source has one subword at least
            raise ValueError(
                f"max_len_a {self.max_len_a} and max_len_b {self.max_len_b} leave short sentences no room: "
                "their sum must be at least 1"
            )


def checked_lines(lines: Iterable[str]) -> list[str]:
    """The lines to translate. Raises ``TypeError`` where they are no texts, and names the first that is none."""
    if isinstance(lines, str):  # it would be translated letter by letter
        raise TypeError(f"give a list of texts, not one text: translate([{lines!r:.40}])")
    found = list(lines)
    for position, line in enumerate(found):
        if not isinstance(line, str):
            raise TypeError(f"text {position} (from 0) must be a string, not {line!r:.40}")
    return found


class Translator(ABC):
    """Raw text in, raw text out."""

    @abstractmethod
    def translate(
        self,
        lines: Sequence[str],
        decoding: Decoding,
        progress: Progress = no_progress,
        numbers: Sequence[int] | None = None,
    ) -> list[str]:
        """Translate each line, in order; an empty line stays empty.

        progress: told of each few lines done. numbers: what warnings call the lines; default: from 1.

        Raises ``TypeError`` where the lines are not texts.
        """
