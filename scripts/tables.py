"""Write the pages and the plots of all studies, and the table of the README, from the results of their runs.

python -m scripts.tables
"""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from one_layer_lt import terminal
from one_layer_lt.cli.parser import Parser
from scripts import images, markdown, plots
from scripts.captions import BITS, LOSS, SHARE, caption
from scripts.results import RESULTS, ROOT
from scripts.study import STUDIES, Run, read_study, title_of

COLUMNS = (
    *("run", "network", "rule", "keep", "updates", "epochs", "seeds", "results"),
    *("valid perplexity", "valid BLEU", "valid brevity penalty", "effect"),
    *("length penalty", "test BLEU", "95% interval", "test brevity penalty", SHARE),
    *("tokenised BLEU", "tokenised brevity penalty", "chrF", "exact matches", "test accuracy", "file, kB", "minutes"),
)
"""Of a study's page."""
SHOWN = {
    "README.md": (
        ("multi30k", "twin"),
        ("run", "seeds", "test BLEU", "95% interval", "test brevity penalty", SHARE, "file, kB"),
    ),
    "docs/rules.md": (("rules",), ("run", BITS, LOSS, "test BLEU")),
    "docs/vision.md": (("vision",), ("run", "network", "rule", "keep", "epochs", "test accuracy", "file, kB")),
}
"""What other pages show: the tested runs of some studies, and of these some columns."""
ENOUGH = 0.9
"""Of the dense model's BLEU, for the smallest files."""
CURVES = 16
"""The most that one plot shows; a study of more rows has its effects drawn."""


@dataclass(frozen=True)
class Row:
    """A run and what its seeds gave; those that are not done are left out."""

    runs: tuple[Run, ...]
    results: tuple[dict[str, Any], ...]

    @property
    def run(self) -> Run:
        """The first of those that are done."""
        return self.runs[0]

    def values(self, split: str, metric: str, what: str = "score") -> list[Any]:
        """What a metric says of a split, of each seed that was translated and has it."""
        found = (result.get(split, {}).get(metric) or {} for result in self.results)
        return [measured[what] for measured in found if what in measured]

    def bleu(self, split: str) -> list[float]:
        """Of each seed that was translated."""
        return self.values(split, "bleu")

    def brevity(self, split: str, metric: str = "bleu") -> str:
        """The mean brevity penalty."""
        found = self.values(split, metric, "brevity_penalty")
        return f"{statistics.fmean(found):.3f}" if found else ""

    def interval(self) -> str:
        """Of the test set's BLEU: from the mean of the seeds' lower ends to that of their upper ends."""
        found = self.values("test", "bleu", "ci95")
        if not found or len(found) < len(self.bleu("test")):  # not around the mean of all
            return ""
        return " to ".join(f"{statistics.fmean(ends):.2f}" for ends in zip(*found))

    def seeds(self) -> str:
        """How many came to an end."""
        return str(sum("curve" in result for result in self.results))

    def exact(self) -> str:
        """The mean share of the test set's lines translated word for word as the reference."""
        found = [result["test"]["exact_match"] for result in self.results if "test" in result]
        return f"{statistics.fmean(found):.1%}" if found else ""

    def lenpen(self) -> str:
        """The length penalty of each seed, where it was chosen."""
        return ", ".join(f"{result['valid']['lenpen']:g}" for result in self.results if "lenpen" in result)

    def perplexities(self) -> list[float]:
        """The best of each seed."""
        return [min(value for _, value in result["curve"]["valid"]) for result in self.results if "curve" in result]

    def first(self) -> Optional[dict[str, Any]]:
        return next((result for result in self.results if "curve" in result), None)

    def score(self) -> Optional[dict[str, Any]]:
        """The first split's, of the first seed."""
        first = self.first()
        return first[self.run.splits[0]] if first else None


def rows_of(study: Path, results: Optional[Path] = None) -> list[Row]:
    """The rows of a study that have results, in its order. results: as for ``read_study``."""
    runs: dict[str, list[Run]] = {}
    for run in read_study(study, results):
        runs.setdefault(run.name, []).append(run)
    rows = []
    for seeds in runs.values():
        done = [(run, result) for run in seeds if (result := run.kept()) is not None]
        if done:
            rows.append(Row(*zip(*done)))
    return rows


