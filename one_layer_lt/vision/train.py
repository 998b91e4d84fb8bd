"""Train a network for images by masks alone, or densely; resumes where it was stopped.

one-layer-lt vision train --recipe mnist-conv2 --root ../data/mnist
torchrun --nproc-per-node 2 -m one_layer_lt.vision train --recipe cifar10-conv4 --root FOLDER
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from ..convert import mask_, set_update_
from ..errors import UserError
from ..files import write_state, write_whole
from ..finite import DIVERGED, spoilt
from ..lock import locked
from ..parametrization import cached_weights
from ..precision import bf16_or_warn
from ..projection import project_
from .belonging import KEY, check_same, for_model, images_of, record_in
from .data import DataSet, Split, augment
from .models import build
from .recipes import Recipe

logger = logging.getLogger(__name__)

CHECKPOINT, METRICS, RECIPE = "checkpoint.pt", "metrics.jsonl", "recipe.json"
_TEST_BATCH = 500


@dataclass(frozen=True)
class World:
    """The processes that train together. rank: this one's, from 0."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> World:
        """The world that torchrun started, by NCCL on GPUs and by gloo on CPU; else this process alone."""
        size = os.environ.get("WORLD_SIZE", "1")
        if int(size) < 2:
            return cls()
        if os.environ.get("LOCAL_WORLD_SIZE") == size and sys.platform == "linux":
            # Otherwise gloo takes the address that the host's name resolves to, which may be out of reach.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    def leave(self) -> None:
        """Part from the others."""
        if self.size > 1:
            distributed.destroy_process_group()

    def mean_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(part.view(tensor.shape))


def new_model(recipe: Recipe, data: DataSet) -> nn.Module:
    """The network of a recipe for a data set, converted unless dense; a function of the seed."""
    torch.manual_seed(recipe.seed)
    model = build(
        recipe.model,
        shape=data.train.shape,
        classes=len(data.classes),
        width=recipe.width,
        affine=recipe.affine,
        binary=recipe.binary,
    )
    if not recipe.dense:
        mask_(model, recipe.mask_config(), trainable=_affine(model))
        if recipe.scores_from:
            _imitate_(model, Path(recipe.scores_from), data)
    return model


def _imitate_(model: nn.Module, run: Path, data: DataSet) -> None:
    state = _load(run / CHECKPOINT)
    if not state["recipe"].get("dense"):
        raise ValueError(f"scores_from {run}: not a dense run")
    for_model(data, record_in(state, str(run)), f"scores_from {run}")
    try:
        found = project_(model, state["model"])
    except ValueError as error:
        raise ValueError(f"scores_from {run}: not a run of this network: {error}") from None
    logger.info("masks imitate %s: mean cosine %.3f", run, sum(each.cosine for each in found.values()) / len(found))


def _affine(model: nn.Module) -> list[str]:
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    names = {name for name, _ in model.named_parameters()}
    return [f"{norm}.{part}" for norm in norms for part in ("weight", "bias") if f"{norm}.{part}" in names]


