"""Run fairseq-train, and show how far it is.

    one-layer-lt train data-bin/multi30k.de-en --arch one_layer_masked_small ... --save-dir runs/m30k

All arguments go to fairseq-train as they are. These are added where they are not given: --user-dir, --log-interval 20,
and --cpu where there is no GPU, with --cpu-bf16 for this project's models where the processor is made for it. What
fairseq says goes to train.log in the --save-dir, which `one-layer-lt report` reads. In its place a bar shows the epoch,
perplexities, BLEU where it is evaluated, updates a second, and the time left for the whole run.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

import torch

from one_layer_lt import process
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.progress import progress
from one_layer_lt.report.curves import history, sparkline

from ..generate import PLUGIN
from ..one_layer_masked import NAME
from ..options import cpu_flags

LOG = "train.log"


def train(arguments: Sequence[str], bar: progress, before: int = 0, worth: int = 1) -> Path:
    """Run fairseq-train to its end; its log. Raises ``CommandFailed``.

    bar: is at ``before`` when the training begins; an update is ``worth`` so much of it.
    """
    asked = _asked(arguments)
    log = Path(asked.save_dir, LOG)
    log.parent.mkdir(parents=True, exist_ok=True)
    process.run(_command(arguments, asked), log=log, each=_shown(bar, before, worth, asked), name="fairseq-train")
    return log


def summary(log: Path) -> str:
    """The curves of a training, for people."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        curves = {part: [value for _, value in points] for part, points in history(lines).items()}
    said = [
        f"{part} perplexity {sparkline(values)} {values[0]:g} to {values[-1]:g}, lowest {min(values):g}"
        for part, values in curves.items()
        if values
    ]
    return "\n".join([*said, f"{log.parent}: trained; the log is {log.name} there"])


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of fairseq-train that matter here."""
    parser = Parser(prog="one-layer-lt train", add_help=False)
    for name in ("--user-dir", "--log-interval", "--log-format"):
        parser.add_argument(name)
    parser.add_argument("--arch", default="")
    parser.add_argument("--save-dir", default="checkpoints")
    for name in ("--max-update", "--max-epoch"):
        parser.add_argument(name, type=float, default=0)
    for name in ("--cpu", "--cpu-bf16"):
        parser.add_argument(name, action="store_true")
    asked, _ = parser.parse_known_args(arguments)
    if asked.log_format is not None:
        raise UserError("--log-format: this command sets it; leave it out")
    return asked


def _command(arguments: Sequence[str], asked: argparse.Namespace) -> list[str]:
    added = [] if asked.user_dir else ["--user-dir", str(PLUGIN)]
    added += [] if asked.log_interval else ["--log-interval", "20"]
    flags = [] if torch.cuda.is_available() else cpu_flags() if asked.arch.startswith(NAME) else ["--cpu"]
    given = {"--cpu": asked.cpu, "--cpu-bf16": asked.cpu_bf16}
    added += [flag for flag in flags if not given[flag]]
    return ["fairseq-train", *arguments, *added, "--log-format", "json"]


def _shown(bar: progress, before: int, worth: int, asked: argparse.Namespace) -> Callable[[str], None]:
    """What shows each line of fairseq-train's log by a bar."""
    notes: dict[str, str] = {}

    def each(line: str) -> None:
        if match := re.search(r'\| (\w+) \| (\{"epoch": .*\})$', line.strip()):
            state = json.loads(match[2])
            if match[1] == "train_inner":
                _total(bar, state, asked)
                done = before + worth * int(state["num_updates"])
                if "epoch" in notes:
                    bar.update(done - bar.n)
                else:  # a training that goes on: what was done before tells nothing of its speed
                    bar.start(done)
                notes.update(epoch=state["epoch"], perplexity=state["ppl"])
                notes["updates a second"] = state.get("ups", "")
            elif f"{match[1]}_ppl" in state and match[1] != "train":
                notes[f"{match[1]} perplexity"] = state[f"{match[1]}_ppl"]
                notes.update({"BLEU": state[f"{match[1]}_bleu"]} if f"{match[1]}_bleu" in state else {})
            bar.note = ", ".join(f"{name} {value}" for name, value in notes.items())
        bar.update(0)

    return each


def _total(bar: progress, state: Any, asked: argparse.Namespace) -> None:
    """Tell the bar how many updates there are in all, once an epoch's are known."""
    if bar.total is None and (epochs := float(state["update"])):
        totals = [asked.max_update, asked.max_epoch * int(state["num_updates"]) / epochs]
        bar.total = round(min(filter(None, totals), default=0)) or None


def add_arguments(parser: Parser) -> None:
    parser.passes = "ARGS"


def run(args: argparse.Namespace) -> None:
    if not args.passed:
        raise UserError("give fairseq-train's arguments, the data folder first")
    asked = _asked(args.passed)
    total = None if asked.max_epoch else round(asked.max_update) or None  # of epochs the first line tells
    with progress(asked.save_dir, total, "updates") as bar:
        log = train(args.passed, bar)
    print(summary(log))
