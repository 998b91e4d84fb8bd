"""Translate a prepared test set with a checkpoint and score it with sacrebleu.

    one-layer-lt score runs/m30k --data data-bin/multi30k.de-en             # the folder's checkpoint_best.pt
    one-layer-lt score runs/m30k --data data-bin/multi30k.de-en --last 5    # its last five, averaged
    one-layer-lt score runs/m30k/checkpoint3.pt --data data-bin/multi30k.de-en --split valid --beam 1

Writes, beside the checkpoint, CHECKPOINT.SPLIT.json (BLEU and chrF on detokenised text with their signatures and 95%
intervals, tokenised BLEU where the data is tokenised, and all it takes to get them again) and CHECKPOINT.SPLIT.txt (the
translations). Compare two results with `one-layer-lt compare`.
The target language's code decides how BLEU finds words. For Chinese it takes sacrebleu's tokenizer `zh`, for Japanese
`ja-mecab` (pip install 'sacrebleu[ja]'), for Korean `ko-mecab` (pip install 'sacrebleu[ko]'), for others `13a`. Where
no spaces are between words, as in Thai, Lao, Khmer, Burmese and Tibetan, it compares characters, and says so.
What follows a lone `--` goes to fairseq-generate as it is: `-- --fp16`.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fairseq
import sacrebleu
import torch
from sacrebleu.metrics import BLEU

from one_layer_lt.cli.parser import Parser, add_data, add_out, add_search, count
from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256, write_json, write_whole
from one_layer_lt.origin import commit, machine, relative
from one_layer_lt.text import moses
from one_layer_lt.text.manifest import Manifest, read_split
from one_layer_lt.text.metrics import bleu_of, in_words, measure, measured

from ..checkpoints import load
from ..generate import command, translate
from .average import average, last_checkpoints

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
    manifest = Manifest.read(data)
    manifest.verify(data, f"*/{split}.*")
    settings, expected = manifest.settings, manifest.pairs[split]
    references = read_split(data / "raw", split, settings.target)
    if len(references) != expected:
        what = f"raw/{split}.{settings.target} has {len(references):,} lines, but {expected:,} are to be translated"
        raise UserError(f"{data}: {what}: delete it and prepare it again")
    bleu_of(settings)  # complains before the long work
    path, averaged = find_checkpoint(checkpoint, last)
    state = load(path)
    out = out or path.with_suffix(f".{split}.json")

    asked = [relative(checkpoint), *(["--last", str(last)] if last else [])]
    asked += ["--data", relative(data), "--split", split]
    asked += ["--beam", str(beam), "--lenpen", f"{lenpen:g}", "--max-tokens", str(max_tokens)]
    asked += ["--", *extra] if extra else []
    flags = ["--lenpen", str(lenpen), "--max-tokens", str(max_tokens)]
    flags += ["--post-process", POST_PROCESS[settings.tokenizer], *extra]
    started = time.perf_counter()
    hypotheses = translate(command(data, path, split, settings, beam, *flags), len(references))
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
        "data": relative(data),
        "split": split,
        "checkpoint": {
            "path": relative(path),
            "sha256": sha256(path),
            **progress_of(state),
            "averaged": [part.name for part in averaged],
        },
        "beam": beam,
        "lenpen": lenpen,
        "max_tokens": max_tokens,
        "seconds": round(seconds, 2),
        "command": shlex.join(["one-layer-lt", "score", *asked]),
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
    write_json(out, result, indent=2)
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


def add_arguments(parser: Parser) -> None:
    parser.passes = "[-- ARGS]"
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint, or a folder of them")
    add_data(parser)
    parser.add_argument("--split", choices=("test", "valid"), default="test", help="what to translate (test)")
    add_search(parser)
    parser.add_argument("--last", type=count, metavar="N", help="average the folder's last N numbered checkpoints")
    add_out(parser, "the JSON (beside the checkpoint)", required=False)


def run(args: argparse.Namespace) -> None:
    settings = vars(args)
    print(summary(score(extra=settings.pop("passed"), **settings)))
