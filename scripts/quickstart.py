"""What scripts/quickstart.sh runs once the corpus is there: train, score, show.

python -m scripts.quickstart
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fairseq.checkpoint_utils import load_model_ensemble

from fairseq_plugins.checkpoints import load
from fairseq_plugins.commands.score import progress_of, score
from fairseq_plugins.options import cpu_flags
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import process, summarize, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.files import sha256
from one_layer_lt.progress import progress
from one_layer_lt.text.lines import read_lines
from one_layer_lt.text.metrics import in_words
from scripts.results import ROOT
from scripts.study import Run, read_study

STUDY = ROOT / "scripts" / "studies" / "quickstart.toml"
SHOWN = 5


def train(run: Run) -> None:
    """Train, or go on from where an interrupted run stopped, but not for long where the machine is slow.

    Shows progress, and keeps the whole log in ``train.log``.
    """
    updates, folder = run.flags["max-update"], ROOT / run.folder
    last = folder / "checkpoint_last.pt"
    done = (progress_of(load(last))["updates"] or 0) if last.is_file() else 0
    if done >= updates or (folder / "done").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Training for {updates - done:,} updates (log: {run.folder / 'train.log'})", flush=True)
    command = [
        *run.command(),
        *cpu_flags(),
        "--stop-time-hours",
        "0.13",
        "--log-format",
        "json",
        "--log-interval",
        "20",
    ]
    with progress(run.name, updates, "updates", done) as bar:

        def each(line: str) -> None:
            if "| train_inner |" in line:
                state = json.loads(line[line.index("{") :])
                bar.note = f"perplexity {state['ppl']}"
                bar.update(int(state["num_updates"]) - bar.n)

        process.run(command, log=folder / "train.log", each=each, cwd=ROOT)
    (folder / "done").touch()


def scored(run: Run) -> dict[str, Any]:
    """The score of the best checkpoint, kept from an earlier run where it is of the same checkpoint."""
    checkpoint = ROOT / run.folder / "checkpoint_best.pt"
    kept = checkpoint.with_suffix(".test.json")
    if kept.is_file():
        result: dict[str, Any] = json.loads(kept.read_text())
        if result["checkpoint"]["sha256"] == sha256(checkpoint):
            return result
    return score(checkpoint, ROOT / run.data)


def report(masked: Run, dense: Run, result: dict[str, Any]) -> Iterator[str]:
    """What a reader wants to see, line by line."""
    checkpoint, raw = ROOT / masked.folder / "checkpoint_best.pt", ROOT / masked.data / "raw"
    yield ""
    yield "source | translation | reference"
    texts = [raw / "test.en", checkpoint.with_suffix(".test.txt"), raw / "test.de"]
    for _, lines in zip(range(SHOWN), zip(*map(read_lines, texts))):
        yield "  " + " | ".join(lines)
    yield ""
    rows = [("everything random and masked", result)]
    if dense.result.is_file():
        stored = json.loads(dense.result.read_text())["test"]
        rows.append((f"dense, the same size (stored in {dense.result.relative_to(ROOT)})", stored))
    for name, row in rows:
        yield f"{name}: {in_words(row['bleu'])}, exact match {row['exact_match']:.1%}"
        yield f"  {row['bleu']['signature']}"
    models, _ = load_model_ensemble([str(checkpoint)], task=None)
    counts = summarize(models[0])
    yield (
        f"{counts.random_weights} random matrices ({counts.random_numbers:,} numbers, drawn from a seed, not stored), "
        f"{counts.scores:,} scores in {counts.masks} masks, {counts.trained} trained numbers other than scores"
    )
    ticket = masked.folder / "numbers.ticket"
    from_checkpoint(checkpoint, ROOT / masked.data).save(ROOT / ticket)
    yield f"all of it as one file of {(ROOT / ticket).stat().st_size:,} bytes; to use it:"
    yield f'  echo "May 28, 1991" | one-layer-lt translate {ticket}'


def main() -> None:
    Parser(prog="scripts/quickstart.sh", description="Train, score and show a translator made of masks.").parse_args()
    masked, dense = read_study(STUDY)
    train(masked)
    print("\n".join(report(masked, dense, scored(masked))))


if __name__ == "__main__":
    terminal.run(main)
