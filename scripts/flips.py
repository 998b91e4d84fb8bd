"""Watch the search for masks: how many bits flip, how many flip back, and what the flips are worth.

    python scripts/flips.py docs/results/flips/reference.json -- data-bin/multi30k.de-en --arch one_layer_masked ...

What follows `--` are fairseq-train's arguments. The training is not saved: only the JSON is written. Every tenth update
is watched. The JSON says for each of them

    flips, moved       by kind of tensor: the fraction of bits that the update flips, and the fraction that differs from
                       ten updates before (fewer than ten times as many, because bits flip back)
    loss, gain         nats a token on the batch of the update: before it, and how much the update lowers it
    held_loss, held_gain   the same on a batch of the validation set
"""

from __future__ import annotations

import logging
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import options, tasks, utils
from fairseq.data import iterators
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from torch import Tensor, nn

from fairseq_plugins.options import cpu_flags
from one_layer_lt import masked_modules, parametrization_of, scores_of, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json
from one_layer_lt.origin import commit, machine
from scripts.results import ROOT

EVERY = 10


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """Of every masked tensor, tied ones once: its mask, bool."""
    found: dict[nn.Parameter, tuple[str, Tensor]] = {}
    with torch.no_grad():
        for name, module in masked_modules(model):
            scores = scores_of(module)
            if scores not in found:
                found[scores] = name, parametrization_of(module).mask(scores) != 0
    return dict(found.values())


def flipped(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, float]:
    """The fraction of bits that differ, by kind of tensor (``all``: of all)."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, mask in before.items():
        for kind in (name.rpartition(".")[2], "all"):
            counts[kind][0] += int((mask != after[name]).sum())
            counts[kind][1] += mask.numel()
    return {kind: differ / of for kind, (differ, of) in counts.items()}


class Watch:
    """A fairseq training that is watched.

    Raises ``SystemExit`` for arguments that fairseq refuses, ``UserError`` where there is nothing to watch.
    """

    def __init__(self, arguments: list[str]) -> None:
        arguments = [*arguments, "--user-dir", str(ROOT / "fairseq_plugins")]
        arguments += [] if torch.cuda.is_available() else cpu_flags()
        parser = options.get_training_parser()
        config = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, arguments))
        utils.import_user_module(config.common)
        torch.manual_seed(config.common.seed)
        self.task = tasks.setup_task(config.task)
        for split in ("train", "valid"):
            self.task.load_dataset(split)
        self.model = self.task.build_model(config.model)
        self.trainer = Trainer(config, self.task, self.model, self.task.build_criterion(config.criterion))
        self.updates = config.optimization.max_update
        if self.updates <= 0:
            raise UserError("--max-update N is missing: the training that is watched needs an end")
        if not masks_of(self.model):
            raise UserError(
                "nothing is masked, so that no bits can flip: leave --dense out, take --arch one_layer_masked"
            )
        batches = self.trainer.get_valid_iterator("valid").next_epoch_itr(shuffle=False)
        self.held = next(iter(batches))

    def losses(self, sample: dict[str, Any]) -> float:
        """Nats a token, without dropout, whatever the criterion adds."""
        sample = utils.move_to_cuda(sample) if self.trainer.cuda else sample
        self.model.eval()
        with torch.no_grad():
            output = self.model(**sample["net_input"])
            found = self.model.get_normalized_probs(output, log_probs=True).flatten(0, -2)
            target = self.model.get_targets(sample, output).flatten()
            pad = self.task.target_dictionary.pad()
            loss = F.nll_loss(found.float(), target, ignore_index=pad, reduction="sum")
        self.model.train()
        return float(loss) / int((target != pad).sum())

    def run(self) -> list[dict[str, Any]]:
        """Train to the end; what was seen, an entry for each update that was watched."""
        seen: list[dict[str, Any]] = []
        epochs = self.trainer.get_train_iterator(epoch=1)
        before, update = masks_of(self.model), 0
        with metrics.aggregate():
            while update < self.updates:
                epoch = epochs.next_epoch_itr(shuffle=True)
                self.trainer.begin_epoch(epochs.epoch)
                for samples in iterators.GroupedIterator(epoch, 1):
                    if update >= self.updates:
                        break
                    update += 1
                    if update % EVERY:
                        self.trainer.train_step(samples)
                        continue
                    start = masks_of(self.model)
                    was = self.losses(samples[0]), self.losses(self.held)
                    self.trainer.train_step(samples)
                    now, masks = (self.losses(samples[0]), self.losses(self.held)), masks_of(self.model)
                    seen.append(
                        {
                            "update": update,
                            "rate": self.trainer.get_lr(),
                            "flips": flipped(start, masks),
                            "moved": flipped(before, masks),
                            "loss": was[0],
                            "gain": was[0] - now[0],
                            "held_loss": was[1],
                            "held_gain": was[1] - now[1],
                        }
                    )
                    before = masks
        return seen


def main() -> None:
    parser = Parser(prog="flips.py", description=__doc__)
    parser.passes = "-- ARGS"
    parser.add_argument("out", type=Path, metavar="FILE", help="the JSON file to write")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    seen = Watch(args.passed).run()
    command = shlex.join(["python", "scripts/flips.py", str(args.out), "--", *args.passed])
    write_json(args.out, {"command": command, "commit": commit(), "machine": machine(), "every": EVERY, "seen": seen})


if __name__ == "__main__":
    terminal.run(main)