class Trainer:
    """One training: model, optimiser, schedule and where it stands. ``device``: of the model; data comes to it."""

    def __init__(self, recipe: Recipe, data: DataSet, world: World, device: torch.device) -> None:
        self.recipe, self.data, self.world, self.device = recipe, data, world, device
        self.images = images_of(data)  # before files that cannot be decoded are found and left out
        if recipe.batch % (world.size * recipe.accumulate):
            raise ValueError(f"batch {recipe.batch} does not divide among {world.size} processes x {recipe.accumulate}")
        self.model = new_model(recipe, data).to(device)
        if recipe.channels_last and recipe.dense:  # masks are found in rows as they stand
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = _optimizer(recipe, self.trained)
        self.bf16 = recipe.bf16 and (device.type != "cpu" or bf16_or_warn("--bf16"))
        self.steps = math.ceil(len(data.train) / recipe.batch)  # an epoch
        self.epoch = 0
        self.mean = torch.tensor(data.mean, device=device).view(-1, 1, 1) * 255
        self.std = torch.tensor(data.std, device=device).view(-1, 1, 1) * 255

    def train_epoch(self, done: Callable[[int, float], None]) -> float:
        """One pass over the training images; the mean loss. done: told of each update and its loss."""
        self.model.train()
        shuffled = torch.Generator().manual_seed(_seed(self.recipe.seed, self.epoch, 0))
        moved = torch.Generator().manual_seed(_seed(self.recipe.seed, self.epoch, 1 + self.world.rank))
        total = 0.0
        for step, (images, labels) in enumerate(self.data.train.batches(self.recipe.batch, generator=shuffled)):
            update = self.epoch * self.steps + step
            mine = slice(self.world.rank, None, self.world.size)
            images = augment(images[mine], flip=self.recipe.flip, padding=self.recipe.padding, generator=moved)
            loss = self._update(update, images, labels[mine], len(labels))
            if not math.isfinite(loss):
                raise UserError(self._lost(f"the loss of update {update} is {loss}"))
            total += loss
            done(step, loss)
        self.check_finite()
        self.epoch += 1
        self.world.mean_(
            [b for name, b in self.model.named_buffers() if name.endswith(("running_mean", "running_var"))]
        )
        mean = torch.tensor(total / self.steps, device=self.device)
        self.world.mean_([mean])
        return float(mean)

    def check_finite(self) -> None:
        """Raises ``UserError``, which names the tensor, where one of the model is not finite."""
        if spoilt(self.model):
            raise UserError(self._lost("training cannot go on"))

    def _lost(self, what: str) -> str:
        name = spoilt(self.model)
        why = f", and {name} is not finite" if name else ""
        return f"{what}{why}, in epoch {self.epoch + 1}: {DIVERGED} than {self.recipe.lr:g}; the last epoch is kept"

    def _update(self, update: int, images: Tensor, labels: Tensor, count: int) -> float:
        # Of rules that sample: alike in all processes, and resumed.
        torch.manual_seed(_seed(self.recipe.seed, update, 0))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(update)
        set_update_(self.model, update)
        total = 0.0
        for part, labelled in zip(images.chunk(self.recipe.accumulate), labels.chunk(self.recipe.accumulate)):
            with self._precision(), cached_weights():
                logits = self.model(self.normal(part))
            loss = functional.cross_entropy(
                logits.float(), labelled.to(self.device), label_smoothing=self.recipe.smoothing, reduction="sum"
            )
            (loss * self.world.size / count).backward()
            total += float(loss.detach())
        self.world.mean_([parameter.grad for parameter in self.trained if parameter.grad is not None])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total * self.world.size / count

    def rate(self, update: int) -> float:
        """The learning rate: up along a line, then down along a cosine to 0."""
        warmup, last = self.recipe.warmup * self.steps, self.recipe.epochs * self.steps
        if update < warmup:
            return self.recipe.lr * (update + 1) / warmup
        return self.recipe.lr * (1 + math.cos(math.pi * (update - warmup) / max(1, last - warmup))) / 2

    def normal(self, images: Tensor) -> Tensor:
        """Images (uint8) on the device, of mean 0 and variance 1 over the training set."""
        x = (images.to(self.device).float() - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last) if self.recipe.channels_last else x

    def accuracy(self, split: Split) -> float:
        """The fraction of a split that is classified rightly."""
        return sum(int((logits.argmax(1) == labels).sum()) for logits, labels in self._predicted(split)) / len(split)

    def measured(self, split: Split) -> tuple[float, float]:
        """The accuracy on a split, and the mean cross-entropy in nats."""
        right, nats = 0, 0.0
        for logits, labels in self._predicted(split):
            right += int((logits.argmax(1) == labels).sum())
            nats += float(functional.cross_entropy(logits, labels, reduction="sum"))
        return right / len(split), nats / len(split)

    def _predicted(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits, float32, and labels of each batch."""
        self.model.eval()
        for images, labels in split.batches(_TEST_BATCH, generator=None):
            with torch.no_grad(), self._precision():
                logits = self.model(self.normal(images)).float()
            yield logits, labels.to(self.device)

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def state(self) -> dict[str, Any]:
        """All it takes to go on: plain types and tensors."""
        return {
            "recipe": asdict(self.recipe),
            "epoch": self.epoch,
            KEY: self.images,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


def train(
    recipe: Recipe,
    data: DataSet,
    run: Path,
    world: Optional[World] = None,
    progress: Optional[Callable[[Trainer], Callable[[int, float], None]]] = None,
) -> dict[str, Any]:
    """Train to the end, from the last epoch that ``run`` holds; returns the last line of its metrics.

    The folder gets checkpoint.pt, metrics.jsonl (a line an epoch), recipe.json and TensorBoard's events. Raises
    ``ValueError`` where it holds a training of another recipe or of other images, and ``UserError`` where the loss or a
    tensor of the model is no longer finite.
    """
    world = world or World()
    device = torch.device("cuda", world.rank % torch.cuda.device_count()) if torch.cuda.is_available() else _CPU
    trainer = Trainer(recipe, data, world, device)
    taken = f"{run}: another training is at it: wait, stop that one, or name another folder by --out"
    with locked(run, taken) if world.rank == 0 else nullcontext():
        return _train(trainer, run, progress)


def _train(
    trainer: Trainer, run: Path, progress: Optional[Callable[[Trainer], Callable[[int, float], None]]]
) -> dict[str, Any]:
    recipe, data, world = trainer.recipe, trainer.data, trainer.world
    metrics = _resume(trainer, run)
    if world.rank == 0:
        write_whole(run / RECIPE, json.dumps(asdict(recipe), indent=1) + "\n")
    board = _board(run) if world.rank == 0 else None
    while trainer.epoch < recipe.epochs:
        started = time.perf_counter()
        loss = trainer.train_epoch(progress(trainer) if progress else lambda step, loss: None)
        seconds = time.perf_counter() - started
        if world.rank == 0:
            line = {"epoch": trainer.epoch, "loss": loss, "accuracy": trainer.accuracy(data.test), "seconds": seconds}
            metrics.append(line)
            logger.info("epoch %d: loss %.4f, test accuracy %.2f%%", line["epoch"], loss, 100 * line["accuracy"])
            if board is not None:
                for name in ("loss", "accuracy"):
                    board.add_scalar(name, line[name], trainer.epoch)
            write_whole(run / METRICS, "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in metrics))
            write_state(
                run / CHECKPOINT, {**trainer.state(), "metrics": metrics}
            )  # last: what is in it is not made again
        if world.size > 1:
            distributed.barrier()
    if board is not None:
        board.close()
    return metrics[-1] if metrics else {}


def load_run(run: Path, data: DataSet) -> Trainer:
    """The trained model of a run. Raises ``ValueError`` or ``OSError`` where there is none that fits.

    data: what it is evaluated on; it sees images normed as those it was trained on (``Trainer.data``).
    """
    state = _load(run / CHECKPOINT)
    data = for_model(data, record_in(state, str(run)), str(run))
    recipe = replace(Recipe(**state["recipe"]), scores_from=None)  # its scores are there already
    trainer = Trainer(recipe, data, World(), _CPU)
    trainer.load(state)
    return trainer


_CPU = torch.device("cpu")


def _resume(trainer: Trainer, run: Path) -> list[dict[str, Any]]:
    path = run / CHECKPOINT
    if not path.is_file():
        return []
    state = _load(path)
    now = asdict(trainer.recipe)
    for name in sorted({*now, *state["recipe"]}):
        if now.get(name) != state["recipe"].get(name):
            was = state["recipe"].get(name)
            raise ValueError(
                f"{run} holds a training with {name} {was!r}, not {now.get(name)!r}: name another folder by --out"
            )
    check_same(record_in(state, str(run)), trainer.images, str(run))
    trainer.load(state)
    metrics: list[dict[str, Any]] = state["metrics"]
    return metrics


def _load(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        if not {"recipe", "epoch", "model", "optimizer", "metrics"} <= set(state):
            raise ValueError("it lacks parts")
    except OSError:
        raise
    except Exception as error:  # torch and pickle raise what they happen to meet
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path} is no checkpoint of a vision training: {reason}") from None
    return state


def _board(run: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run))


def _optimizer(recipe: Recipe, trained: list[nn.Parameter]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(trained, lr=recipe.lr, weight_decay=recipe.decay)
    return torch.optim.SGD(trained, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.decay)


def _seed(*parts: int) -> int:
    """One seed of several numbers."""
    seed = 0
    for part in parts:
        seed = (seed * 1_000_003 + part + 1) % (1 << 62)
    return seed


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The metrics of a run, epoch by epoch."""
    for line in path.read_text().splitlines():
        yield json.loads(line)
