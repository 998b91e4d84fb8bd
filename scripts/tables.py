"""Write the pages and the plots of all studies, and the tables of other pages, from the results of their runs.

python -m scripts.tables
"""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional

from one_layer_lt import markdown, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.files import write_whole
from scripts import plots, science
from scripts.captions import BITS, LOSS, SHARE, caption
from scripts.results import RESULTS, ROOT
from scripts.rows import Row, best_dense, cells, effects, rows_of
from scripts.study import STUDIES, read_study, title_of

COLUMNS = (
    *("run", "network", "rule", "keep", "updates", "epochs", "seeds", "results"),
    *("valid perplexity", "valid BLEU", "valid brevity penalty", "effect"),
    *("length penalty", "test BLEU", "95% interval", "test brevity penalty", SHARE),
    *("tokenised BLEU", "tokenised brevity penalty", "chrF", "exact matches", "test accuracy", "file, kB", "minutes"),
)
"""Of a study's page."""
SHOWN: dict[str, tuple[dict[str, tuple[str, ...]], tuple[str, ...]]] = {
    "README.md": (
        {"multi30k": ("dense", "dense, width 128", "masked, distilled"), "twin": ("signs 256", "signs 128")},
        ("run", "seeds", "test BLEU", "95% interval", "test brevity penalty", SHARE, "file, kB"),
    ),
    "docs/rules.md": ({"rules": ()}, ("run", BITS, LOSS, "test BLEU")),
    "docs/vision.md": ({"vision": ()}, ("run", "network", "rule", "keep", "epochs", "test accuracy", "file, kB")),
}
"""What other pages show: of some studies these tested runs, or all where none is named, and of them some columns."""
VALID = ("run", "seeds", "valid BLEU", "valid brevity penalty", "effect", "file, kB")
TEST = ("run", "seeds", "valid BLEU", "test BLEU", "test brevity penalty", SHARE, "file, kB")
FINDINGS: dict[str, tuple[dict[str, tuple[str, ...]], tuple[str, ...]]] = {
    "from a twin": ({"multi30k": ("dense", "masked, distilled"), "twin": ("twin 256", "signs 256")}, TEST),
    "which masks": ({"ablation-twin": ()}, VALID),
    "embeddings": (
        {
            "ablation-narrow": (
                *("reference", "trained embeddings"),
                *("fixed embeddings of the dense model", "masked embeddings of the dense model"),
            )
        },
        VALID,
    ),
    "updates": (
        {"levers": (), "ablation-narrow": ("reference", "twice as long", "lr 2e-3", "lr 5e-4")},
        ("run", "updates", "seeds", "valid BLEU", "valid brevity penalty"),
    ),
    "not last": (
        {
            "ablation-narrow": (
                *("reference", "continuous masks until 1,200", "signed constant"),
                *("a teacher's translations", "a teacher's translations and predictions"),
            ),
            "recipe": ("distilled, betas 0.9, 0.999", "continuous masks until 6,000, distilled"),
            "multi30k": ("masked, distilled", "masked, distilled, signed constant", "masked, distilled twice"),
        },
        ("run", "updates", "seeds", "valid BLEU", "test BLEU"),
    ),
    "keep": ({"ablation-narrow": ("reference", "keep 0.2", "keep 0.35", "keep 0.65", "keep 0.8")}, VALID),
    "sharing": (
        {
            "ablation-narrow": (
                *("reference", "one random weight a layer", "one random weight for both stacks"),
                *("one random vector for all", "one mask for all layers"),
            )
        },
        VALID,
    ),
    "width": (
        {"ablation-narrow": ("reference", "6+6 layers"), "ablation": ("reference",)},
        ("run", "results", "valid BLEU", "valid brevity penalty", "file, kB", "minutes"),
    ),
    "second corpus": ({"tatoeba": (), "box": ()}, TEST),
}
"""The tables of docs/results/README.md, as those of ``SHOWN``; they have runs without scores of the test set, too."""
ENOUGH = 0.9
"""Of the dense model's BLEU, for the smallest files."""
CURVES = 16
"""The most that one plot shows; a study of more rows has its effects drawn."""


