"""Iterative magnitude pruning with rewinding: a ticket that was trained, to stand beside a hidden one.

    one-layer-lt prune --rounds 5 --rate 0.2 --rewind 100 -o runs/imp -- data-bin/multi30k.de-en \\
        --user-dir fairseq_plugins --arch one_layer_masked_small --update-epoch-batch-itr True ...

What follows the lone `--` goes to fairseq-train as it is. Round 0 trains the dense Transformer. Each of the ROUNDS
after it prunes the fraction RATE of the weights that are left, the smallest at the end of the round before, takes the
others back to what they were after update REWIND of round 0 (with optimizer, data and schedules), and trains them to
the end. Without --update-epoch-batch-itr True, they see other batches than round 0 did where REWIND is beyond the first
epoch.

    OUT/round0, round1, ...   checkpoints, for `one-layer-lt score` and fairseq's commands, and train.log, which has all
                              that fairseq-train says: here only a line a round is printed
    OUT/rewind.pt             the state after update REWIND
    OUT/rounds.json           of each round: fraction of the weights kept, best validation loss, updates

The same command again goes on where it stopped, and with more --rounds adds some. Other arguments are refused.

Sources: Frankle & Carbin 2018 (arXiv 1803.03635); Frankle et al. 2019 (arXiv 1903.01611, 1912.05671).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Optional

from fairseq.checkpoint_utils import load_model_ensemble_and_task
from torch import nn

from one_layer_lt import process
from one_layer_lt.cli.parser import Parser, add_out, count
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json, write_state
from one_layer_lt.lock import locked
from one_layer_lt.pruning import SCOPES, count_kept, prune_

from ..begun import check_begun
from ..checkpoints import load

# Given to fairseq-train here, or against its purpose: rounds are resumed, and rewound with their optimizer.
REFUSED = ["--save-dir", "--log-file", "--restore-file", "--dense", "--prunable"]
REFUSED += ["--no-save", "--no-last-checkpoints", "--no-save-optimizer-state"]
REFUSED += ["--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader"]
LAST, LOG = "checkpoint_last.pt", "train.log"
MASK = ".parametrizations.weight.0.mask"
# fairseq's command first: it sets up logging where nothing else has.
KEEPING = "import fairseq_cli.train; from fairseq_plugins.commands.prune import main_keeping; main_keeping()"


def prune(
    out: Path, arguments: Sequence[str], *, rounds: int, rate: float, rewind: int, scope: str = "global"
) -> Iterator[dict[str, Any]]:
    """Train round 0 and ``rounds`` pruned ones, or what is still to be done of them; yields how each ended.

    arguments: fairseq-train's. Raises ``UserError`` where a training fails, round 0 does not go beyond ``rewind``, or
    ``out`` was begun with other settings, arguments or data.
    """
    with locked(out, f"--out {out}: another `one-layer-lt prune` is at it: wait, or stop that one"):
        yield from _prune(out, arguments, rounds, rate, rewind, scope)


def _prune(
    out: Path, arguments: Sequence[str], rounds: int, rate: float, rewind: int, scope: str
) -> Iterator[dict[str, Any]]:
    check_begun(out / "prune.json", {"rate": rate, "rewind": rewind, "scope": scope}, arguments)
    kept_state = out / "rewind.pt"
    results: list[dict[str, Any]] = []
    for number in range(rounds + 1):
        folder = out / f"round{number}"
        done = folder / "round.json"
        if not done.is_file():
            if number:
                if (ended := results[0]["updates"]) <= rewind:
                    raise UserError(f"--rewind {rewind}: round 0 ended at update {ended}; it must go beyond")
                start_round(folder, out / f"round{number - 1}", kept_state, (1 - rate) ** number, scope)
            train_round(folder, arguments, None if number else (rewind, kept_state))
            write_json(done, {"round": number, **outcome(folder / LAST)})
        results.append(_read_json(done))
        write_json(out / "rounds.json", results)
        yield results[-1]


def start_round(folder: Path, previous: Path, kept_state: Path, keep: float, scope: str) -> None:
    """Put the checkpoint that fairseq-train resumes from into ``folder``, unless there is one already.

    It is the rewound state under masks that keep the fraction ``keep`` by the weights ``previous`` ended with.
    """
    if (folder / LAST).is_file():
        return
    try:
        pruned = prune_(_model(previous / LAST), keep, scope)
    except ValueError as error:  # weights that are not finite
        raise UserError(f"{previous / LAST}: {error}") from error
    put_masked(folder, load(kept_state), pruned)


def put_masked(folder: Path, state: dict[str, Any], pruned: nn.Module) -> None:
    """Put a state under the masks of a pruned model into ``folder``, for fairseq-train to resume from."""
    state["model"].update((name, mask) for name, mask in pruned.state_dict().items() if name.endswith(MASK))
    folder.mkdir(exist_ok=True)
    write_state(folder / LAST, state)


def train_round(folder: Path, arguments: Sequence[str], keeping: tuple[int, Path] | None) -> None:
    """Train, or go on training, in ``folder``.

    keeping: (update, file): keep the state after that update in the file.
    """
    folder.mkdir(exist_ok=True)
    fairseq_train([*arguments, "--dense", "--prunable", "--save-dir", str(folder)], keeping, folder / LOG)


def fairseq_train(arguments: Sequence[str], keeping: tuple[int, Path] | None, log: Path) -> None:
    """Run fairseq-train in a process of its own, whose output is added to ``log``."""
    command = ["fairseq-train"] if keeping is None else ["python", "-c", KEEPING, *map(str, keeping)]
    process.run([*command, *arguments], log=log, name=f"{log.parent.name}: fairseq-train")


def main_keeping() -> None:
    """fairseq-train, its arguments preceded by an update and the file to keep the state after it in."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed.utils import call_main

    update, path = sys.argv[1:3]
    sys.argv = ["fairseq-train", *sys.argv[3:]]
    args = options.parse_args_and_arch(options.get_training_parser())
    call_main(convert_namespace_to_omegaconf(args), train_keeping, update=int(update), path=path)


