"""What a report shows of a run's folder, a ticket or a result: whichever of it there is.

All of it may be a stranger's: numbers that are none are left out, and ``notes`` name what cannot be read.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..text.lines import read_lines
from ..ticket import Ticket, load_ticket
from ..ticket.companions import companion
from ..ticket.sizes import sizes
from .curves import history

SPLITS = ("test", "valid")
CHECKPOINT, SCORES = "checkpoint_best.pt", ".parametrizations.weight.original"
Points = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Metric:
    """What sacrebleu says of a split. interval: the ends of the 95% one."""

    score: float
    interval: Sequence[float]
    brevity_penalty: float | None
    signature: str


@dataclass(frozen=True)
class Entry:
    """A run, a ticket or a result. kind: which.

    splits: what `one-layer-lt score` wrote of each. files: where that stands, its translations beside it.
    curve: by part, (update, value). bytes: of the ticket without its assets, or of the dense model in float32.
    scores: by the name of their masked module. notes: what is left out, and why.
    """

    path: Path
    kind: str
    name: str = ""
    splits: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    curve: Mapping[str, Points] = field(default_factory=dict)
    command: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    bytes: float | None = None
    ticket: Ticket | None = None
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def metric(self, split: str, name: str) -> Metric | None:
        """The metric ``bleu`` or ``chrf`` of a split, where it was measured."""
        found = at(self.splits, split, name)
        score, brevity = number(at(found, "score")), number(at(found, "brevity_penalty"))
        ends = _numbers(at(found, "ci95"))
        return None if score is None else Metric(score, ends[:2], brevity, str(at(found, "signature") or ""))


def at(value: Any, *keys: str) -> Any:
    """What stands under the keys of tables within tables, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def number(value: Any) -> float | None:
    """A finite number, else None."""
    plain = type(value) in (int, float) and abs(value) < 1e300
    return float(value) if plain and math.isfinite(value) else None


def _numbers(value: Any) -> list[float]:
    found = map(number, value if isinstance(value, list) else ())
    return [one for one in found if one is not None]


def gather(paths: Sequence[Path]) -> list[Entry]:
    """The entries of files and folders, each once, by names that tell them apart.

    Raises ``UserError`` where there is none of that name, or it is none of the three kinds.
    """
    entries = [_read(path) for path in dict.fromkeys(paths)]
    short = [re.sub(r"\.(json|ticket)$", "", Path(os.path.abspath(entry.path)).name) for entry in entries]
    names = [name if short.count(name) == 1 else str(entry.path) for name, entry in zip(short, entries)]
    return [replace(entry, name=name) for name, entry in zip(names, entries)]


def _read(path: Path) -> Entry:
    if path.is_dir():
        return _run(path)
    if not path.is_file():
        raise UserError(f"no such run, ticket or result: {path}")
    return _result(path) if path.suffix == ".json" else _ticket(path)


def _ticket(path: Path) -> Entry:
    try:
        ticket = load_ticket(path)
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    settings = {name: str(value) for name, value in ticket.architecture.items()}
    settings |= {f"mask {name}": str(value) for mask in ticket.masks[:1] for name, value in vars(mask.config).items()}
    return Entry(path, "ticket", settings=settings, bytes=sizes(ticket).without_assets, ticket=ticket)


def _result(path: Path) -> Entry:
    mend = "name a result of a study, or of `one-layer-lt score`"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}): {mend}") from error
    splits, files = {split: found for split in SPLITS if (found := at(result, split))}, {}
    if not splits and (split := at(result, "split")) in SPLITS:  # of `one-layer-lt score`
        splits, files = {split: result}, {split: path}
    curve = {part: points for part in ("train", *SPLITS) if (points := _points(at(result, "curve", part)))}
    diverged = at(result, "diverged")
    if not (splits or curve or diverged):
        raise UserError(f"{path} has neither scores nor a curve: {mend}")
    command, bytes_ = str(at(result, "command") or ""), number(at(result, "size", "bytes"))
    notes = [f"all scores, for its training diverged ({diverged})"] if diverged else []
    return Entry(path, "result", "", splits, files, curve, command, flags(command), bytes_, notes=notes)


def _run(folder: Path) -> Entry:
    scored, log, checkpoint = dict(_scored(folder)), folder / "train.log", folder / CHECKPOINT
    if not (scored or log.is_file() or checkpoint.is_file()):
        raise UserError(f"{folder} is no run: it has neither {CHECKPOINT} nor train.log nor what `score` wrote")
    curve: dict[str, Points] = {}
    notes: list[str] = []
    try:
        curve = {part: _points(of) for part, of in history(read_lines(log)).items()} if log.is_file() else {}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        notes.append(f"its curves, for {log} cannot be read ({error})")
    command = str(at(_json(folder / "begun.json"), "command") or "")
    splits = {split: score for split, (_, score) in scored.items()}
    files = {split: path for split, (path, _) in scored.items()}
    entry = Entry(folder, "run", "", splits, files, curve, command, flags(command))
    try:
        entry = replace(entry, **_checkpoint(checkpoint, entry.settings)) if checkpoint.is_file() else entry
    except (UserError, OSError) as error:
        notes.append(f"its masks and scores, for {error}")
    return replace(entry, notes=notes)


def _checkpoint(path: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an entry that its checkpoint gives. settings: those that are known without it."""
    state = companion("fairseq_plugins.checkpoints").load(path, mmap=True)
    model, options = state["model"], getattr(at(state, "cfg", "model"), "__dict__", {})
    settings = settings or {name: str(value) for name, value in options.items() if not name.startswith("_")}
    if not any(name.endswith(SCORES) for name in model):
        dense = {tensor.data_ptr(): tensor.numel() for tensor in model.values() if tensor.is_floating_point()}
        return {"settings": settings, "bytes": 4 * sum(size for size in dense.values() if size > 1)}
    ticket = companion("fairseq_plugins.ticket").from_checkpoint(path)
    places = [mask.name for mask in ticket.masks if mask.name + SCORES in model]
    scores = {place: model[place + SCORES].float() for place in places}
    return {"settings": settings, "bytes": sizes(ticket).without_assets, "ticket": ticket, "scores": scores}


def _scored(folder: Path) -> Iterator[tuple[str, tuple[Path, Any]]]:
    """Of each split a file and what it holds: the highest BLEU on valid, and test as searched in the same way."""
    read = [(path, score) for path in sorted(folder.glob("*.json")) if at(score := _json(path), "bleu")]
    valid = [pair for pair in read if at(pair[1], "split") == "valid"]
    best = max(valid, key=lambda pair: number(at(pair[1], "bleu", "score")) or 0.0, default=None)
    tests = [pair for pair in read if at(pair[1], "split") == "test"]
    alike = [pair for pair in tests if best and all(pair[1].get(of) == best[1].get(of) for of in ("lenpen", "beam"))]
    for pair in (alike or tests)[:1]:
        yield "test", pair
    if best:
        yield "valid", best


def flags(command: str) -> dict[str, str]:
    """The flags of a command and their values."""
    found: dict[str, str] = {}
    name = ""
    try:
        for word in shlex.split(command):
            if word.startswith("--"):
                found[name := word[2:]] = ""
            elif name:
                found[name] = f"{found[name]} {word}".strip()
    except ValueError:  # an open quote
        return {}
    return {name: value or "yes" for name, value in found.items() if name != "save-dir"}


def _points(value: Any) -> Points:
    """(update, value) pairs, of those that are numbers."""
    pairs = map(_numbers, value if isinstance(value, list) else ())
    return [pair for pair in pairs if len(pair) == 2]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
