"""What a run of the kind "fairseq" is made from, and what it gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fairseq_plugins.checkpoints import load
from fairseq_plugins.commands.score import find_checkpoint
from fairseq_plugins.options import cpu_flags
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import process
from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256
from one_layer_lt.text import metrics
from one_layer_lt.text.manifest import Manifest
from one_layer_lt.ticket.sizes import sizes
from scripts.quantize import quantize, size
from scripts.results import ROOT, trained
from scripts.study import Run

MEND = "prepare it with data_prep/"
LOGGED = ["--log-format", "json", "--log-interval", "50"]


def inputs(run: Run) -> dict[str, str]:
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


def outcome(run: Run, environment: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    """The curve, the scores, the seconds and the size of a run that is trained, and its checkpoint."""
    checkpoint, _ = find_checkpoint(ROOT / run.folder, run.last)
    if run.train_bits is None:
        model, size_ = checkpoint, size_of(checkpoint, ROOT / run.data, run.is_dense)
    else:
        model, size_ = _rounded(checkpoint, run.train_bits)
    result = {**trained(ROOT / run.folder / "train.log"), **_scores(run, model, environment), "size": size_}
    for bits in run.bits:
        model, size_ = _rounded(checkpoint, bits)
        result[f"int{bits}"] = {**_scores(run, model, environment), "size": size_}
    return result, checkpoint


def in_words(result: Mapping[str, Any]) -> str:
    """What it gave, in a line."""
    scores = (f"{split} {metrics.in_words(result[split]['bleu'])}" for split in result["settings"]["splits"])
    return ", ".join([f"valid perplexity {min(value for _, value in result['curve']['valid']):.2f}", *scores])


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
    command = ["one-layer-lt", "score", str(run.folder / checkpoint.name), "--out", str(out)]
    command += ["--data", run.data, "--split", split, "--beam", str(run.beam), "--lenpen", f"{lenpen:g}"]
    process.run(command, cwd=ROOT, env=environment, name=f"{run.slug}: scoring")
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
