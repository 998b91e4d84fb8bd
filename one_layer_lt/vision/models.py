"""Plain networks for images, to be converted by ``mask_``. None has biases; batch norms are non-affine unless asked.

    model = build("resnet18", shape=(3, 32, 32), classes=10)
    mask_(model, MaskConfig(rule="biprop", share="none"))

Inputs are float (batch, channels, height, width), outputs logits (batch, classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]
SMALL = 64  # images up to this side get the CIFAR form of a residual network


class Sign(nn.Module):
    """Binary activations: 1 where x >= 0, else -1; the gradient passes where |x| <= 1 (Hubara et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = _ClippedSign.apply(x)
        return value


class _ClippedSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1)


@dataclass(frozen=True)
class Style:
    """What all networks have in common.

    width: factor on the number of hidden channels. affine: batch norms have learned scales and shifts.
    binary: activations are signs, with a batch norm before each (Diffenderfer & Kailkhura 2021, section 4).
    """

    width: float = 1.0
    affine: bool = False
    binary: bool = False

    def channels(self, count: int) -> int:
        return max(1, round(self.width * count))

    def norm(self, channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels, affine=self.affine)

    def act(self) -> nn.Module:
        return Sign() if self.binary else nn.ReLU()

    def normed_act(self, features: int, dims: int) -> list[nn.Module]:
        """An activation in a network without batch norms: signs need one, to be of both kinds."""
        if not self.binary:
            return [nn.ReLU()]
        norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm1d
        return [norm(features, affine=self.affine), Sign()]


def _lenet(shape: Shape, classes: int, style: Style) -> nn.Module:
    """LeNet-300-100 (LeCun et al. 1998; Frankle & Carbin 2018, figure 2): "MNIST FC" in Zhou et al. 2019."""
    inputs = shape[0] * shape[1] * shape[2]
    layers: list[nn.Module] = [nn.Flatten()]
    for count in (300, 100):
        outputs = style.channels(count)
        layers += [nn.Linear(inputs, outputs, bias=False), *style.normed_act(outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, classes, bias=False))


def _conv(stages: Sequence[int]) -> Callable[[Shape, int, Style], nn.Module]:
    """Conv-2 to Conv-8 (Frankle & Carbin 2018, figure 2): pairs of 3x3 convolutions, pooled, then 256-256."""

    def build_conv(shape: Shape, classes: int, style: Style) -> nn.Module:
        layers, inputs, height, width = _pairs(stages, shape, style)
        inputs *= height * width
        layers.append(nn.Flatten())
        for _ in range(2):
            outputs = style.channels(256)
            layers += [nn.Linear(inputs, outputs, bias=False), *style.normed_act(outputs, 1)]
            inputs = outputs
        return nn.Sequential(*layers, nn.Linear(inputs, classes, bias=False))

    return build_conv


def _pairs(stages: Sequence[int], shape: Shape, style: Style) -> tuple[list[nn.Module], int, int, int]:
    inputs, height, width = shape
    layers: list[nn.Module] = []
    for count in stages:
        outputs = style.channels(count)
        for _ in range(2):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), *style.normed_act(outputs, 2)]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
        height, width = height // 2, width // 2
        if not (height and width):
            raise ValueError(f"images of {shape[1]} x {shape[2]} are too small for {len(stages)} poolings")
    return layers, inputs, height, width


def _vgg_small(shape: Shape, classes: int, style: Style) -> nn.Module:
    """VGG-small (Zhang et al. 2018, arXiv 1807.10029, as in Diffenderfer & Kailkhura 2021): six convolutions."""
    inputs, height, width = shape
    layers: list[nn.Module] = []
    for count in (128, 256, 512):
        outputs = style.channels(count)
        for pooled in (False, True):
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
            layers += [nn.MaxPool2d(2)] if pooled else []
            layers += [style.norm(outputs), style.act()]
            inputs = outputs
        height, width = height // 2, width // 2
    if not (height and width):
        raise ValueError(f"images of {shape[1]} x {shape[2]} are too small for 3 poolings")
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * height * width, classes, bias=False))


