"""Tell whether results differ by more than chance: sacrebleu's paired tests of translations that `score` wrote.

    one-layer-lt compare runs/dense/checkpoint_best.test.json runs/masked/checkpoint_best.test.json

Each result is compared with the first. Its translations must lie beside it (CHECKPOINT.SPLIT.txt), and the data folder
where it says. A difference is significant where two tests agree, for each alone says so too easily: the bootstrap
counts one direction only, and randomisation does not count ties, which are many where few translations differ. They
speak of these models on sentences like these; of other seeds nothing but more trainings can.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..origin import located
from ..text.lines import read_lines
from ..text.manifest import Manifest, Settings, read_split
from ..text.metrics import bleu_of, interval, paired_test

LEVEL = 0.05
TESTS = {"bs": "bootstrap", "ar": "randomisation"}
KEYS = {"data": str, "split": str, "sentences": int, "bleu": dict}
BLEU_KEYS = {"score": (int, float), "brevity_penalty": (int, float), "signature": str}
HEADS = (
    "result",
    "BLEU",
    "mean",
    "95% interval",
    "brevity penalty",
    "difference",
    *(f"p, {n}" for n in TESTS.values()),
)


@dataclass(frozen=True)
class System:
    """A result, and the sentences that it is about. score, brevity_penalty, signature: of its BLEU."""

    name: str
    data: str
    split: str
    score: float
    brevity_penalty: float
    signature: str
    settings: Settings
    translations: Sequence[str]
    sources: Sequence[str]
    references: Sequence[str]


@dataclass(frozen=True)
class Compared:
    """What the tests say of a system. difference: to the baseline's BLEU. p: by test, none of the baseline itself."""

    system: System
    mean: float
    interval: Sequence[float]
    difference: float
    p: Mapping[str, float]

    @property
    def significant(self) -> bool:
        """Whether all tests say so."""
        return all(p < LEVEL for p in self.p.values())


def read_system(path: Path) -> System:
    """A result of `score`. Raises ``UserError`` where its files are missing, or no longer of its length."""
    result = _parsed(path)
    data = located(result["data"])
    settings, split = Manifest.read(data).settings, result["split"]
    texts = path.with_suffix(".txt")
    if not texts.is_file():
        raise UserError(
            f"{texts} is missing: `one-layer-lt score` writes it beside {path.name}, so score the checkpoint again"
        )
    sources, references = (read_split(data / "raw", split, language) for language in settings.languages)
    translations = list(read_lines(texts))
    for what, lines in ((texts, translations), (f"{result['data']}, {split},", references)):
        if len(lines) != result["sentences"]:
            raise UserError(
                f"{what} has {len(lines):,} sentences, but {path} is of {result['sentences']:,}: "
                "score the checkpoint again"
            )
    bleu = result["bleu"]
    return System(
        *(str(path), result["data"], split, bleu["score"], bleu["brevity_penalty"], bleu["signature"]),
        *(settings, translations, sources, references),
    )


def check_alike(baseline: System, other: System) -> None:
    """Raises ``UserError`` where two results are not of the same sentences, or not scored alike."""
    both = f"{other.name} and {baseline.name}"
    if other.split != baseline.split:
        raise UserError(f"{both} are of different splits, {other.split} and {baseline.split}: compare one split")
    if len(other.references) != len(baseline.references):
        counts = f"{len(other.references):,} and {len(baseline.references):,}"
        raise UserError(f"{both} are of different numbers of sentences, {counts}: score them on the same data")
    # by content: the folder of a distilled text has the test set of the one it is made from
    if other.sources != baseline.sources or other.references != baseline.references:
        raise UserError(f"{both} are of different data, {other.data} and {baseline.data}: score them on the same")
    if other.signature != baseline.signature:
        raise UserError(
            f"{both} have different signatures, {other.signature} and {baseline.signature}: score them again"
        )


def compare(systems: Sequence[System], samples: int = 0) -> tuple[list[Compared], list[str]]:
    """Each system against the first, and the tests' signatures.

    samples: of each test; 0 for sacrebleu's own numbers. Raises ``UserError`` where systems are not alike, or where
    translations or references have changed since they were scored.
    """
    baseline, *others = systems
    for other in others:
        check_alike(baseline, other)
    translations = {str(number): system.translations for number, system in enumerate(systems)}
    metric = bleu_of(baseline.settings)
    runs = {test: paired_test(translations, metric, baseline.references, test, samples) for test in TESTS}
    found = {test: results for test, (_, results) in runs.items()}
    compared = []
    for number, system in enumerate(systems):
        result = found["bs"][number]
        if abs(result.score - system.score) > 1e-6:
            raise UserError(
                f"{system.name} says BLEU {system.score:.2f}, but its translations now have {result.score:.2f}: "
                "they, the references or BLEU's tokenizer have changed, so score the checkpoint again"
            )
        difference = result.score - found["bs"][0].score
        # sacrebleu takes no difference for one that no resample surpasses: its p is then the least there is
        p = {test: found[test][number].p_value if difference else 1.0 for test in TESTS} if number else {}
        compared.append(Compared(system, float(result.mean), interval(result), difference, p))
    return compared, [signature for signature, _ in runs.values()]


def table(compared: Sequence[Compared]) -> Iterator[str]:
    """The lines of a table for a terminal."""
    rows = [HEADS]
    for one in compared:
        scores = (f"{one.system.score:.2f}", f"{one.mean:.2f}", "{:.2f} to {:.2f}".format(*one.interval))
        tested = (f"{one.difference:+.2f}", *(f"{p:.4f}" for p in one.p.values())) if one.p else ("", "", "")
        rows.append((one.system.name, *scores, f"{one.system.brevity_penalty:.3f}", *tested))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for name, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:]))
        yield "  ".join([name.ljust(widths[0]), *padded]).rstrip()


def verdict(one: Compared, baseline: str) -> str:
    """Of a system against the baseline, in words."""
    if not one.difference:
        return f"{one.system.name} has the same BLEU as {baseline}."
    way = "above" if one.difference > 0 else "below"
    says = f"significant at {LEVEL:g}" if one.significant else f"not significant at {LEVEL:g}: it may well be chance"
    return f"{one.system.name} is {abs(one.difference):.2f} BLEU {way} {baseline}, {says}."


def _parsed(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"no such result: {path}")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): name the JSON that `one-layer-lt score` wrote") from error
    if not (_fits(result, KEYS) and _fits(result["bleu"], BLEU_KEYS)):
        raise UserError(
            f"{path} is no result of `one-layer-lt score`: name the JSON that it wrote beside the checkpoint"
        )
    return dict(result)


def _fits(value: Any, keys: Mapping[str, Any]) -> bool:
    """Whether it is a table that has the keys, of their types."""
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in keys.items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("baseline", type=Path, metavar="BASELINE.json", help="the result to compare with")
    parser.add_argument("others", type=Path, nargs="+", metavar="OTHER.json", help="results to compare with it")


def run(args: argparse.Namespace) -> None:
    compared, signatures = compare([read_system(path) for path in (args.baseline, *args.others)])
    lines = [*table(compared), "", *(verdict(one, str(args.baseline)) for one in compared[1:]), "", *signatures]
    print("\n".join(lines))
