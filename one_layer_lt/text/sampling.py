"""Subword regularisation: training text cut into other sentencepieces each time (Kudo 2018, arXiv 1804.10959).

The draws are our own, by the model's scores: sentencepiece's (0.2.3) follow the seed within a process, but differ from
one process to the next.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from random import Random

SPACE, UNKNOWN = "▁", "<unk>"
Ways = list[tuple[list[str], list[float]]]  # for each end within a word: the pieces that end there, their probabilities


def sampler(scores: Mapping[str, float], alpha: float) -> Callable[[str, Random], str]:
    """What cuts a line of pieces otherwise: each of its segmentations with a probability in proportion to that of the
    unigram model, which is exp(sum of its pieces' scores), to the power of `alpha`.

    A line with an unknown piece, or that cannot be cut into pieces with a score, stays as it is.
    """
    longest = max(map(len, scores), default=0)

    @lru_cache(maxsize=100_000)
    def ways(word: str) -> Ways:
        return _ways(word, scores, longest, alpha)

    def draw(line: str, chance: Random) -> str:
        before, pieces = line.split(" "), list[str]()
        if UNKNOWN in before:
            return line
        # No piece of ours goes beyond a space, so that words are independent.
        for word in re.findall(f"{SPACE}?[^{SPACE}]+|{SPACE}", "".join(before)):
            backwards, found = [], ways(word)
            end = len(word)
            while end:
                if not found[end][0]:
                    return line
                (piece,) = chance.choices(*found[end])
                backwards.append(piece)
                end -= len(piece)
            pieces += reversed(backwards)
        return " ".join(pieces)

    return draw


def _ways(word: str, scores: Mapping[str, float], longest: int, alpha: float) -> Ways:
    """Forward filtering; drawing from the end backwards then samples exactly."""
    totals = [0.0]  # logarithm of the summed weights of all segmentations of the first so many characters
    ways: Ways = [([], [])]
    for end in range(1, len(word) + 1):
        candidates = (word[start:end] for start in range(max(0, end - longest), end) if totals[start] > -math.inf)
        pieces = [piece for piece in candidates if piece in scores]
        logs = [totals[end - len(piece)] + alpha * scores[piece] for piece in pieces]
        top = max(logs, default=0.0)
        totals.append(top + math.log(sum(math.exp(value - top) for value in logs)) if logs else -math.inf)
        ways.append((pieces, [math.exp(value - totals[end]) for value in logs]))
    return ways
