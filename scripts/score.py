"""Translate a prepared test set with a checkpoint and score it with sacrebleu.

    python scripts/score.py checkpoints/run --data data-bin/multi30k.de-en             # the folder's checkpoint_best.pt
    python scripts/score.py checkpoints/run --data data-bin/multi30k.de-en --last 5    # its last five, averaged
    python scripts/score.py checkpoints/run/checkpoint3.pt --data data-bin/multi30k.de-en --split valid --beam 1

Writes, beside the checkpoint, CHECKPOINT.SPLIT.json (BLEU and chrF on detokenised text with their signatures and 95%
intervals, tokenised BLEU where the data is tokenised, and all it takes to get them again) and CHECKPOINT.SPLIT.txt (the
translations). Compare two results with scripts/compare.py.
What follows a lone `--` goes to fairseq-generate as it is: `-- --fp16`.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fairseq
import sacrebleu
import torch
from sacrebleu.metrics import BLEU

from data_prep.lib import cli
from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256, write_whole
from one_layer_lt.progress import progress
from one_layer_lt.text import moses
from one_layer_lt.text.lines import read_lines
from one_layer_lt.text.manifest import Manifest
from scripts.average import average, count, last_checkpoints, load
from scripts.metrics import in_words, measure, measured

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ("test", "valid")
POST_PROCESS = {"sentencepiece": "sentencepiece", "moses-bpe": "subword_nmt"}


def score(
    checkpoint: Path,
    data: Path,
    *,
    split: str = "test",
    beam: int = 5,
    lenpen: float = 1.0,
    last: int | None = None,
    max_tokens: int = 8000,
    out: Path | None = None,
    extra: Sequence[str] = (),
) -> dict[str, Any]:
    """Score a checkpoint, or a folder of them, on a prepared data folder; returns what it writes to `out`."""
    settings = Manifest.read(data).settings
    references = read_split(data / "raw", split, settings.target)
    path, averaged = find_checkpoint(checkpoint, last)
    state = load(path)
    out = out or path.with_suffix(f".{split}.json")

    asked = [_relative(checkpoint), *(["--last", str(last)] if last else [])]
    asked += ["--data", _relative(data), "--split", split]
    asked += ["--beam", str(beam), "--lenpen", f"{lenpen:g}", "--max-tokens", str(max_tokens)]
    asked += ["--", *extra] if extra else []
    command = [sys.executable, "-m", "fairseq_cli.generate", str(data), "--path", str(path)]
    command += ["--user-dir", str(ROOT / "fairseq_plugins"), "--gen-subset", split]
    command += ["--source-lang", settings.source, "--target-lang", settings.target]
    command += ["--beam", str(beam), "--lenpen", str(lenpen), "--max-tokens", str(max_tokens)]
    command += ["--post-process", POST_PROCESS[settings.tokenizer], "--no-progress-bar"]
    command += ["--required-batch-size-multiple", "1"]  # with 8, fairseq finds fewer than 8 sentences to be none
    command += extra
    started = time.perf_counter()
    hypotheses = translate(command, len(references))
    seconds = time.perf_counter() - started

    tokenised = None
    if settings.tokenizer == "moses-bpe":
        tokens = read_split(data / "tok", split, settings.target)
        tokenised = measured(BLEU(tokenize="none", force=True), hypotheses, tokens)
        hypotheses = moses.detokenise(hypotheses, settings.target)
    result = {
        **measure(hypotheses, references, settings),
        "tokenised_bleu": tokenised,
        "sentences": len(references),
        "corpus": settings.corpus,
        "data": _relative(data),
        "split": split,
        "checkpoint": {
            "path": _relative(path),
            "sha256": sha256(path),
            **progress_of(state),
            "averaged": [part.name for part in averaged],
        },
        "beam": beam,
        "lenpen": lenpen,
        "max_tokens": max_tokens,
        "seconds": round(seconds, 2),
        "command": shlex.join(["python", "scripts/score.py", *asked]),
        "commit": commit(),
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "fairseq": fairseq.__version__,
            "sacrebleu": sacrebleu.__version__,
        },
    }
    write_whole(out.with_suffix(".txt"), "".join(line + "\n" for line in hypotheses))
    write_whole(out, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def find_checkpoint(path: Path, last: int | None = None) -> tuple[Path, list[Path]]:
    """The checkpoint file to score, and those it is the mean of (made here when `last` asks for it)."""
    if path.is_dir():
        if last:
            parts = last_checkpoints(path, last)
            mean = path / f"checkpoint_average_{last}.pt"
            average(parts, mean)
            return mean, parts
        if (path / "checkpoint_best.pt").is_file():
            return path / "checkpoint_best.pt", []
        others = sorted(file.name for file in path.glob("*.pt"))
        mend = f"name one of {', '.join(others[:5])}, or use --last" if others else "it has no checkpoints at all"
        raise UserError(f"{path} has no checkpoint_best.pt: {mend}")
    if not path.is_file():
        raise UserError(f"no such checkpoint: {path}")
    if last:
        raise UserError(f"--last {last} needs a folder of checkpoints, and {path} is a file")
    return path, []


def progress_of(state: dict[str, Any]) -> dict[str, int | None]:
    """How far the training of a checkpoint had come."""
    history = state.get("optimizer_history") or [{}]
    iterator = (state.get("extra_state") or {}).get("train_iterator") or {}
    epoch = iterator.get("epoch")
    if epoch and iterator.get("iterations_in_epoch") == 0:
        epoch -= 1  # at the end of an epoch fairseq writes the next one's number
    return {"updates": history[-1].get("num_updates"), "epoch": epoch}


def translate(command: Sequence[str], count: int) -> list[str]:
    """Run fairseq-generate; the translations of its `count` sentences in their order, without subwords."""

    def shown(lines: Iterable[bytes]) -> Iterable[str]:
        with progress("translating", count, "sentences") as bar:
            for line in lines:
                bar.update(line.startswith(b"H-"))
                yield line.decode("utf-8")

    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as process:
            assert process.stdout is not None
            hypotheses = parse(shown(process.stdout))
        if process.returncode:
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise UserError(f"fairseq-generate failed: {said[-1]}")
    if set(hypotheses) != set(range(count)):
        raise UserError(f"fairseq-generate translated {len(hypotheses):,} sentences, but there are {count:,} to score")
    return [hypotheses[number] for number in range(count)]


def parse(lines: Iterable[str]) -> dict[int, str]:
    """Sentence number -> best hypothesis, from fairseq-generate's lines `H-number <tab> score <tab> text`."""
    hypotheses: dict[int, str] = {}
    for line in lines:
        if match := re.fullmatch(r"H-(\d+)\t\S+\t(.*)", line.rstrip("\n"), re.DOTALL):
            hypotheses.setdefault(int(match[1]), match[2])
    return hypotheses


