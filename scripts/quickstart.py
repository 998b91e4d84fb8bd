"""What scripts/quickstart.sh runs once the corpus is there: train, score, show.

python -m scripts.quickstart [--dense]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairseq.checkpoint_utils import load_model_ensemble

from data_prep.lib import cli
from data_prep.lib.errors import DataError
from data_prep.lib.progress import progress
from data_prep.lib.text import read_lines, sha256
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import summarize
from scripts.average import load
from scripts.results import RESULTS, store
from scripts.score import ROOT, progress_of, score

DATA = ROOT / "data-bin" / "numbers.en-de"
DENSE_RESULT = RESULTS / "quickstart-dense.json"
UPDATES = {"masked": 1400, "dense": 1000}
SHOWN = 5


def train_command(kind: str, run: Path) -> list[str]:
    """The fairseq-train command of the ``masked`` or the ``dense`` model."""
    updates = UPDATES[kind]
    command = ["fairseq-train", "data-bin/numbers.en-de", "--user-dir", "fairseq_plugins", "--cpu"]
    command += ["--arch", "one_layer_masked_small", "--share-all-embeddings", "--dropout", "0"]
    command += ["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--clip-norm", "0.5"]
    command += ["--lr", "1e-3", "--lr-scheduler", "cosine", "--warmup-updates", "200", "--max-update", str(updates)]
    command += ["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--max-tokens", "1024"]
    command += ["--save-dir", str(run.relative_to(ROOT)), "--no-epoch-checkpoints", "--num-workers", "0"]
    command += ["--save-interval-updates", "200", "--keep-interval-updates", "1", "--save-interval", str(updates)]
    command += ["--validate-interval", str(updates), "--stop-time-hours", "0.13"]
    command += ["--log-format", "json", "--log-interval", "20", "--seed", "1"]
    command += ["--update-epoch-batch-itr", "True"]  # batches as a function of the epoch: resuming changes nothing
    command += ["--dense"] if kind == "dense" else ["--logit-scale", "2"]
    return command + (["--cpu-bf16"] if has_fast_bf16() else [])


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and any(flag in cpuinfo.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def train(kind: str, run: Path) -> None:
    """Train, or go on from where an interrupted run stopped; show progress, and keep the whole log in ``train.log``."""
    updates = UPDATES[kind]
    last = run / "checkpoint_last.pt"
    done = (progress_of(load(last))["updates"] or 0) if last.is_file() else 0
    if done >= updates or (run / "done").is_file():
        return
    run.mkdir(parents=True, exist_ok=True)
    command = train_command(kind, run)
    print(f"Training for {updates - done:,} updates (log: {(run / 'train.log').relative_to(ROOT)})", flush=True)
    module = [sys.executable, "-m", "fairseq_cli.train", *command[1:]]
    said = ""
    with (
        open(run / "train.log", "a", encoding="utf-8", buffering=1) as log,
        progress(kind, updates, "updates", done) as bar,
        subprocess.Popen(module, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            said = line.strip() or said
            if "| train_inner |" in line:
                state = json.loads(line[line.index("{") :])
                bar.set_postfix_str(f"perplexity {state['ppl']}")
                bar.update(int(state["num_updates"]) - bar.n)
    if process.returncode:
        raise DataError(f"training failed: {said} (the whole log: {run / 'train.log'})")
    (run / "done").touch()


def scored(run: Path) -> dict[str, Any]:
    """The score of the best checkpoint, kept from an earlier run where it is of the same checkpoint."""
    checkpoint = run / "checkpoint_best.pt"
    kept = checkpoint.with_suffix(".test.json")
    if kept.is_file():
        result: dict[str, Any] = json.loads(kept.read_text())
        if result["checkpoint"]["sha256"] == sha256(checkpoint):
            return result
    return score(checkpoint, DATA)


def make_ticket(run: Path) -> Path:
    """The ticket of the best checkpoint."""
    path = run / "numbers.ticket"
    from_checkpoint(run / "checkpoint_best.pt", DATA).save(path)
    return path


def report(run: Path, result: dict[str, Any]) -> Iterator[str]:
    """What a reader wants to see, line by line."""
    yield ""
    yield "source | translation | reference"
    texts = [DATA / "raw" / "test.en", run / "checkpoint_best.test.txt", DATA / "raw" / "test.de"]
    for _, lines in zip(range(SHOWN), zip(*map(read_lines, texts))):
        yield "  " + " | ".join(lines)
    yield ""
    rows = [("everything random and masked", result)]
    if DENSE_RESULT.is_file():
        dense = json.loads(DENSE_RESULT.read_text())["test"]
        rows.append((f"dense, the same size (stored in {DENSE_RESULT.relative_to(ROOT)})", dense))
    for name, row in rows:
        yield f"{name}: BLEU {row['bleu']['score']:.1f}, exact match {row['exact_match']:.1%}"
        yield f"  {row['bleu']['signature']}"
    models, _ = load_model_ensemble([str(run / "checkpoint_best.pt")], task=None)
    counts = summarize(models[0])
    yield (
        f"{counts.random_weights} random matrices ({counts.random_numbers:,} numbers, drawn from a seed, not stored), "
        f"{counts.scores:,} scores in {counts.masks} masks, {counts.trained} trained numbers other than scores"
    )
    if counts.masks:
        ticket = make_ticket(run)
        yield f"all of it as one file of {ticket.stat().st_size:,} bytes; to use it:"
        yield f'  echo "May 28, 1991" | python -m one_layer_lt translate {ticket.relative_to(ROOT)}'


def main() -> None:
    parser = cli.Parser(prog="scripts/quickstart.sh", description="Train, score and show a translator made of masks.")
    parser.add_argument("--dense", action="store_true", help="train and store the dense model to compare with")
    kind = "dense" if parser.parse_args().dense else "masked"
    run = ROOT / "runs" / f"quickstart-{kind}"
    train(kind, run)
    result = scored(run)
    if kind == "dense":
        store(run, DENSE_RESULT.stem, "bash scripts/quickstart.sh --dense")
    print("\n".join(report(run, result)))


if __name__ == "__main__":
    cli.run(main)
