"""Rows of studies: what the seeds of a run gave, and the cells of a table that tell it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from scripts import images
from scripts.captions import BITS, LOSS, SHARE
from scripts.study import Run, read_study


@dataclass(frozen=True)
class Row:
    """A run and what its seeds gave; those that are not done are left out."""

    runs: tuple[Run, ...]
    results: tuple[dict[str, Any], ...]

    @property
    def run(self) -> Run:
        """The first of those that are done."""
        return self.runs[0]

    @property
    def is_tested(self) -> bool:
        return any("test" in result for result in self.results)

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
