"""Train a table of runs, one after the other or side by side, and keep what each gave.

    python scripts/sweep.py scripts/studies/ablation.toml --jobs 2       # hours; stop and start it as you like
    python scripts/sweep.py scripts/studies/ablation.toml "lr 5e-4"      # this run alone

A study is a TOML file: `data` (a prepared folder), `[flags]` of fairseq-train for all runs, and `[runs]`, each a name
and the flags that it changes. Beside them, for the study or for one run: `seeds`, `splits` to translate (valid),
`beam`, `lenpen` (of several, the one of highest BLEU on valid), `last`, the number of checkpoints to average instead of
taking the best, and `bits`, to translate with a dense model's weights rounded to so many, too. Runs resume where they
were stopped; what they gave is docs/results/STUDY/RUN-sSEED.json.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch

from data_prep.lib import cli
from data_prep.lib.errors import DataError
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt.ticket.sizes import sizes
from scripts.average import count, load
from scripts.quantize import quantize, size
from scripts.results import RESULTS, keep, result_of
from scripts.score import ROOT, find_checkpoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS: dict[str, Any] = {
    "data": None,
    "seeds": [1],
    "splits": ["valid"],
    "beam": 5,
    "lenpen": 1.0,
    "last": None,
    "bits": [],
}
DIVERGED = "FloatingPointError"


@dataclass(frozen=True)
class Run:
    """One training of a study.

    flags: of fairseq-train, by name; True for one without a value. The other fields are the keys of ``SETTINGS``.
    """

    study: str
    name: str
    seed: int
    flags: Mapping[str, Any]
    data: str
    splits: tuple[str, ...]
    beam: int
    lenpen: tuple[float, ...]
    last: Optional[int]
    bits: tuple[int, ...] = ()

    @property
    def slug(self) -> str:
        """The name in those of files."""
        return f"{re.sub(r'[^A-Za-z0-9.=-]+', '-', self.name).strip('-')}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """Of its checkpoints, relative to the repository."""
        return Path("runs", self.study, self.slug)

    @property
    def result(self) -> Path:
        """The JSON that keeps what it gave."""
        return RESULTS / self.study / f"{self.slug}.json"

    @property
    def is_dense(self) -> bool:
        return bool(self.flags.get("dense"))

    def command(self) -> list[str]:
        """fairseq-train's arguments, the same on every machine."""
        arguments = ["fairseq-train", self.data, "--user-dir", "fairseq_plugins"]
        for name, value in self.flags.items():
            if value is not False:
                arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        arguments += ["--seed", str(self.seed)]
        arguments += [] if self.is_dense else ["--mask-seed", str(self.seed)]
        arguments += ["--num-workers", "0", "--update-epoch-batch-itr", "True"]
        return [*arguments, "--save-dir", str(self.folder)]


def read_study(path: Path) -> list[Run]:
    """The runs of a study, seed by seed. Raises ``DataError`` that names the file and what is wrong in it."""
    study = _parsed(path)
    for name in study:
        if name not in {"title", "flags", "runs", *SETTINGS}:
            raise DataError(f"{path}: unknown key {name!r}; flags of fairseq-train go under [flags]")
    if not isinstance(study.get("runs"), dict) or not study["runs"]:
        raise DataError(f"{path} has no [runs]")
    runs = [run for name, changes in study["runs"].items() for run in _runs(path, study, name, changes)]
    slugs = [run.slug for run in runs]
    for run in runs:
        if slugs.count(run.slug) > 1:
            raise DataError(f"{path}: the run {run.name!r} would share its files with another: change its name")
    return runs


def chosen(runs: list[Run], names: list[str]) -> list[Run]:
    """The runs of these names, or slugs, in their order, each once. Raises ``DataError`` where none has a name."""
    for name in names:
        if not any(name in (run.name, run.slug) for run in runs):
            raise DataError(f"unknown run {name!r}; choose of: {'; '.join(dict.fromkeys(run.name for run in runs))}")
    found = [run for name in names for run in runs if name in (run.name, run.slug)]
    return [run for number, run in enumerate(found) if run not in found[:number]]  # two trainings must not share files


def title_of(path: Path) -> str:
    """What a study says it is about."""
    return str(_parsed(path).get("title", path.stem))


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"no such study: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML: {error}") from None


