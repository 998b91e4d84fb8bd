"""fairseq's commands called in this process, on a model small enough to be trained in a test."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import preprocess
from fairseq_cli import train as fairseq_train

from data_prep.lib import pipeline
from one_layer_lt.text.subwords import Subword
from tests.support import composing

composing.install()
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]
PLUGIN = Path(__file__).parents[2] / "fairseq_plugins"
SIZE = ["--encoder-embed-dim", "16", "--decoder-embed-dim", "16"]
SIZE += ["--encoder-ffn-embed-dim", "32", "--decoder-ffn-embed-dim", "32"]
SIZE += ["--encoder-layers", "2", "--decoder-layers", "2"]
SIZE += ["--encoder-attention-heads", "2", "--decoder-attention-heads", "2"]
RECIPE = ["--cpu", "--optimizer", "adam", "--lr", "5e-3", "--dropout", "0", "--max-tokens", "120", "--seed", "3"]
RECIPE += ["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--num-workers", "0"]
RECIPE += ["--log-format", "none", "--required-batch-size-multiple", "1"]
# Without it fairseq composes its batches once, by the epoch it started in: resuming would see others.
RECIPE += ["--update-epoch-batch-itr", "True"]


def train_arguments(corpus: Path, save_dir: Path, *flags: str, updates: int = 4) -> list[str]:
    """The arguments of fairseq-train for a short training."""
    arguments = [str(corpus), "--user-dir", str(PLUGIN), "--arch", "one_layer_masked_tiny", *SIZE, *RECIPE]
    return [*arguments, "--save-dir", str(save_dir), "--max-update", str(updates), *flags]


def train(corpus: Path, save_dir: Path, *flags: str, updates: int = 4) -> Path:
    """Run fairseq-train; returns the last checkpoint."""
    arguments = train_arguments(corpus, save_dir, *flags, updates=updates)
    args = options.parse_args_and_arch(options.get_training_parser(), arguments)
    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # fairseq remembers the last training's
    fairseq_train.main(convert_namespace_to_omegaconf(args))
    return save_dir / "checkpoint_last.pt"


def load_state(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's contents, safely loaded."""
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    return state


def load_model(checkpoint: Path) -> torch.nn.Module:
    """The model as fairseq-generate loads it, in evaluation mode."""
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)])
    model: torch.nn.Module = models[0].eval()
    return model


def build(corpus: Path, *flags: str) -> torch.nn.Module:
    """A freshly built model and nothing trained."""
    arguments = train_arguments(corpus, corpus, *flags)
    args = options.parse_args_and_arch(options.get_training_parser(), arguments)
    model: torch.nn.Module = tasks.setup_task(args).build_model(args)
    return model


def batch() -> dict[str, torch.Tensor]:
    """A batch of two sentences in the tiny corpus's vocabulary, the first padded on the left."""
    source = torch.tensor([[1, 5, 6, 7, 2], [8, 9, 10, 11, 2]])
    return {
        "src_tokens": source,
        "src_lengths": torch.tensor([4, 5]),
        "prev_output_tokens": torch.tensor([[2, 12, 13, 14], [2, 15, 16, 17]]),
    }


# Checked and saved at the end of the training, and not at the end of each of its many epochs.
ONCE = ["--no-epoch-checkpoints", "--save-interval", "1000", "--validate-interval", "1000"]
TICKET_RECIPE = [*ONCE, "--disable-validation", "--warmup-updates", "1"]


def binarised(encoded: Path, source: str, target: str, out: Path, joined_dictionary: bool) -> None:
    """fairseq-preprocess in this process."""
    arguments = ["--source-lang", source, "--target-lang", target, "--destdir", str(out)]
    arguments += ["--joined-dictionary"] if joined_dictionary else []
    for split in ("train", "valid", "test"):
        arguments += [f"--{split}pref", str(encoded / split)]
    preprocess.main(options.get_preprocessing_parser().parse_args(arguments))


def prepared(folder: Path, subword: Subword, languages: tuple[str, str] = ("xx", "yy"), joined: bool = True) -> Path:
    """A data folder with its subword model: words, to be written in upper case and in reverse order."""
    chance = random.Random(2)
    raw = {}
    for split, pairs in (("train", 80), ("valid", 4), ("test", 12)):
        lines = [chance.choices(WORDS, k=chance.randint(2, 5)) for _ in range(pairs)]
        raw[split] = folder / f"{split}.source", folder / f"{split}.target"
        raw[split][0].write_text("".join(" ".join(line).capitalize() + ".\n" for line in lines))
        raw[split][1].write_text("".join(" ".join(line[::-1]).upper() + "!\n" for line in lines))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "binarize", binarised)
        pipeline.prepare(
            corpus="toy",
            source=languages[0],
            target=languages[1],
            raw=raw,
            out=folder / "data",
            subword=subword,
            joined_dictionary=joined,
        )
    return folder / "data"
