"""Train a table of runs, one after the other or side by side, and keep what each gave.

    python scripts/sweep.py scripts/studies/ablation.toml --jobs 2       # hours; stop and start it as you like
    python scripts/sweep.py scripts/studies/ablation.toml "squared decay"    # this run alone

A study is a TOML file: `data` (a prepared data folder), `[flags]` (fairseq-train's, for all runs) and `[runs]` (each a
name and the flags that it changes). These settings can be given for the study or for one run:

    seeds     one training for each
    splits    what to translate (valid)
    beam      width of the beam search
    lenpen    length penalties; the one of highest BLEU on valid is used
    last      number of checkpoints to average; without it the best checkpoint is taken
    bits      translate also with the weights of a dense model rounded to this many bits
    gpus      number of GPUs (1)

A run with the flag `train-bits` is translated with its weights rounded to these bits; its size is that of the rounded
model.

A run that was stopped goes on where it stopped. A run that fails is named, and the others go on. Results are written to
docs/results/STUDY/RUN-sSEED.json, and `python -m scripts.tables` makes the pages. The results of a study outside
scripts/studies are written to results/ beside the study, or to --out FOLDER, with a page STUDY.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

import torch

from data_prep.lib.lock import locked
from fairseq_plugins.checkpoints import load
from fairseq_plugins.commands.score import find_checkpoint
from fairseq_plugins.options import cpu_flags
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import TicketError, terminal
from one_layer_lt.cli.parser import Parser, count
from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256, write_json
from one_layer_lt.origin import commit
from one_layer_lt.text.manifest import Manifest
from one_layer_lt.text.metrics import in_words
from one_layer_lt.ticket.sizes import sizes
from scripts import tables
from scripts.quantize import quantize, size
from scripts.results import RESULTS, ROOT, result_of
from scripts.study import Run, chosen, read_study, results_of

DIVERGED = "FloatingPointError"


def make(run: Run, threads: int, again: bool = False) -> str:
    """Train, score and keep a run, or go on with it; says in a line what came of it."""
    if run.kept() is not None and not again:
        return "kept"
    with locked(ROOT / run.folder, f"{run.folder}: another sweep is at it: wait, or stop that one"):
        return _make(run, threads)


def _make(run: Run, threads: int) -> str:
    asked, inputs = shlex.join(run.command()), inputs_of(run)
    begun = _begin(run, {"command": asked, "commit": commit(), "inputs": inputs})
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    said = _train(run, environment)
    if said is not None:
        if DIVERGED not in said:
            raise UserError(f"{run.slug}: training failed: {said} (the whole log: {run.folder / 'output.log'})")
        write_json(run.result, {"command": asked, "settings": run.settings(), "diverged": said})
        for file in (ROOT / run.folder).glob("*.pt"):
            file.unlink()
        return "diverged"
    checkpoint, _ = find_checkpoint(ROOT / run.folder, run.last)
    if run.train_bits is None:
        model, size_ = checkpoint, size_of(checkpoint, ROOT / run.data, run.is_dense)
    else:
        model, size_ = _rounded(checkpoint, run.train_bits)
    scores = _scores(run, model, environment)
    result = {**result_of(ROOT / run.folder, asked, scores), "settings": run.settings(), "threads": threads}
    result |= {"added": added(run), "commit": begun["commit"], "inputs": inputs}
    result["size"] = size_
    for bits in run.bits:
        model, size_ = _rounded(checkpoint, bits)
        result[f"int{bits}"] = {**_scores(run, model, environment), "size": size_}
    write_json(run.result, result)
    for file in (ROOT / run.folder).glob("*.pt"):
        if file != checkpoint:
            file.unlink()
    bleu = ", ".join(f"{split} {in_words(scores[split]['bleu'])}" for split in run.splits)
    return f"valid perplexity {min(value for _, value in result['curve']['valid']):.2f}, {bleu}"


def inputs_of(run: Run) -> dict[str, str]:
    """sha256 of what a run is made from: of the list of the data's checksums, and of each file that a flag names."""
    sums = json.dumps(Manifest.read(ROOT / run.data).sha256, sort_keys=True)
    files = {name: ROOT / str(value) for name, value in run.flags.items()}
    hashes = {name: sha256(file) for name, file in files.items() if file.is_file()}
    return {"data": hashlib.sha256(sums.encode()).hexdigest(), **hashes}


def added(run: Run) -> list[str]:
    """What this machine adds to the command: everything on one GPU, or as many as the study says, or on the CPU."""
    if not torch.cuda.is_available():
        return cpu_flags()
    if torch.cuda.device_count() < run.gpus:
        raise UserError(
            f"{run.slug} is for {run.gpus} GPUs, and here are {torch.cuda.device_count()}: change the study"
        )
    return ["--distributed-world-size", str(run.gpus)]


def _begin(run: Run, new: dict[str, Any]) -> dict[str, Any]:
    """What the run was begun with, now or earlier. Raises ``UserError`` where that was something else."""
    path = ROOT / run.folder / "begun.json"
    if not path.is_file():
        write_json(path, new)
    begun: dict[str, Any] = json.loads(path.read_text())
    for name, what in (("command", "flags"), ("inputs", "data or files")):
        if begun[name] != new[name]:
            raise UserError(f"{run.folder} was begun with other {what}: remove it, or name the run anew")
    return begun