def commit() -> dict[str, Any] | None:
    """The commit, and whether files have changed since (but for docs/, which scripts redraw); None outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs")
        return {"hash": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, Any]:
    """What the numbers of seconds were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def summary(result: dict[str, Any]) -> str:
    """A few lines for people."""
    bleu, chrf, tokenised = result["bleu"], result["chrf"], result["tokenised_bleu"]
    lines = [
        f"{result['checkpoint']['path']}: {result['sentences']:,} sentences of {result['corpus']} {result['split']}",
        f"{in_words(bleu)}  {bleu['signature']}",
        f"{in_words(chrf, 'chrF')}  {chrf['signature']}",
    ]
    if tokenised:
        lines.append(f"{in_words(tokenised, 'tokenised BLEU')}  {tokenised['signature']}")
    return "\n".join([*lines, f"exact match {result['exact_match']:.1%}, {result['seconds']:.1f} s"])


def read_split(folder: Path, split: str, language: str) -> list[str]:
    """One side of a split, from a data folder's `raw` or `tok`."""
    path = folder / f"{split}.{language}"
    if not path.is_file():
        raise UserError(f"{folder.parent} has no split {split!r} to score: {path} is missing")
    lines = list(read_lines(path))
    if not lines:
        raise UserError(f"{path} is empty")
    return lines


def _relative(path: Path) -> str:
    """The path within the repository, which means the same on another machine, even where runs/ links out of it."""
    for whole in (Path(os.path.abspath(path)), path.resolve()):
        if whole.is_relative_to(ROOT):
            return str(whole.relative_to(ROOT))
    return str(whole)


def main() -> None:
    arguments, extra = cli.split_passed()
    parser = cli.Parser(prog="score.py", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a folder of them")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="prepared data folder")
    parser.add_argument("--split", choices=SPLITS, default="test", help="what to translate (test)")
    parser.add_argument("--beam", type=count, default=5, metavar="N", help="width of the beam search (5)")
    parser.add_argument("--lenpen", type=float, default=1.0, metavar="X", help="above 1 favours long translations (1)")
    parser.add_argument("--last", type=count, metavar="N", help="average the folder's last N numbered checkpoints")
    parser.add_argument("--max-tokens", type=count, default=8000, metavar="N", help="source tokens in a batch (8000)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the JSON (beside the checkpoint)")
    args = parser.parse_args(arguments)
    print(summary(score(extra=extra, **vars(args))))


if __name__ == "__main__":
    cli.run(main)