def table(rows: Sequence[Row], base: Optional[Row] = None, shown: Collection[str] = COLUMNS) -> Iterator[str]:
    """The ``cells`` of some rows in Markdown, and what they mean: of the columns to be shown, those that have any."""
    dense = best_dense(rows)
    lines = [cells(row, base, dense) for row in rows]
    used = markdown.used(shown, lines)
    yield from markdown.table_of(used, lines)
    yield ""
    scores = [score for row in rows if (score := row.score()) is not None and "bleu" in score]
    signatures = dict.fromkeys(score["bleu"]["signature"] for score in scores)
    has_spread = any("±" in line.get(name, "") for line in lines for name in used)
    yield caption(used, signatures, rows[0].run.beam, dense.run.name if dense else "", has_spread)


def tested(study: Path, runs: Collection[str]) -> list[Row]:
    """The rows of a study that have scores of the test set: those of these runs, or all where none is named."""
    return [row for row in rows_of(study) if row.is_tested and (not runs or row.run.name in runs)]


def base_of(study: Path, rows: Sequence[Row]) -> Optional[Row]:
    """The row of the study's first run, where it is done."""
    return next((row for row in rows if row.run.name == read_study(study)[0].name), None)


def has_effects_drawn(rows: Sequence[Row], base: Optional[Row]) -> bool:
    """Whether a study's plot is of effects, not of curves."""
    return len(rows) > CURVES and bool(effects(rows, base))


def _finding(studies: Mapping[str, Collection[str]], columns: Sequence[str]) -> Iterator[str]:
    """The table of some runs, or all where none is named; effects and shares are against those of the first study."""
    files = [STUDIES / f"{name}.toml" for name in studies]
    done = [rows_of(file) if file.is_file() else [] for file in files]
    rows = [row for each, runs in zip(done, studies.values()) for row in each if not runs or row.run.name in runs]
    base = base_of(files[0], done[0]) if done[0] else None
    lines = [cells(row, base, best_dense(rows)) for row in rows]
    if rows:
        yield from markdown.table_of(markdown.used(columns, lines), lines)


def page(study: Path, rows: Sequence[Row]) -> Iterator[str]:
    """The page of a study, line by line; effects are against its first run, shares against its best dense one."""
    yield f"# {title_of(study)}"
    yield ""
    whole, by = study.resolve(), "`python -m scripts.tables`"
    shown = whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else study
    if rows[0].run.results not in (None, RESULTS):
        by = "the same command"
    yield f"The runs were trained by `python scripts/sweep.py {shown}`. This page was written by {by}."
    yield ""
    base = base_of(study, rows)
    yield from table(rows, base)
    yield ""
    drawn = "test accuracy" if rows[0].run.kind == "vision" else "validation perplexity"
    yield f"![{'effects' if has_effects_drawn(rows, base) else drawn}]({study.stem}.png)"
    yield ""


def curves_of(rows: Sequence[Row], split: str = "valid") -> dict[str, list[list[float]]]:
    """The curve of each row's first seed."""
    return {row.run.name: first["curve"][split] for row in rows if (first := row.first()) is not None}


def _from_twins() -> list[Row]:
    """The tickets whose masks started from a dense model."""
    study = STUDIES / "twin.toml"
    return [row for row in rows_of(study) if not row.run.is_dense] if study.is_file() else []


def sized(rows: Sequence[Row], masked: str = "masked, ticket") -> Iterator[plots.Sized]:
    """Every model of the rows as a file: bytes against the mean BLEU of the test set, dense ones also rounded.

    masked: the kind of those that are not dense.
    """
    for row in rows:
        first = row.first()
        if first is None or "test" not in first:
            continue
        kind = "dense, float32" if row.run.is_dense else masked
        if row.run.train_bits is not None:
            kind = f"dense, trained in {row.run.train_bits} bits"
        size, bleu = first["size"]["bytes"], statistics.fmean(row.bleu("test"))
        yield plots.Sized(row.run.name, kind, size, bleu, row.brevity("test"))
        for bits in row.run.bits:
            found = tuple(result[f"int{bits}"] for result in row.results if f"int{bits}" in result)
            if not found:
                continue
            rounded, size = Row(row.runs, found), found[0]["size"]["bytes"]
            bleu = statistics.fmean(rounded.bleu("test"))
            yield plots.Sized(row.run.name, f"dense, {bits} bits", size, bleu, rounded.brevity("test"))


