"""The page of a report. Whatever it shows is text: the template escapes it, and charts are the only markup."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..optional import need
from ..ticket.card import facts
from . import charts, masks
from .gather import SPLITS, Entry, number

SAMPLES = 8
CURVES = (  # part, what it counts along, what it is of; a curve of images has the part "test"
    ("valid", "updates", "validation perplexity"),
    ("train", "updates", "training perplexity"),
    ("test", "epochs", "test accuracy"),
    ("train", "epochs", "training loss"),
)


def page(
    entries: Sequence[Entry],
    split: str = "test",
    systems: Mapping[int, Any] | None = None,
    tested: Mapping[int, Any] | None = None,
    signatures: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> bytes:
    """The HTML, which needs no other file.

    systems: the translations of a split, as `one-layer-lt compare` reads them, by the number of their entry.
    tested: what it says of them; signatures: of its tests. notes: what is left out, and why.
    """
    jinja = need("jinja2", "plots")
    loader = jinja.FileSystemLoader(Path(__file__).parent)
    environment = jinja.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    numbered = list(enumerate(entries))
    shown = environment.get_template("page.html").render(
        svg=need("markupsafe", "plots").Markup,
        colours=charts.COLOURS,
        dashes=charts.DASHES,
        entries=entries,
        splits=[
            (name, rows) for name in SPLITS if (rows := list(_rows(entries, name, tested if name == split else {})))
        ],
        cards=[(n, list(facts(entry.ticket.card))) for n, entry in numbered if entry.ticket and entry.ticket.card],
        forest=_forest,
        tested_split=split,
        curves=list(_curves(entries)),
        sizes=list(_sizes(entries)),
        kept=sorted(((n, *_kept(entry)) for n, entry in numbered if entry.ticket), key=lambda of: not of[2]),
        overlaps=[
            (n, found) for n, entry in numbered if entry.ticket and (found := list(masks.overlaps(entry.ticket)))
        ],
        pictures=[(n, list(masks.pictures(entry.ticket))) for n, entry in numbered if entry.ticket],
        histograms=list(_histograms(entries)),
        samples=list(samples(systems)) if systems else [],
        differing=differing(entries),
        signatures=list(dict.fromkeys([*_signatures(entries), *signatures])),
        notes=[*(f"{entry.name}: {note}" for entry in entries for note in entry.notes), *notes],
    )
    return bytes(shown.encode("utf-8", "replace"))  # JSON may hold half a character


def _rows(entries: Sequence[Entry], split: str, tested: Mapping[int, Any] | None) -> Iterator[dict[str, Any]]:
    """The table of a split: entries that have scores."""
    for n, entry in enumerate(entries):
        found = {name: entry.metric(split, name) for name in ("bleu", "chrf")}
        of = entry.splits.get(split)
        plain = {name: number(of.get(name)) for name in ("exact_match", "accuracy")} if isinstance(of, dict) else {}
        if any(value is not None for value in (*found.values(), *plain.values())):
            test = (tested or {}).get(n)
            ends = {name: one.interval for name, one in found.items() if one} | (
                {"bleu": test.interval} if test else {}
            )
            yield {"number": n, "entry": entry, **found, **plain, "ends": ends, "test": test}


def _forest(rows: Sequence[Mapping[str, Any]], metric: str, label: str) -> str:
    """The chart of a metric's intervals, where it was measured."""
    found = {
        (row["number"], f"{row['entry'].name}: {row[metric].score:.2f}"): (row[metric].score, row["ends"][metric])
        for row in rows
        if row[metric]
    }
    return charts.intervals(label, found) if found else ""


def _curves(entries: Sequence[Entry]) -> Iterator[str]:
    for part, across, label in CURVES:
        of = [(n, entry) for n, entry in enumerate(entries) if ("test" in entry.curve) is (across == "epochs")]
        lines = {(n, entry.name): [pair for pair in entry.curve.get(part, ()) if pair[1] > 0] for n, entry in of}
        if any(lines.values()):
            drawn = {key: points for key, points in lines.items() if points}
            yield charts.curves(label, across, drawn, log="perplexity" in label)


def _sizes(entries: Sequence[Entry]) -> Iterator[str]:
    for split in SPLITS:
        found = [(n, entry, bleu) for n, entry in enumerate(entries) if (bleu := entry.metric(split, "bleu"))]
        points = {
            (n, f"{entry.name}: {bleu.score:.2f}, {entry.bytes:,.0f} bytes"): (entry.bytes, bleu.score)
            for n, entry, bleu in found
            if entry.bytes and entry.bytes > 0
        }
        if points:
            yield charts.sizes(f"{split} BLEU", points)


def _kept(entry: Entry) -> tuple[list[str], dict[str, dict[str, float]]]:
    """The layers, and the fractions by kind and layer; none where every weight is kept."""
    kept = masks.kept(entry.ticket) if entry.ticket else {}
    layers = {layer: [(len(part), part) for part in layer.split(".")] for of in kept.values() for layer in of}
    whole = all(fraction == 1 for of in kept.values() for fraction in of.values())
    return sorted(layers, key=layers.__getitem__), {} if whole else kept


def _histograms(entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    found: dict[str, dict[charts.Drawn, list[torch.Tensor]]] = {}
    for n, entry in enumerate(entries):
        for name, scores in entry.scores.items():
            found.setdefault(masks.kind_of(name), {}).setdefault((n, entry.name), []).append(scores.flatten())
    for kind, of in found.items():
        yield kind, charts.histogram(kind, {drawn: torch.cat(scores) for drawn, scores in of.items()})


def samples(systems: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
    """Lines from the best to the worst of the first system's, by chrF, at even steps."""
    from sacrebleu.metrics import CHRF

    first, metric = next(iter(systems.values())), CHRF()
    scores = [metric.sentence_score(line, [of]).score for line, of in zip(first.translations, first.references)]
    order = np.argsort(scores, kind="stable")[::-1]
    for line in dict.fromkeys(order[np.linspace(0, len(order) - 1, SAMPLES).round().astype(int)].tolist()):
        reference = first.references[line]
        marked = {n: list(marks(system.translations[line], reference)) for n, system in systems.items()}
        yield {"line": line + 1, "source": first.sources[line], "reference": reference, "marked": marked}


def marks(text: str, reference: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text, and whether the reference has other words there; without spaces, other letters."""
    part = re.compile(r"\w+|[^\w\s]" if " " in reference.strip() else r"\S")
    found, end = list(part.finditer(text)), 0
    matcher = difflib.SequenceMatcher(None, [one[0] for one in found], part.findall(reference), autojunk=False)
    for tag, first, last, *_ in matcher.get_opcodes():
        if first < last:
            start, before, end = found[first].start(), end, found[last - 1].end()
            yield text[before:start], False
            yield text[start:end], tag != "equal"
    yield text[end:], False


def differing(entries: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """The settings in which entries differ, and their values."""
    told = [entry.settings for entry in entries if entry.settings]
    names = [
        name for name in dict.fromkeys(name for of in told for name in of) if len({of.get(name) for of in told}) > 1
    ]
    return [(name, [entry.settings.get(name, "") for entry in entries]) for name in names]


def _signatures(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        for name, word in (("bleu", "BLEU"), ("chrf", "chrF")):
            found = [one for split in SPLITS if (one := entry.metric(split, name)) and one.signature]
            yield from (f"{word} {one.signature}" for one in found)
