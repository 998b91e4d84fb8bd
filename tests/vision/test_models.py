"""Networks for images: their published sizes, sharing, binary activations, tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from one_layer_lt import MaskConfig, TicketError, load_ticket, mask_, masked_modules, masked_weight, save_ticket
from one_layer_lt.vision.models import MODELS, Sign, build

CIFAR = (3, 32, 32)
# Weights of linear layers and convolutions, without biases: Frankle & Carbin 2018, figure 2 (Conv-2 to Conv-8, with
# 256-256-10), and torchvision's networks less batch norms and bias.
SIZES = {
    ("lenet_300_100", (1, 28, 28), 10): 784 * 300 + 300 * 100 + 100 * 10,
    ("conv2", CIFAR, 10): 4_300_992,
    ("conv4", CIFAR, 10): 2_425_024,
    ("conv6", CIFAR, 10): 2_261_184,
    ("conv8", CIFAR, 10): 5_275_840,
    ("resnet18", (3, 224, 224), 1000): 11_689_512 - 2 * 4_800 - 1000,
    ("resnet34", (3, 224, 224), 1000): 21_797_672 - 2 * 8_512 - 1000,
    ("resnet50", (3, 224, 224), 1000): 25_557_032 - 2 * 26_560 - 1000,
    ("resnet101", (3, 224, 224), 1000): 44_549_160 - 2 * 52_672 - 1000,
    ("wide_resnet50_2", (3, 224, 224), 1000): 68_883_240 - 2 * 34_112 - 1000,
}


def meta(name: str, shape: Any = CIFAR, classes: int = 10, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return build(name, shape=shape, classes=classes, **options)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "shape", "classes"), SIZES)
def test_published_sizes(name: str, shape: Any, classes: int) -> None:
    assert count(meta(name, shape, classes)) == SIZES[name, shape, classes]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("binary", [False, True])
def test_logits(name: str, binary: bool) -> None:
    model = meta(name, shape=(1, 16, 20), classes=7, width=0.25, binary=binary).to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    logits = model(torch.randn(3, 1, 16, 20))
    assert logits.shape == (3, 7)
    assert logits.isfinite().all()
    assert {name for name, _ in model.named_parameters() if name.endswith("bias")} == set()
    assert any(isinstance(module, Sign) for module in model.modules()) is binary
    assert not any(isinstance(module, nn.ReLU) for module in model.modules()) or not binary


def test_width_and_affine() -> None:
    model = meta("resnet18", width=0.5, affine=True)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.num_features for norm in norms} == {32, 64, 128, 256}
    assert count(model) - count(meta("resnet18", width=0.5)) == 2 * sum(norm.num_features for norm in norms)
    assert count(meta("conv2", width=2.0)) > 2 * count(meta("conv2"))


def test_small_and_large_images() -> None:
    """The CIFAR form keeps the resolution in its first layers, the ImageNet form divides it by four."""
    small, large = meta("resnet18"), meta("resnet18", (3, 224, 224), 1000)
    assert small[0].kernel_size == (3, 3)
    assert large[0].kernel_size == (7, 7)
    assert sum(isinstance(module, nn.MaxPool2d) for module in large) == 1
    assert not any(isinstance(module, nn.MaxPool2d) for module in small)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "resnet19"}, "unknown model 'resnet19'; choose one of: lenet_300_100"),
        ({"name": "conv8", "shape": (3, 8, 8)}, "images of 8 x 8 are too small for 4 poolings"),
        ({"name": "vgg_small", "shape": (3, 4, 32)}, "images of 4 x 32 are too small for 3 poolings"),
        ({"name": "conv2", "width": 0}, "width must be a positive factor, not 0"),
    ],
)
def test_bad_input(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build(**{"shape": CIFAR, "classes": 10, **options})


def test_blocks_of_one_shape_share_one_random_weight() -> None:
    """ResNet-18's second stage on has blocks of equal shape: the one-layer idea, in vision."""
    model = mask_(build("resnet34", shape=CIFAR, classes=10, width=0.125), MaskConfig(share="layer"))
    masked = [masked_weight(module) for _, module in masked_modules(model)]
    by_shape: dict[tuple[int, ...], set[int]] = {}
    for weight in masked:
        by_shape.setdefault(tuple(weight.shared.weight.shape), set()).add(id(weight.shared))
    assert len(masked) == 37
    assert len({id(weight.shared) for weight in masked}) == 16
    assert len(by_shape[(64, 64, 3, 3)]) == 2  # the first and the second convolution of a block
    assert sum(tuple(weight.shared.weight.shape) == (64, 64, 3, 3) for weight in masked) == 5


def test_sign_by_hand() -> None:
    x = torch.tensor([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0]).requires_grad_()
    y = Sign()(x)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    y.backward(torch.arange(1.0, 9.0))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 7, 0]


ABOUT: dict[str, Any] = {
    "kind": "vision",
    "model": "resnet18",
    "shape": [3, 8, 8],
    "classes": ["cat", "dog"],
    "width": 0.0625,
    "affine": True,
    "binary": False,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}


class TestTickets:
    def model(self) -> tuple[nn.Module, Tensor]:
        model = build("resnet18", shape=(3, 8, 8), classes=2, width=0.0625, affine=True)
        mask_(model, MaskConfig(rule="biprop"), trainable=["1.weight", "1.bias", "*.body.*.weight", "*.body.*.bias"])
        images = torch.randn(6, 3, 8, 8)
        with torch.no_grad():
            for _ in range(3):
                model(images)  # for the norms' statistics
            model[1].weight.uniform_(0.5, 1.5)
        return model.eval(), images

    def test_reloads(self, tmp_path: Path) -> None:
        model, images = self.model()
        save_ticket(tmp_path / "net.ticket", model, architecture=ABOUT)
        loaded = load_ticket(tmp_path / "net.ticket").model()
        with torch.no_grad():
            assert torch.equal(loaded(images), model(images))
        assert not loaded.training

    @pytest.mark.parametrize(
        ("member", "value", "says"),
        [
            ("model", "resnet19", "unknown model 'resnet19'"),
            ("model", [], "unknown model"),
            ("shape", [3, 8], "cannot be of shape"),
            ("shape", [3, 8, 1 << 40], "cannot be of shape"),
            ("classes", [], "classes must be a list of names"),
            ("classes", ["a", 1], "classes must be a list of names"),
            ("width", 1, "the width 1,"),
            ("width", 1e9, "the width 1000000000.0"),
            ("affine", 1, "affine 1, which must be true or false"),
            ("mean", [0.5], "mean .* a number a channel"),
            ("std", [0.5, 0.0, 1.0], "std .* must be positive"),
            ("more", 1, "the ticket's architecture must have just"),
            ("width", 0.125, "has shape"),
        ],
    )
    def test_flaws(self, member: str, value: Any, says: str, tmp_path: Path) -> None:
        save_ticket(tmp_path / "net.ticket", self.model()[0], architecture={**ABOUT, member: value})
        with pytest.raises(TicketError, match=says):
            load_ticket(tmp_path / "net.ticket").model()

    def test_it_translates_nothing(self, tmp_path: Path) -> None:
        save_ticket(tmp_path / "net.ticket", self.model()[0], architecture=ABOUT)
        with pytest.raises(TicketError, match="a network for images"):
            load_ticket(tmp_path / "net.ticket").translate(["x"])
