"""Digests of the scores after a few updates of training, by every rule: whether two trees train alike, to the last bit.

    for tree in OLD NEW; do PYTHONPATH=$tree python tests/golden/scores.py > $(basename $tree).json; done
    diff OLD.json NEW.json    # rules that only one of them has are no difference in training

One process on one thread of a CPU, a toy corpus, seeds that are fixed; the recipe is that of the tree's own
tests/plugin/running.py. Floating-point sums come out otherwise on other processors: compare two trees on one machine,
and keep no digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import random
import sys
import tempfile
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for tests.*, and after the tree whose code trains

from fairseq import options
from fairseq_cli import preprocess

from one_layer_lt import RULES
from tests.plugin.running import WORDS, load_state, train

UPDATES = 20
FLAGS = ["--no-epoch-checkpoints", "--disable-validation", "--warmup-updates", "1", "--dropout", "0.1"]

# Name -> flags: every rule with its defaults, and schedules and layouts that act within so few updates.
TRAININGS: dict[str, list[str]] = {
    **{rule: ["--mask-rule", rule] for rule in RULES},
    "signed by threshold": ["--mask-rule", "signed", "--mask-options", "threshold=0.05"],
    "bernoulli by sample": [
        "--mask-rule",
        "bernoulli",
        "--mask-options",
        "evaluate=sample",
        "--mask-rescale",
        "tensor",
    ],
    "bernoulli rescaled": ["--mask-rule", "bernoulli", "--mask-rescale", "tensor"],
    "multicoat with coats": ["--mask-rule", "multicoat", "--mask-options", "coats=0.5/0.25/0.1"],
    "global ramp": ["--mask-options", "scope=global,ramp=10", "--keep", "0.3"],
    "global biprop": ["--mask-rule", "biprop", "--mask-options", "scope=global"],
    "quick annealed": ["--mask-rule", "annealed", "--mask-options", "over=15,schedule=cosine"],
    "quick continuous": ["--mask-rule", "continuous", "--mask-options", "over=15"],
    "quick gem_miner": ["--mask-rule", "gem_miner", "--mask-options", "period=3,over=15", "--keep", "0.2"],
    "quick iterand": ["--mask-rule", "iterand", "--mask-options", "period=3,fraction=0.5", "--keep", "0.2"],
    "frozen": ["--frozen-dropped", "0.2", "--frozen-locked", "0.1", "--mask-rescale", "row"],
    "heads": ["--share-heads", "--mask-rule", "topk", "--query-key-scale", "auto"],
    **{f"share {share}": ["--share", share] for share in ("none", "layer_mask", "stack", "vector")},
    "other draws": ["--random-init", "signed_constant", "--attention-init", "same", "--scale-fan"],
    "bfloat16": ["--cpu-bf16"],
    "dense": ["--dense"],
}


def corpus(folder: Path) -> Path:
    """A binarised corpus: words, to be written in upper case and in reverse order."""
    chance = random.Random(1)
    for split in ("train", "valid", "test"):
        lines = [chance.choices(WORDS, k=chance.randint(2, 6)) for _ in range(60)]
        (folder / f"{split}.xx").write_text("".join(" ".join(line) + "\n" for line in lines))
        (folder / f"{split}.yy").write_text("".join(" ".join(line[::-1]).upper() + "\n" for line in lines))
    arguments = ["--source-lang", "xx", "--target-lang", "yy", "--destdir", str(folder / "bin"), "--joined-dictionary"]
    for split in ("train", "valid", "test"):
        arguments += [f"--{split}pref", str(folder / split)]
    preprocess.main(options.get_preprocessing_parser().parse_args(arguments))
    return folder / "bin"


def digest(checkpoint: Path) -> str:
    """SHA-256 (hex) of all that the checkpoint has of the model, but for what it says of itself."""
    found = hashlib.sha256()
    for name, tensor in sorted(load_state(checkpoint)["model"].items()):
        if name.endswith(("trained_over", "_extra_state")):
            continue
        found.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def main() -> None:
    torch.set_num_threads(1)
    digests = {}
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
        data = corpus(Path(name))
        logging.disable(logging.INFO)
        for number, (training, flags) in enumerate(TRAININGS.items()):
            print(training)
            digests[training] = digest(train(data, Path(name) / str(number), *FLAGS, *flags, updates=UPDATES))
    print(json.dumps(digests, indent=1))


if __name__ == "__main__":
    main()