def spread(values: Sequence[float], digits: int = 2) -> str:
    """A mean, and the standard deviation over seeds where there are several."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def best_dense(rows: Sequence[Row]) -> Optional[Row]:
    """The dense row of the highest BLEU on validation, of those that were tested."""
    dense = [row for row in rows if row.run.is_dense and row.bleu("test")]
    return max(dense, key=lambda row: statistics.fmean(row.bleu("valid")), default=None)


def share(bleu: Sequence[float], dense: Optional[Row]) -> str:
    """Of a dense model's test BLEU."""
    return f"{statistics.fmean(bleu) / statistics.fmean(dense.bleu('test')):.1%}" if bleu and dense else ""


def effect(row: Row, base: Optional[Row]) -> Optional[float]:
    """What the row gains in validation BLEU over another, where both are done, and of one language pair."""
    if base is None or row is base or row.run.language_pair != base.run.language_pair:
        return None
    mine, others = row.bleu("valid"), base.bleu("valid")
    return statistics.fmean(mine) - statistics.fmean(others) if mine and others else None


def effects(rows: Sequence[Row], base: Optional[Row]) -> dict[str, float]:
    """Of each row that has one."""
    return {row.run.name: gain for row in rows if (gain := effect(row, base)) is not None}


def cells(row: Row, base: Optional[Row], dense: Optional[Row]) -> dict[str, str]:
    """A line of a study's table: what stands in its columns, which are empty where they are not named."""
    links = " ".join(f"[{run.seed}]({run.study}/{run.result.name})" for run in row.runs)
    if diverged := sum("diverged" in result for result in row.results):
        links += f" ({diverged} diverged)"
    found, first = {"run": row.run.name, "seeds": row.seeds(), "results": links}, row.first()
    if first is None:
        return found
    found["file, kB"] = f"{first['size']['bytes'] / 1000:,.0f}"
    if seconds := [result["seconds"] for result in row.results if "seconds" in result]:
        found["minutes"] = f"{statistics.fmean(seconds) / 60:.0f}"
    return found | (cells_of_images(row, first) if row.run.kind == "vision" else cells_of_text(row, first, base, dense))


def cells_of_images(row: Row, first: Mapping[str, Any]) -> dict[str, str]:
    """Those of the kind "vision" alone."""
    recipe = images.recipe(row.run)
    accuracy = [100 * result["test"]["accuracy"] for result in row.results if "test" in result]
    return {
        "network": recipe.model,
        "rule": "dense" if recipe.dense else recipe.rule,
        "keep": "" if recipe.dense else str(recipe.mask_config().keep or "learned"),
        "epochs": str(first["curve"]["test"][-1][0]),
        "test accuracy": f"{spread(accuracy)}%",
    }


def cells_of_text(row: Row, first: Mapping[str, Any], base: Optional[Row], dense: Optional[Row]) -> dict[str, str]:
    """Those of the kind "fairseq" alone."""
    score, size, gain = row.score(), first["size"], effect(row, base)
    return {
        "updates": f"{score['checkpoint']['updates']:,}" if score else "",
        "valid perplexity": spread(row.perplexities()),
        LOSS: spread([math.log(value) for value in row.perplexities()], 3),
        "valid BLEU": spread(row.bleu("valid")),
        "valid brevity penalty": row.brevity("valid"),
        "effect": "" if gain is None else f"{gain:+.2f}",
        "length penalty": row.lenpen(),
        "test BLEU": spread(row.bleu("test")),
        "95% interval": row.interval(),
        "test brevity penalty": row.brevity("test"),
        SHARE: share(row.bleu("test"), dense) if row is not dense else "",
        "tokenised BLEU": spread(row.values("test", "tokenised_bleu")),
        "tokenised brevity penalty": row.brevity("test", "tokenised_bleu"),
        "chrF": spread(row.values("test", "chrf")),
        "exact matches": row.exact(),
        BITS: f"{8 * size['bytes'] / size['weights']:.2f}",
    }


