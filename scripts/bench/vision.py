"""The vision path: a masked training step against a dense one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from one_layer_lt.vision.data import DataSet, Images
from one_layer_lt.vision.recipes import recipe_of
from one_layer_lt.vision.train import Trainer, World
from scripts.bench.timing import Row, interleaved

RECIPE, BATCH, CLASSES, ROUNDS = "cifar10-resnet18", 128, 10, 7


def rows() -> Iterator[Row]:
    """The figures."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Images(images, torch.arange(BATCH) % CLASSES)
    classes = tuple(str(number) for number in range(CLASSES))
    data = DataSet("random", classes, split, split, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    trainers = {
        name: Trainer(recipe_of(RECIPE, {"dense": name == "dense"}), data, World(), torch.device("cpu"))
        for name in ("masked", "dense")
    }
    # An epoch of such data is one update.
    steps = {name: partial(trainer.train_epoch, lambda step, loss: None) for name, trainer in trainers.items()}
    times = interleaved(steps, ROUNDS)
    detail = {"seconds": {name: round(taken, 3) for name, taken in times.items()}}
    name = f"training step, ResNet-18 on 32x32 images, batch {BATCH}, float32, masked / dense"
    yield Row(name, round(times["masked"] / times["dense"], 3), most=1.10, detail=detail)