def by_bytes(points: Sequence[plots.Sized], best: float) -> Iterator[str]:
    """A table of files, the smallest first. best: test BLEU of the dense model that shares are of."""
    rows = [("file", "kind", "kB", "test BLEU", "test brevity penalty", f"share of {best:.2f} BLEU")]
    for p in sorted(points, key=lambda point: point.bytes):
        rows.append((p.name, p.kind, f"{p.bytes / 1000:,.0f}", f"{p.bleu:.2f}", p.brevity, f"{p.bleu / best:.1%}"))
    yield from markdown.table(*rows)


def by_size(points: Sequence[plots.Sized], best: float) -> Iterator[str]:
    """``by_bytes``, and the smallest of each kind that reach a share of the best dense model's test BLEU."""
    yield from by_bytes(points, best)
    yield ""
    yield "Models in 8 and 4 bits are dense models whose weights were rounded after training."
    yield ""
    yield (
        f"The smallest files with at least {ENOUGH:.0%} of {best:.2f} BLEU, which the best dense model of "
        "[multi30k](multi30k.md) has:"
    )
    yield ""
    for kind in dict.fromkeys(point.kind for point in points):
        good = [point for point in points if point.kind == kind and point.bleu >= ENOUGH * best]
        smallest = min(good, key=lambda point: point.bytes, default=None)
        yield f"- {kind}: {f'{smallest.bytes:,} bytes ({smallest.name})' if smallest else 'none'}"
    yield ""


def draw(study: Path, rows: Sequence[Row], folder: Path, more: Sequence[str] = ()) -> Path:
    """Write the page of a study, and its picture, into a folder; ``more`` are lines for the end of the page."""
    picture, base = folder / f"{study.stem}.png", base_of(study, rows)
    if rows[0].run.kind == "vision":
        panels = {row.run.name: str(row.run.flags.get("recipe", "digits")) for row in rows}
        plots.accuracies(picture, curves_of(rows, "test"), panels)
    elif base is not None and has_effects_drawn(rows, base):
        plots.effects(picture, effects(rows, base), base.bleu("valid"))
    elif curves := curves_of(rows):
        plots.curves(picture, curves)
    written = folder / f"{study.stem}.md"
    write_whole(written, "\n".join([*page(study, rows), *more]))
    return written


def main() -> None:
    logging.disable(logging.DEBUG)
    Parser(
        prog="scripts.tables", description="Write the pages and plots of all studies from their results."
    ).parse_args()
    main_study = STUDIES / "multi30k.toml"
    for shown_on, (studies, columns) in SHOWN.items():
        files = {STUDIES / f"{name}.toml": runs for name, runs in studies.items()}
        if rows := [row for file, runs in files.items() if file.is_file() for row in tested(file, runs)]:
            markdown.put_table(ROOT / shown_on, "python -m scripts.tables", "\n".join(table(rows, shown=columns)))
    for finding, (studies, columns) in FINDINGS.items():
        if lines := list(_finding(studies, columns)):
            markdown.put_table(RESULTS / "README.md", f"python -m scripts.tables: {finding}", "\n".join(lines))
    for study in sorted(STUDIES.glob("*.toml")):
        rows = rows_of(study)
        if not rows:
            continue
        more: list[str] = []
        if study.stem == "sizes" and (points := [*sized(rows), *sized(_from_twins(), "masked, from a twin")]):
            dense = best_dense(rows_of(main_study)) if main_study.is_file() else None
            best = statistics.fmean(dense.bleu("test")) if dense else None
            plots.sizes(RESULTS / "sizes-bytes.png", points, best)
            if best:
                more = ["![BLEU against bytes](sizes-bytes.png)", "", *by_size(points, best)]
                small = [point for point in points if not point.kind.endswith("float32")]
                markdown.put_table(
                    RESULTS / "README.md", "python -m scripts.tables: bytes", "\n".join(by_bytes(small, best))
                )
        draw(study, rows, RESULTS, more)
    seen = {path.stem: json.loads(path.read_text())["seen"] for path in sorted((RESULTS / "flips").glob("*.json"))}
    if seen:
        plots.flips(RESULTS / "flips.png", seen)
    science.tables(ROOT / "docs/science.md", RESULTS / "science")


if __name__ == "__main__":
    terminal.run(main)
