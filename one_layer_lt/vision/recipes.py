"""How a network for images is trained: the settings, and named presets of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..config import MaskConfig, check_choice, parse_options
from .models import MODELS

OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training. Raises ``ValueError`` for a value that cannot be.

    data: a data set. model, width, affine, binary: the network (``models.build``).
    rule, keep, options (``NAME=VALUE,...``), init, scale_fan, share, score_init, rescale, seed: of ``MaskConfig``.
    dense: train the weights instead, the baseline.
    scores_from: the folder of a dense run of the same network, which masks imitate to start from (``project_``).
    epochs, batch (images an update), accumulate (parts that a batch is computed in).
    optimizer, lr (its peak, then down along a cosine), warmup (epochs), momentum, decay (of weights or scores).
    smoothing: of labels. flip, padding: augmentation (mirrored at random; shifted by up to so many pixels).
    bf16: autocast. channels_last: memory format. size: of images that come in many sizes.
    """

    data: str = "digits"
    model: str = "lenet_300_100"
    width: float = 1.0
    affine: bool = False
    binary: bool = False
    dense: bool = False
    scores_from: Optional[str] = None
    rule: str = "edge_popup"
    keep: Optional[float] = None
    options: str = ""
    init: str = "signed_constant"
    scale_fan: bool = False
    share: str = "none"
    score_init: str = "standard"
    rescale: str = "none"
    seed: int = 1
    epochs: int = 30
    batch: int = 128
    accumulate: int = 1
    optimizer: str = "sgd"
    lr: float = 0.1
    warmup: float = 0.0
    momentum: float = 0.9
    decay: float = 0.0
    smoothing: float = 0.0
    flip: bool = False
    padding: int = 0
    bf16: bool = False
    channels_last: bool = False
    size: Optional[int] = None

    def __post_init__(self) -> None:
        check_choice("model", self.model, MODELS)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("epochs", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} must divide the batch of {self.batch}")
        for name in ("lr", "width"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be a positive number, not {getattr(self, name)}")
        for name in ("warmup", "decay", "padding"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        for name in ("momentum", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.dense and self.scores_from:
            raise ValueError(f"scores_from {self.scores_from}: goes with masks, not with dense")
        self.mask_config()

    def mask_config(self) -> MaskConfig:
        """The masks' settings."""
        return MaskConfig(
            seed=self.seed,
            keep=self.keep,
            rule=self.rule,
            init=self.init,
            scale_fan=self.scale_fan,
            share=self.share,
            score_init=self.score_init,
            options=parse_options(self.rule, self.options),
            rescale=self.rescale,
        )


_MNIST = Recipe(data="mnist", epochs=10)
# Ramanujan et al. 2019, arXiv 1911.13299, section 4.1 and their released settings.
_CIFAR = Recipe(
    data="cifar10", model="conv4", epochs=100, lr=0.1, decay=5e-4, flip=True, padding=4, channels_last=True, keep=0.5
)

RECIPES: dict[str, Recipe] = {
    "digits": Recipe(),
    "mnist-lenet": replace(_MNIST, rule="bernoulli", rescale="tensor", optimizer="adam", lr=0.2),
    "mnist-conv2": replace(_MNIST, model="conv2", keep=0.5, epochs=5, lr=0.1),
    "cifar10-conv4": _CIFAR,
    "cifar10-conv6": replace(_CIFAR, model="conv6"),
    "cifar10-resnet18": replace(_CIFAR, model="resnet18"),
    # Diffenderfer & Kailkhura 2021, arXiv 2103.09377, appendix.
    "cifar10-resnet18-biprop": replace(
        _CIFAR, model="resnet18", rule="biprop", options="scope=global,ramp=4000", epochs=250, keep=0.4, affine=True
    ),
    "cifar10-conv6-biprop": replace(
        _CIFAR, model="conv6", rule="biprop", keep=0.4, epochs=250, optimizer="adam", lr=1e-3
    ),
    "imagenet-resnet50": Recipe(
        data="folder",
        model="resnet50",
        keep=0.3,
        epochs=100,
        batch=256,
        lr=0.256,
        warmup=5,
        momentum=0.875,
        decay=3.0517578125e-05,
        smoothing=0.1,
        flip=True,
        size=224,
        bf16=True,
        channels_last=True,
    ),
}


def recipe_of(name: str, changes: dict[str, Any]) -> Recipe:
    """The preset ``name`` with some of its fields changed. Raises ``ValueError`` for a name or value that cannot be."""
    check_choice("recipe", name, RECIPES)
    return replace(RECIPES[name], **changes)
