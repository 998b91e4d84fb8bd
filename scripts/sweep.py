"""Train a table of runs, one after the other or side by side, and keep what each gave.

    python scripts/sweep.py scripts/studies/ablation.toml --jobs 2       # hours; stop and start it as you like
    python scripts/sweep.py scripts/studies/ablation.toml "squared decay"    # this run alone

A study is a TOML file: `data` (a prepared data folder), `[flags]` (fairseq-train's, for all runs) and `[runs]` (each a
name and the flags that it changes). These settings can be given for the study or for one run:

    data      for single runs, too
    seeds     one training for each
    splits    what to translate (valid)
    beam      width of the beam search
    lenpen    length penalties; the one of highest BLEU on valid is used
    last      number of checkpoints to average; without it the best checkpoint is taken
    bits      translate also with the weights of a dense model rounded to this many bits
    gpus      number of GPUs (1)

A run with the flag `train-bits` is translated with its weights rounded to these bits; its size is that of the rounded
model.

With `kind = "vision"`, the flags are those of `one-layer-lt vision train`, `data` is its --root (none for digits), and
`seeds` is the only other setting.

A run that was stopped goes on where it stopped. A run that fails is named, and the others go on. Results are written to
docs/results/STUDY/RUN-sSEED.json, and `python -m scripts.tables` makes the pages. The results of a study outside
scripts/studies are written to results/ beside the study, or to --out FOLDER, with a page STUDY.md, and a report to look
at, STUDY.html.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

from one_layer_lt import TicketError, process, terminal
from one_layer_lt.cli.parser import Parser, count
from one_layer_lt.cli.report import report
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json, write_whole
from one_layer_lt.finite import DIVERGED
from one_layer_lt.lock import hold
from one_layer_lt.origin import commit, machine
from scripts import images, tables, translators
from scripts.results import RESULTS, ROOT
from scripts.study import Run, chosen, read_study, results_of

KINDS: dict[str, Any] = {"fairseq": translators, "vision": images}


def make(run: Run, threads: int, again: bool = False) -> str:
    """Train, score and keep a run, or go on with it; says in a line what came of it."""
    if run.kept() is not None and not again:
        return "kept"
    log = ROOT / run.folder / "train.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as held:
        # The training inherits it, and should it outlive this sweep, holds it on.
        hold(held.fileno(), f"{run.folder}: another sweep is at it: wait, or stop that one")
        return _make(run, threads, log, held.fileno())


def _make(run: Run, threads: int, log: Path, handle: int) -> str:
    kind, asked = KINDS[run.kind], {"command": shlex.join(run.command())}
    settings, inputs = run.settings(), kind.inputs(run)
    begun = _begin(run, {**asked, "commit": commit(), "inputs": inputs})
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        command, finished = [*run.command(), *kind.added(run), *kind.LOGGED], log.with_name("trained")
        if not finished.is_file():  # not the quickstart's mark, which stops by the clock
            name = f"{run.slug}: training"
            process.run(command, log=log, cwd=ROOT, env=environment, name=name, inherits=[handle])
            finished.touch()
    except process.CommandFailed as failed:
        if DIVERGED not in failed.said:
            raise
        write_json(run.result, {**asked, "settings": settings, "diverged": failed.said})
        _remove_checkpoints(run)
        return "diverged"
    found, checkpoint = kind.outcome(run, environment)
    result = {**asked, **found, "settings": settings, "threads": threads, "added": kind.added(run)}
    result |= {"commit": begun["commit"], "machine": machine(), "inputs": inputs}
    write_json(run.result, result)
    _remove_checkpoints(run, checkpoint)
    return kind.in_words(result)


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


def _remove_checkpoints(run: Run, kept: Optional[Path] = None) -> None:
    for file in (ROOT / run.folder).glob("*.pt"):
        if file != kept:
            file.unlink()


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
        if not (ROOT / run.data).exists():
            raise UserError(f"{run.data} is missing: {KINDS[run.kind].MEND}")
    if shutil.disk_usage(ROOT).free < 2 << 30:
        raise UserError(f"{ROOT}: less than 2 GiB free, and every run keeps a checkpoint")
    failed = list(_make_all(runs, args.jobs, args.again))
    results = args.out or results_of(args.study)
    if results.resolve() != RESULTS and (rows := tables.rows_of(args.study, results)):
        print(f"tables: {tables.draw(args.study, rows, results)}")
        page = results / f"{args.study.stem}.html"
        write_whole(page, report([run.result for row in rows for run in row.runs]))
        print(f"report: {page}")
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
    except KeyboardInterrupt:  # the pool would wait for the trainings: they end with this process
        print("error: interrupted: run the same command again", file=sys.stderr, flush=True)
        os._exit(130)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_a_line(run: Run, error: BaseException) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, OSError):
        said = terminal.of_system(error)
    elif not isinstance(error, (UserError, TicketError)):
        said = f"{type(error).__name__}: {said}"
    return f"{run.slug}: {said.removeprefix(f'{run.slug}: ')}"


if __name__ == "__main__":
    terminal.run(main)