def train_keeping(cfg: Any, update: int, path: str) -> None:
    """fairseq's training, which also writes its state after ``update`` to ``path``.

    fairseq's own checkpoints by update would not do: it writes none where an epoch ends, and validates at each, which
    would let round 0 choose its best from more checkpoints than the others. fairseq starts a process for each GPU with
    this function, so the change to it is made here.
    """
    from fairseq_cli import train  # it sets up logging, which is not for the process of this script

    usual = train.validate_and_save

    def validate_and_save(cfg: Any, trainer: Any, task: Any, iterator: Any, *others: Any) -> Any:
        if trainer.get_num_updates() == update:
            # Without the best score so far: it is the dense model's, and rounds that never reach it have a best, too.
            extra = {"train_iterator": iterator.state_dict(), "val_loss": None}
            trainer.consolidate_optimizer()
            trainer.save_checkpoint(path, extra)  # written beside and renamed
        return usual(cfg, trainer, task, iterator, *others)

    train.validate_and_save = validate_and_save
    try:
        train.main(cfg)
    finally:
        train.validate_and_save = usual


def outcome(checkpoint: Path) -> dict[str, Any]:
    """How a round ended. ``best``: the validation score by which fairseq chose checkpoint_best.pt; None without one."""
    state = load(checkpoint)
    kept, weights = count_kept(_model(checkpoint))
    return {
        "keep": kept / weights,
        "kept": kept,
        "weights": weights,
        "metric": state["cfg"]["checkpoint"]["best_checkpoint_metric"],
        "best": state["extra_state"].get("best"),
        "updates": _updates(state),
    }


def summary(result: dict[str, Any], out: Path) -> str:
    """One line about a round of those in ``out``."""
    best = "" if result["best"] is None else f", best {result['metric']} {result['best']:.4f}"
    kept = f"{result['kept']:,} of {result['weights']:,} weights kept ({result['keep']:.2%})"
    log = out / f"round{result['round']}" / LOG
    return f"round {result['round']}: {kept}{best}, {result['updates']:,} updates; log: {log}"


def _model(checkpoint: Path) -> nn.Module:
    models, _, _ = load_model_ensemble_and_task([str(checkpoint)])
    model: nn.Module = models[0]
    return model


def _updates(state: dict[str, Any]) -> int:
    updates: int = state["optimizer_history"][-1]["num_updates"]
    return updates


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it") from error


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")
    return rate


def _interrupt(number: int, frame: Optional[FrameType]) -> None:
    """As Ctrl-C: the running fairseq-train ends, too."""
    raise KeyboardInterrupt


def add_arguments(parser: Parser) -> None:
    parser.passes, parser.renamed = "-- ARGS", {"--save-dir": "--out"}
    parser.add_argument("--rounds", type=count, required=True, metavar="N", help="how often to prune and train again")
    parser.add_argument("--rate", type=_rate, default=0.2, metavar="X", help="fraction pruned in each round (0.2)")
    parser.add_argument("--rewind", type=count, required=True, metavar="N", help="update to go back to, at least 1")
    parser.add_argument("--scope", choices=SCOPES, default="global", help="rank all weights, or each tensor's (global)")
    add_out(parser, "where all rounds are kept", "FOLDER")


def run(args: argparse.Namespace) -> None:
    settings = vars(args)
    passed = settings.pop("passed")
    if not passed:
        raise UserError("put fairseq-train's arguments after a lone --")
    for argument in passed:
        flag = argument.split("=")[0]
        if flag in REFUSED:
            raise UserError(f"{flag}: not for the fairseq-train of this command; leave it out")
    for asking in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(asking) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(asking, _interrupt)
    for result in prune(arguments=passed, **settings):
        print(summary(result, args.out), flush=True)
