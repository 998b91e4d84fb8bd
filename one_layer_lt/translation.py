"""What every engine of translation offers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable

Progress = Callable[[int], None]


def no_progress(done: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Decoding:
    """How to search for a translation. Raises ``ValueError`` for a value that cannot be.

    beam: width of the beam search.
    length_penalty: above 1 favours long translations, below 1 short ones; the exponent of the length.
    max_len_a, max_len_b: a translation has at most ``a * source + b`` subwords.
    max_tokens: subwords in a batch, padding counted.
    """

    beam: int = 5
    length_penalty: float = 1.0
    max_len_a: float = 0.0
    max_len_b: int = 200
    max_tokens: int = 8000

    def __post_init__(self) -> None:
        for name in ("beam", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not math.isfinite(self.length_penalty):
            raise ValueError(f"length_penalty must be a number, not {self.length_penalty}")
        if not (math.isfinite(self.max_len_a) and self.max_len_a >= 0 and self.max_len_b >= 0):
            raise ValueError(f"a length of {self.max_len_a} * source + {self.max_len_b} cannot be")
        if self.max_len_a == 0 and self.max_len_b == 0:
            raise ValueError("max_len_a and max_len_b leave no room for a translation")


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
        """
