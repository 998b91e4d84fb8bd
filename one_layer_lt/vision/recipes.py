"""How a network for images is trained: the settings, and named presets of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ..config import RESCALES, SCORE_INITS, MaskConfig, check_choice, parse_options
from ..rules import RULES
from ..sharing import SHARES
from ..weights import INITS
from .data import DATASETS
from .models import MODELS

OPTIMIZERS = ("sgd", "adam")


def _setting(default: Any, what: str, choices: Iterable[str] = (), metavar: str | None = None) -> Any:
    """A field of ``Recipe``. what, metavar: for the help of its option."""
    listed = ", ".join(choices)
    return field(default=default, metadata={"help": f"{what}: {listed}" if listed else what, "metavar": metavar})


@dataclass(frozen=True)
class Recipe:
    """Settings of a training, each explained by its field's metadata. Raises ``ValueError`` for one that cannot be.

    The network is ``models.build``'s; ``mask_config`` says which settings are of ``MaskConfig``.
    """

    data: str = _setting("digits", "data set", DATASETS)
    model: str = _setting("lenet_300_100", "network", MODELS)
    width: float = _setting(1.0, "factor on the number of the network's hidden channels")
    affine: bool = _setting(False, "batch norms have trained scales and shifts")
    binary: bool = _setting(False, "activations are signs, -1 or 1")
    dense: bool = _setting(False, "train the weights instead of masks: the baseline")
    scores_from: Optional[str] = _setting(
        None, "folder of a dense run of the same network: the first masks imitate its weights", metavar="FOLDER"
    )
    rule: str = _setting("edge_popup", "how scores become a mask", RULES)
    keep: Optional[float] = _setting(
        None,
        "fraction of each tensor's weights that the mask keeps, in (0, 1]; 0.5 if the rule has such a ratio",
    )
    options: str = _setting("", "options of the rule; a list of numbers is written 0.3/0.1", metavar="NAME=VALUE,...")
    init: str = _setting("signed_constant", "distribution of the random weights", INITS)
    scale_fan: bool = _setting(False, "multiply the random weights by 1/sqrt(keep): only kept ones count as fan")
    share: str = _setting(
        "none",
        "which modules use one random weight; layer: those of the same place and shape in all blocks; layer_mask: "
        "these, which also use one mask; stack: as layer, in encoder and decoder; vector: all modules; choices",
        SHARES,
    )
    score_init: str = _setting("standard", "values that the scores start from", SCORE_INITS)
    rescale: str = _setting("none", "multiply kept weights of each tensor, row or column by all over kept", RESCALES)
    seed: int = _setting(1, "seed of the random weights, the first scores and the order of the images")
    epochs: int = _setting(30, "length of the training, in epochs")
    batch: int = _setting(128, "images an update, those of all processes together")
    accumulate: int = _setting(1, "parts that a batch is computed in, one after another, to save memory")
    optimizer: str = _setting("sgd", "optimizer", OPTIMIZERS)
    lr: float = _setting(0.1, "highest learning rate; it goes down to 0 along a cosine")
    warmup: float = _setting(0.0, "epochs in which the learning rate goes up to --lr; may be a fraction")
    momentum: float = _setting(0.9, "momentum of sgd, from 0 to below 1")
    decay: float = _setting(0.0, "weight decay, of the scores, or of the weights where --dense")
    smoothing: float = _setting(0.0, "label smoothing, a fraction from 0 to below 1")
    flip: bool = _setting(False, "mirror training images left to right at random")
    padding: int = _setting(0, "shift training images at random by up to this many pixels")
    bf16: bool = _setting(False, "compute in bfloat16 (autocast)")
    channels_last: bool = _setting(False, "keep images with their channels last in memory: faster on GPUs")
    size: Optional[int] = _setting(None, "side of the images in pixels, for data sets whose images have many sizes")

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