def table(rows: Sequence[Row], base: Optional[Row] = None, shown: Collection[str] = COLUMNS) -> Iterator[str]:
    """The ``cells`` of some rows in Markdown, and what they mean: of the columns to be shown, those that have any."""
    dense = best_dense(rows)
    lines = [cells(row, base, dense) for row in rows]
    used = [name for name in shown if any(line.get(name) for line in lines)]
    yield from markdown.table(used, *([line.get(name, "") for name in used] for line in lines))
    yield ""
    scores = [score for row in rows if (score := row.score()) is not None and "bleu" in score]
    signatures = dict.fromkeys(score["bleu"]["signature"] for score in scores)
    has_spread = any("±" in line.get(name, "") for line in lines for name in used)
    yield caption(used, signatures, rows[0].run.beam, dense.run.name if dense else "", has_spread)


def base_of(study: Path, rows: Sequence[Row]) -> Optional[Row]:
    """The row of the study's first run, where it is done."""
    return next((row for row in rows if row.run.name == read_study(study)[0].name), None)


def has_effects_drawn(rows: Sequence[Row], base: Optional[Row]) -> bool:
    """Whether a study's plot is of effects, not of curves."""
    return len(rows) > CURVES and bool(effects(rows, base))


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


def sized(rows: Sequence[Row]) -> Iterator[plots.Sized]:
    """Every model of the rows as a file: bytes against the mean BLEU of the test set, dense ones also rounded."""
    for row in rows:
        first = row.first()
        if first is None or "test" not in first:
            continue
        kind = "dense, float32" if row.run.is_dense else "masked, ticket"
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


def by_size(points: Sequence[plots.Sized], best: float) -> Iterator[str]:
    """A table of files, and the smallest of each kind that reach a share of the best dense model's test BLEU."""
    rows = [("file", "kind", "kB", "test BLEU", "test brevity penalty", f"share of {best:.2f} BLEU")]
    for p in sorted(points, key=lambda point: point.bytes):
        rows.append((p.name, p.kind, f"{p.bytes / 1000:,.0f}", f"{p.bleu:.2f}", p.brevity, f"{p.bleu / best:.1%}"))
    yield from markdown.table(*rows)
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
        plots.accuracies(picture, curves_of(rows, "test"), [str(row.run.flags.get("recipe")) for row in rows])
    elif base is not None and has_effects_drawn(rows, base):
        plots.effects(picture, effects(rows, base), base.bleu("valid"))
    elif curves := curves_of(rows):
        plots.curves(picture, curves)
    written = folder / f"{study.stem}.md"
    written.write_text("\n".join([*page(study, rows), *more]))
    return written


def main() -> None:
    logging.disable(logging.DEBUG)
    Parser(
        prog="scripts.tables", description="Write the pages and plots of all studies from their results."
    ).parse_args()
    main_study = STUDIES / "multi30k.toml"
    for page_, (names, columns) in SHOWN.items():
        found = [study for name in names if (study := STUDIES / f"{name}.toml").is_file()]
        if rows := [
            row for study in found for row in rows_of(study) if any("test" in result for result in row.results)
        ]:
            markdown.put_table(ROOT / page_, "python -m scripts.tables", "\n".join(table(rows, shown=columns)))
    for study in sorted(STUDIES.glob("*.toml")):
        rows = rows_of(study)
        if not rows:
            continue
        more: list[str] = []
        if study.stem == "sizes" and (points := list(sized(rows))):
            dense = best_dense(rows_of(main_study)) if main_study.is_file() else None
            best = statistics.fmean(dense.bleu("test")) if dense else None
            plots.sizes(RESULTS / "sizes-bytes.png", points, best)
            if best:
                more = ["![BLEU against bytes](sizes-bytes.png)", "", *by_size(points, best)]
        draw(study, rows, RESULTS, more)
    seen = {path.stem: json.loads(path.read_text())["seen"] for path in sorted((RESULTS / "flips").glob("*.json"))}
    if seen:
        plots.flips(RESULTS / "flips.png", seen)


if __name__ == "__main__":
    terminal.run(main)
