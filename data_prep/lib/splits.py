"""Any pairs of sentences into train, valid and test, with no sentence in two of them, and without what is of no use."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from random import Random
from statistics import median
from typing import Optional

from one_layer_lt.errors import UserError
from one_layer_lt.text.lines import Pair, read_pairs, select, tidy, write_pairs

EMPTY = "dropped: a side is empty"
LONG = "dropped: a side is too long"
TWICE = "dropped: the same pair again"
UNLIKE = "dropped: the sides are unlike in length"
SHARED = "dropped: a sentence is in valid or test, too"
SOFTENS = 10  # letters added to each side before lengths are compared: short sentences differ more


@dataclass(frozen=True)
class Choice:
    """How pairs are chosen. Lengths are in letters; ratio is to what is usual in the corpus."""

    longest: int = 500
    ratio: float = 3.0
    valid: Optional[int] = None  # pairs
    test: Optional[int] = None
    seed: int = 1

    def sizes(self, pairs: int) -> dict[str, int]:
        """Of valid and test, of so many pairs in all. Raises ``UserError`` where none are left to train on."""
        usual = max(1, min(1000, pairs // 20))
        sizes = {
            "valid": usual if self.valid is None else self.valid,
            "test": usual if self.test is None else self.test,
        }
        if sum(sizes.values()) >= pairs:
            said = " and ".join(f"--{name} {size}" for name, size in sizes.items())
            raise UserError(f"only {pairs} pairs can be used, and {said} leave none to train on")
        return sizes


def split(pairs: Iterable[tuple[str, str]], files: Mapping[str, Pair], scratch: Pair, choice: Choice) -> dict[str, int]:
    """Write the files of each split; how many pairs were read, were dropped and why, and are in each split.

    scratch: two files to use on the way. The same pairs and choice give the same files.
    """
    counts = dict.fromkeys(("read", EMPTY, LONG, TWICE), 0)
    ratios, sentences = array("d"), (array("Q"), array("Q"))

    def useful() -> Iterator[tuple[str, str]]:
        seen: set[tuple[int, ...]] = set()
        for pair in pairs:
            left, right = map(tidy, pair)
            keys = tuple(map(_key, (left, right)))
            fault = EMPTY if not (left and right) else LONG if max(len(left), len(right)) > choice.longest else ""
            if fault := fault or (TWICE if keys in seen else ""):
                counts[fault] += 1
            else:
                seen.add(keys)
                ratios.append((len(right) + SOFTENS) / (len(left) + SOFTENS))
                for side, key in zip(sentences, keys):
                    side.append(key)
                yield left, right
            counts["read"] += 1

    write_pairs(useful(), scratch, "reading")
    usual = median(ratios or [1.0])
    alike = [at for at, ratio in enumerate(ratios) if usual / choice.ratio <= ratio <= usual * choice.ratio]
    counts[UNLIKE], counts[SHARED] = len(ratios) - len(alike), 0
    sizes = {**choice.sizes(len(alike)), "train": len(alike)}
    chosen: dict[str, list[int]] = {name: [] for name in sizes}
    owners: dict[tuple[int, int], str] = {}  # (side, sentence) -> the split that has it, valid or test
    Random(choice.seed).shuffle(alike)
    for at in alike:
        name = next(name for name, size in sizes.items() if len(chosen[name]) < size)  # train is last
        keys = [(side, sentences[side][at]) for side in (0, 1)]
        if {owners[key] for key in keys if key in owners} <= {name}:
            chosen[name].append(at)
            owners |= dict.fromkeys(keys, name) if name != "train" else {}
        else:
            counts[SHARED] += 1
    for name in files:
        counts[name] = write_pairs(select(read_pairs(scratch), sorted(chosen[name])), files[name], f"writing {name}")
    return counts


def in_lines(counts: Mapping[str, int], shown: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The counts as a table, and pairs under it."""
    width = len(f"{max(counts.values(), default=0):,}")
    yield from (f"{count:>{width},}  {name}" for name, count in counts.items())
    yield from chain([""], (f"  {left} | {right}" for left, right in shown))


def _key(sentence: str) -> int:
    return int.from_bytes(blake2b(sentence.encode(), digest_size=8).digest(), "little")
