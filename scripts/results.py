"""Keep what a run gave in docs/results, and redraw its page and plots from what is kept.

python -m scripts.results store runs/m30k-masked multi30k-masked --command "bash scripts/multi30k.sh masked"
python -m scripts.results draw
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.lib import cli
from data_prep.lib.errors import DataError
from data_prep.lib.text import read_lines
from scripts import plots
from scripts.score import ROOT

RESULTS = ROOT / "docs" / "results"
TITLES = {
    "multi30k": "Multi30k de-en, 3+3 layers of width 256",
    "quickstart": "Numbers en-de, 3+3 layers of width 256",
}


def history(log: Iterable[str]) -> dict[str, list[list[float]]]:
    """``{"train": [[update, perplexity], ...], "valid": ...}`` from the JSON lines of a fairseq log.

    Where a run was resumed, what it did again replaces what was lost.
    """
    found: dict[str, dict[int, float]] = {"train": {}, "valid": {}}
    for line in log:
        match = re.search(r'\{"epoch".*\}', line)
        if not match:
            continue
        entry = json.loads(match[0])
        if "valid_ppl" in entry:
            found["valid"][int(entry["valid_num_updates"])] = float(entry["valid_ppl"])
        elif "ppl" in entry and "num_updates" in entry:
            found["train"][int(entry["num_updates"])] = float(entry["ppl"])
    return {part: [[update, value] for update, value in sorted(points.items())] for part, points in found.items()}


def result_of(run: Path, command: str, scores: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What is kept of a run: the command, the training curve and the scores of each split."""
    log = run / "train.log"
    if not log.is_file():
        raise DataError(f"no such log: {log} (train with --log-format json --log-file {log})")
    return {"command": command, "curve": history(read_lines(log)), **scores}


def store(run: Path, name: str, command: str) -> Path:
    """Write ``docs/results/NAME.json``: the command, the training curve and the scores of the best checkpoint."""
    result = result_of(run, command, {})
    scores = {split: run / f"checkpoint_best.{split}.json" for split in ("valid", "test")}
    if not scores["test"].is_file():
        raise DataError(f"{scores['test']} is missing: run scripts/score.py {run} --data FOLDER")
    result.update({split: json.loads(path.read_text()) for split, path in scores.items() if path.is_file()})
    path = RESULTS / f"{name}.json"
    keep(path, result)
    return path


def keep(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result's JSON, beside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)


def table(corpus: str, results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A Markdown table of one corpus's results."""
    yield f"### {TITLES.get(corpus, corpus)}"
    yield ""
    yield "| model | updates | valid perplexity | test BLEU | chrF | exact match |"
    yield "|---|---|---|---|---|---|"
    for kind, result in results.items():
        test, best = result["test"], min(value for _, value in result["curve"]["valid"])
        yield (
            f"| [{kind}]({corpus}-{kind}.json) | {test['checkpoint']['updates']:,} | {best:.2f} | "
            f"{test['bleu']['score']:.2f} | {test['chrf']['score']:.2f} | {test['exact_match']:.1%} |"
        )
    yield ""
    yield f"`{test['bleu']['signature']}`, one seed. Each figure's command, commit and machine are in its JSON."


def put_table(page: Path, command: str, table: str) -> None:
    """Put a table in its place in a page: between a comment that names the command, and one that ends it."""
    begin, end = f"<!-- table: {command} --table -->", "<!-- end of table -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    part = page.with_suffix(".part")
    part.write_text(f"{before}{begin}\n{table}\n{end}{after}")
    part.replace(page)


def draw() -> None:
    """Redraw ``docs/results/tables.md`` and one plot of the training curves a corpus."""
    pyplot = plots.set_up()
    corpora: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*-*.json"), reverse=True):  # masked before dense
        corpus, kind = path.stem.split("-", 1)
        corpora.setdefault(corpus, {})[kind] = json.loads(path.read_text())
    lines: list[str] = []
    for corpus, results in corpora.items():
        lines += [*table(corpus, results), ""]
        figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
        for colour, (kind, result) in zip(pyplot.colormaps["tab10"].colors, results.items()):
            for part, style in (("train", ":"), ("valid", "-")):
                points = result["curve"][part]
                axes.plot(*zip(*points), style, color=colour, label=f"{kind}, {part}")
        axes.set(xlabel="updates", ylabel="perplexity", yscale="log", title=TITLES.get(corpus, corpus))
        axes.set_ylim(top=100)
        axes.legend()
        figure.savefig(RESULTS / f"{corpus}.png", dpi=110)
        lines += [f"![training curves]({corpus}.png)", ""]
    (RESULTS / "tables.md").write_text("\n".join(lines))


def main() -> None:
    parser = cli.Parser(prog="scripts.results", description="Keep results in docs/results, and redraw them.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    keep = verbs.add_parser("store", help="keep what a run gave")
    keep.add_argument("run", type=Path, help="folder of checkpoints, with train.log and scores")
    keep.add_argument("name", help="CORPUS-KIND: the name of the JSON")
    keep.add_argument("--command", required=True, help="the command that made the run")
    verbs.add_parser("draw", help="redraw tables and plots")
    args = parser.parse_args()
    if args.verb == "store":
        store(args.run, args.name, args.command)
    else:
        draw()


if __name__ == "__main__":
    cli.run(main)