def _train(run: Run, environment: Mapping[str, str]) -> Optional[str]:
    """The last line that was said where it failed."""
    folder = ROOT / run.folder
    finished = folder / "trained"  # not the quickstart's mark, which stops by the clock
    if finished.is_file():  # fairseq would make one more update
        return None
    arguments = [sys.executable, "-m", "fairseq_cli.train", *run.command()[1:], *added(run)]
    arguments += ["--log-format", "json", "--log-interval", "50", "--log-file", str(run.folder / "train.log")]
    with open(folder / "output.log", "a+", encoding="utf-8", errors="replace") as log:
        where = log.seek(0, os.SEEK_END)
        done = subprocess.run(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
        log.seek(where)
        said = (log.read().strip().splitlines() or ["no message"])[-1]
    if done.returncode:
        return said
    finished.touch()
    return None


def _scores(run: Run, checkpoint: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Of each split; with several length penalties, by the best on valid, and beside them what each gave there."""
    if len(run.lenpen) == 1:
        return {split: _score(run, checkpoint, split, run.lenpen[0], environment) for split in run.splits}
    tried = {lenpen: _score(run, checkpoint, "valid", lenpen, environment) for lenpen in run.lenpen}
    gave = {lenpen: score["bleu"]["score"] for lenpen, score in tried.items()}
    best = max(run.lenpen, key=gave.__getitem__)
    rest = {split: _score(run, checkpoint, split, best, environment) for split in run.splits if split != "valid"}
    return {"valid": tried[best], **rest, "lenpen": {f"{lenpen:g}": bleu for lenpen, bleu in gave.items()}}


def _score(run: Run, checkpoint: Path, split: str, lenpen: float, environment: Mapping[str, str]) -> dict[str, Any]:
    out = ROOT / run.folder / f"{checkpoint.stem}.{split}.lenpen-{lenpen:g}.json"
    path = run.folder / checkpoint.name
    arguments = [sys.executable, "-m", "one_layer_lt", "score", str(path), "--out", str(out)]
    arguments += ["--data", run.data, "--split", split]
    arguments += ["--beam", str(run.beam), "--lenpen", f"{lenpen:g}"]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{run.slug}: scoring failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    score: dict[str, Any] = json.loads(out.read_text())
    return score


def size_of(checkpoint: Path, data: Path, dense: bool) -> dict[str, int]:
    """Bytes without dictionaries and tokenizer: of the ticket as stored, or of a dense model in float32."""
    if dense:
        bytes_ = size(load(checkpoint)["model"], 32)
        return {"weights": bytes_ // 4, "bytes": bytes_}
    measured = sizes(from_checkpoint(checkpoint, data))
    return {"weights": measured.dense // 4, "bytes": measured.without_assets}


def _rounded(checkpoint: Path, bits: int) -> tuple[Path, dict[str, int]]:
    """A dense model with its weights rounded to so many bits, beside the checkpoint, and its size."""
    out = checkpoint.with_name(f"int{bits}.pt")
    _, bytes_ = quantize(checkpoint, bits, out)
    return out, {"weights": size(load(out)["model"], 32) // 4, "bytes": bytes_}


def main() -> None:
    parser = Parser(prog="sweep.py", description=__doc__)
    parser.add_argument("study", type=Path, metavar="FILE", help="the TOML file of the study")
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="a run of the study, or one of its seeds, NAME-sSEED (all)"
    )
    parser.add_argument("--jobs", type=count, default=1, metavar="N", help="how many to train at a time (1)")
    parser.add_argument(
        "--again", action="store_true", help="train also the runs whose results are kept, because their models are not"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where results go (docs/results, or beside the study)"
    )
    parser.add_argument("--list", action="store_true", help="print the commands, and train nothing")
    args = parser.parse_args()
    runs = read_study(args.study, args.out)
    if args.runs:
        runs = chosen(runs, args.runs)
    if args.list:
        print("\n".join(shlex.join(run.command()) for run in runs))
        return
    for run in runs:
        if not (ROOT / run.data).is_dir():
            raise UserError(f"{run.data} is missing: prepare it with data_prep/")
    if shutil.disk_usage(ROOT).free < 2 << 30:
        raise UserError(f"{ROOT}: less than 2 GiB free, and every run keeps a checkpoint")
    failed = list(_make_all(runs, args.jobs, args.again))
    results = args.out or results_of(args.study)
    if results.resolve() != RESULTS and (rows := tables.rows_of(args.study, results)):
        print(f"tables: {tables.draw(args.study, rows, results)}")
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs failed: {failed[0]}")


def _make_all(runs: list[Run], jobs: int, again: bool) -> Iterator[str]:
    """Make all runs, and say what came of each; a line for each that failed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // jobs)
    pool = ThreadPoolExecutor(jobs)
    waiting = [(run, pool.submit(make, run, threads, again)) for run in runs]
    try:
        for run, made in waiting:
            try:
                print(f"{run.slug}: {made.result()}", flush=True)
            except (Exception, SystemExit) as error:  # whatever one run does, the others go on
                failure = _in_a_line(run, error)
                print(failure, file=sys.stderr, flush=True)
                yield failure
    finally:
        pool.shutdown(cancel_futures=True)


def _in_a_line(run: Run, error: BaseException) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, OSError):
        said = f"{error.filename or 'system'}: {error.strerror or said}"
    elif not isinstance(error, (UserError, TicketError)):
        said = f"{type(error).__name__}: {said}"
    return f"{run.slug}: {said.removeprefix(f'{run.slug}: ')}"


if __name__ == "__main__":
    terminal.run(main)
