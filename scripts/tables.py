"""Redraw the page and the plot of every study from what its runs gave.

python -m scripts.tables
"""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from data_prep.lib import cli
from scripts.results import RESULTS
from scripts.score import ROOT
from scripts.sweep import Run, read_study, title_of

STUDIES = ROOT / "scripts" / "studies"
COLUMNS = (
    *("run", "updates", "seeds", "valid perplexity", "valid BLEU", "effect"),
    *("test BLEU", "tokenised", "file, kB", "minutes"),
)


@dataclass(frozen=True)
class Row:
    """A run and what its seeds gave; those that are not done are left out."""

    runs: tuple[Run, ...]
    results: tuple[dict[str, Any], ...]

    @property
    def run(self) -> Run:
        """The first of those that are done."""
        return self.runs[0]

    def bleu(self, split: str) -> list[float]:
        """Of each seed that was translated."""
        return [result[split]["bleu"]["score"] for result in self.results if split in result]

    def tokenised(self) -> list[float]:
        """BLEU of the test set as tokenised and lower-cased by the corpus, where it is."""
        found = (result["test"]["tokenised_bleu"] for result in self.results if "test" in result)
        return [bleu["score"] for bleu in found if bleu]

    def perplexities(self) -> list[float]:
        """The best of each seed."""
        return [min(value for _, value in result["curve"]["valid"]) for result in self.results if "curve" in result]

    def first(self) -> Optional[dict[str, Any]]:
        return next((result for result in self.results if "curve" in result), None)


def rows_of(study: Path) -> list[Row]:
    """The rows of a study that have results, in its order."""
    runs: dict[str, list[Run]] = {}
    for run in read_study(study):
        runs.setdefault(run.name, []).append(run)
    rows = []
    for seeds in runs.values():
        done = tuple(run for run in seeds if run.result.is_file())
        if done:
            rows.append(Row(done, tuple(json.loads(run.result.read_text()) for run in done)))
    return rows


def spread(values: Sequence[float], digits: int = 2) -> str:
    """A mean, and the standard deviation over seeds where there are several."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page(study: Path, rows: Sequence[Row]) -> Iterator[str]:
    """The page of a study, line by line; effects are against its first run."""
    name = study.stem
    yield f"# {title_of(study)}"
    yield ""
    yield f"Trained by `python scripts/sweep.py {study.relative_to(ROOT)}`, written by `python -m scripts.tables`."
    yield ""
    yield _cells(COLUMNS)
    yield _cells(["---"] * len(COLUMNS))
    base = rows[0].bleu("valid")
    signature = ""
    for row in rows:
        links = " ".join(f"[{run.seed}]({name}/{run.result.name})" for run in row.runs)
        first = row.first()
        if first is None:
            yield _cells([row.run.name, "", links, "diverged", *[""] * (len(COLUMNS) - 4)])
            continue
        valid, score = row.bleu("valid"), first["valid"]
        effect = f"{statistics.fmean(valid) - statistics.fmean(base):+.2f}" if row is not rows[0] and base else ""
        minutes = statistics.fmean(result["seconds"] for result in row.results if "seconds" in result) / 60
        signature = score["bleu"]["signature"]
        cells = [row.run.name, f"{score['checkpoint']['updates']:,}", links, spread(row.perplexities()), spread(valid)]
        cells += [effect, spread(row.bleu("test")), spread(row.tokenised())]
        yield _cells([*cells, f"{first['size']['bytes'] / 1000:,.0f}", f"{minutes:.0f}"])
    yield ""
    yield (
        f"`{signature}`, beam {rows[0].run.beam}. Perplexity is that of the best epoch; a file is a ticket, or a "
        "dense model in float32, without dictionaries and tokenizer; minutes are of training."
    )
    yield ""
    yield f"![validation perplexity]({name}.png)"
    yield ""


def plot(study: Path, rows: Sequence[Row]) -> None:
    """Validation perplexity of each row's first seed over the updates."""
    import matplotlib

    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    colours = pyplot.colormaps["turbo"]
    drawn = [(row.run.name, first["curve"]["valid"]) for row in rows if (first := row.first()) is not None]
    for number, (label, points) in enumerate(drawn):
        axes.plot(*zip(*points), label=label, color=colours((number + 0.5) / len(drawn)), linewidth=1.2)
    axes.set(xlabel="updates", ylabel="validation perplexity", yscale="log")
    least = min(value for _, points in drawn for _, value in points)
    axes.set_ylim(top=least * math.e**2)
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(RESULTS / f"{study.stem}.png", dpi=110)
    pyplot.close(figure)


def main() -> None:
    cli.Parser(prog="scripts.tables", description="Redraw the pages of all studies.").parse_args()
    for study in sorted(STUDIES.glob("*.toml")):
        rows = rows_of(study)
        if rows:
            (RESULTS / f"{study.stem}.md").write_text("\n".join(page(study, rows)))
            plot(study, rows)


if __name__ == "__main__":
    cli.run(main)