def _runs(path: Path, study: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> Iterator[Run]:
    if not isinstance(changes, dict):
        raise DataError(f"{path}: the run {name!r} must be a table of flags, as {{ lr = 1e-3 }}")
    settings = {**SETTINGS, **{key: study[key] for key in SETTINGS if key in study}}
    settings.update({key: value for key, value in changes.items() if key in SETTINGS})
    flags = {**study.get("flags", {}), **{key: value for key, value in changes.items() if key not in SETTINGS}}
    if not settings["data"]:
        raise DataError(f"{path}: the run {name!r} has no data: name a prepared folder")
    for key in ("splits", "bits", "lenpen"):
        settings[key] = tuple(settings[key]) if isinstance(settings[key], list) else (settings[key],)
    if settings["bits"] and not flags.get("dense"):
        raise DataError(f"{path}: the run {name!r} has bits, but is not dense: tickets hold about one a weight anyway")
    for seed in settings.pop("seeds"):
        yield Run(study=path.stem, name=name, seed=seed, flags=flags, **settings)


def make(run: Run, threads: int) -> str:
    """Train, score and keep a run, or go on with it; says in a line what came of it."""
    asked = shlex.join(run.command())
    if run.result.is_file():
        kept = json.loads(run.result.read_text())
        if kept["command"] != asked:
            raise DataError(f"{run.result} is of other flags than the study's: remove it, or name the run anew")
        return "kept"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    said = _train(run, environment)
    if said is not None:
        if DIVERGED not in said:
            raise DataError(f"{run.slug}: training failed: {said} (the whole log: {run.folder / 'output.log'})")
        keep(run.result, {"command": asked, "diverged": said})
        return "diverged"
    checkpoint, _ = find_checkpoint(ROOT / run.folder, run.last)
    scores = _scores(run, checkpoint, environment)
    result = {**result_of(ROOT / run.folder, asked, scores), "threads": threads}
    result["size"] = size_of(checkpoint, ROOT / run.data, run.is_dense)
    for bits in run.bits:
        small = checkpoint.with_name(f"int{bits}.pt")
        bytes_ = quantize(checkpoint, bits, small)
        size_ = {"weights": result["size"]["weights"], "bytes": bytes_}
        result[f"int{bits}"] = {**_scores(run, small, environment), "size": size_}
    keep(run.result, result)
    for file in (ROOT / run.folder).glob("*.pt"):
        if file != checkpoint:
            file.unlink()
    bleu = ", ".join(f"{split} BLEU {scores[split]['bleu']['score']:.2f}" for split in run.splits)
    return f"valid perplexity {min(value for _, value in result['curve']['valid']):.2f}, {bleu}"


def _train(run: Run, environment: Mapping[str, str]) -> Optional[str]:
    """The last line that was said where it failed."""
    folder = ROOT / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, "-m", "fairseq_cli.train", *run.command()[1:]]
    arguments += [] if torch.cuda.is_available() else ["--cpu", "--cpu-bf16"]
    arguments += ["--log-format", "json", "--log-interval", "50", "--log-file", str(run.folder / "train.log")]
    with open(folder / "output.log", "a+", encoding="utf-8", errors="replace") as log:
        where = log.seek(0, os.SEEK_END)
        done = subprocess.run(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
        log.seek(where)
        said = (log.read().strip().splitlines() or ["no message"])[-1]
    return said if done.returncode else None


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
    arguments = [sys.executable, "scripts/score.py", str(path), "--data", run.data, "--split", split, "--out", str(out)]
    arguments += ["--beam", str(run.beam), "--lenpen", f"{lenpen:g}"]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"{run.slug}: scoring failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    score: dict[str, Any] = json.loads(out.read_text())
    return score


def size_of(checkpoint: Path, data: Path, dense: bool) -> dict[str, int]:
    """Bytes without dictionaries and tokenizer: of the ticket as stored, or of a dense model in float32."""
    if dense:
        bytes_ = size(load(checkpoint)["model"], 32)
        return {"weights": bytes_ // 4, "bytes": bytes_}
    measured = sizes(from_checkpoint(checkpoint, data))
    return {"weights": measured.dense // 4, "bytes": measured.without_assets}


def main() -> None:
    parser = cli.Parser(prog="sweep.py", description=__doc__)
    parser.add_argument("study", type=Path, help="a TOML file")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="of the study, or a seed of one, NAME-sSEED (all)")
    parser.add_argument("--jobs", type=count, default=1, metavar="N", help="how many to train at a time (1)")
    parser.add_argument("--list", action="store_true", help="print the commands, and train nothing")
    args = parser.parse_args()
    runs = read_study(args.study)
    if args.runs:
        runs = chosen(runs, args.runs)
    if args.list:
        print("\n".join(shlex.join(run.command()) for run in runs))
        return
    for run in runs:
        if not (ROOT / run.data).is_dir():
            raise DataError(f"{run.data} is missing: prepare it with data_prep/")
    if shutil.disk_usage(ROOT).free < 2 << 30:
        raise DataError(f"{ROOT}: less than 2 GiB free, and every run keeps a checkpoint")
    failed = list(_make_all(runs, args.jobs))
    if failed:
        raise DataError(f"{len(failed)} of {len(runs)} runs failed: {failed[0]}")


def _make_all(runs: list[Run], jobs: int) -> Iterator[DataError]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // jobs)
    pool = ThreadPoolExecutor(jobs)
    waiting = [(run, pool.submit(make, run, threads)) for run in runs]
    try:
        for run, made in waiting:
            try:
                print(f"{run.slug}: {made.result()}", flush=True)
            except DataError as error:
                print(f"{run.slug}: {error}", file=sys.stderr, flush=True)
                yield error
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    cli.run(main)