class _Block(nn.Module):
    """A residual block (He et al. 2016, arXiv 1512.03385, figures 2 and 5): convolutions and a way around."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, kernels: Sequence[int], stride: int, style: Style
    ) -> None:
        super().__init__()
        sizes = [inputs, *[inner] * (len(kernels) - 1), outputs]
        strided = kernels.index(3)
        self.body = nn.Sequential()  # its names tell its convolutions apart, also where blocks share random weights
        for at, kernel in enumerate(kernels):
            step = stride if at == strided else 1
            self.body.add_module(
                f"conv{at}", nn.Conv2d(sizes[at], sizes[at + 1], kernel, step, kernel // 2, bias=False)
            )
            self.body.add_module(f"norm{at}", style.norm(sizes[at + 1]))
            if at < len(kernels) - 1:
                self.body.add_module(f"act{at}", style.act())
        self.around: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), style.norm(outputs))
        self.act = style.act()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.body(x) + self.around(x))
        return out


def _resnet(counts: Sequence[int], bottleneck: bool = False, wide: int = 1) -> Callable[[Shape, int, Style], nn.Module]:
    """Residual networks (He et al. 2016, arXiv 1512.03385, table 1); for small images without the first pooling.

    wide: factor on the inner channels of bottlenecks (Zagoruyko & Komodakis 2016, arXiv 1605.07146).
    """

    def build_resnet(shape: Shape, classes: int, style: Style) -> nn.Module:
        inputs = style.channels(64)
        small = max(shape[1:]) <= SMALL
        stem: list[nn.Module] = [
            nn.Conv2d(shape[0], inputs, 3, padding=1, bias=False)
            if small
            else nn.Conv2d(shape[0], inputs, 7, 2, 3, bias=False),
            style.norm(inputs),
            style.act(),
        ]
        stem += [] if small else [nn.MaxPool2d(3, 2, 1)]
        blocks: list[nn.Module] = []
        for stage, count in enumerate(counts):
            inner = style.channels(64 * 2**stage) * (wide if bottleneck else 1)
            outputs = style.channels(256 * 2**stage) if bottleneck else inner
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            for block in range(count):
                blocks.append(_Block(inputs, inner, outputs, kernels, 2 if stage and not block else 1, style))
                inputs = outputs
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes, bias=False)]
        return nn.Sequential(*stem, *blocks, *head)

    return build_resnet


MODELS: dict[str, Callable[[Shape, int, Style], nn.Module]] = {
    "lenet_300_100": _lenet,
    "fc": _lenet,
    "conv2": _conv((64,)),
    "conv4": _conv((64, 128)),
    "conv6": _conv((64, 128, 256)),
    "conv8": _conv((64, 128, 256, 512)),
    "vgg_small": _vgg_small,
    "resnet18": _resnet((2, 2, 2, 2)),
    "resnet34": _resnet((3, 4, 6, 3)),
    "resnet50": _resnet((3, 4, 6, 3), bottleneck=True),
    "resnet101": _resnet((3, 4, 23, 3), bottleneck=True),
    "wide_resnet50_2": _resnet((3, 4, 6, 3), bottleneck=True, wide=2),
}


def build(
    name: str, *, shape: Shape, classes: int, width: float = 1.0, affine: bool = False, binary: bool = False
) -> nn.Module:
    """A network of ``MODELS`` for images of ``shape`` (channels, height, width).

    width, affine, binary: see ``Style``. Raises ``ValueError`` for an unknown name, a width that is not positive or
    images too small.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of: {', '.join(MODELS)}")
    if not 0 < width < 1000:
        raise ValueError(f"width must be a positive factor, not {width!r}")
    return MODELS[name](tuple(shape), classes, Style(width, affine, binary))  # type: ignore[arg-type]
