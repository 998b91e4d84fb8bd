"""The masked models whose tickets are kept: every bit of them follows from what is written here.

Nothing is trained, and nothing comes from torch's random generator, so that each model comes out the same everywhere.
What stands here is not to be changed, only added to: the tickets are not made anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

import torch
from torch import nn

from one_layer_lt import MaskConfig, advance_, mask_
from one_layer_lt.weights import draw_uniform
from tests.support.models import Images, Mixed, Tied

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A masked model.

    model: a key of ``MODELS``. config: what differs from ``MaskConfig``'s defaults. others: the same for the modules
    of a name, None to leave one dense. trainable: patterns, as ``mask_`` takes them. updates: those that ``advance_``
    is told of; scores change after each.
    """

    model: str = "layers"
    config: Settings = field(default_factory=dict)
    others: Mapping[str, Settings | None] = field(default_factory=dict)
    trainable: Collection[str] = ()
    updates: Collection[int] = ()
    architecture: Mapping[str, Any] = field(default_factory=dict)
    assets: Mapping[str, bytes] = field(default_factory=dict)


def rule(name: str, options: Settings | None = None, updates: Collection[int] = (), **config: Any) -> Case:
    """A case of layers under a rule."""
    return Case(config={"seed": 3, "rule": name, "options": options or {}, **config}, updates=updates)


def layers() -> nn.Module:
    """Three matrices of one shape: two layers of an encoder, and one of a decoder."""
    encoder, decoder = (nn.ModuleList(nn.Linear(12, 8) for _ in range(count)) for count in (2, 1))
    return nn.ModuleDict({"encoder": nn.ModuleDict({"layers": encoder}), "decoder": nn.ModuleDict({"layers": decoder})})


def several_types() -> nn.Module:
    """Tensors of three types in one model."""
    model = Mixed()
    model.embed.half()
    model.shift.data = model.shift.data.bfloat16()
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "layers": layers,
    "tied": Tied,
    "images": Images,
    "mixed": Mixed,
    "mixed of half precision": lambda: Mixed().half(),
    "mixed of bfloat16": lambda: Mixed().bfloat16(),
    "mixed of several types": several_types,
    "alone": lambda: nn.Linear(4, 6),
    "odd": lambda: nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1)),
    "square": lambda: nn.Sequential(nn.Linear(128, 128, bias=False)),
    "wide": lambda: nn.Sequential(nn.Linear(1024, 1025, bias=False)),
    "lstm": lambda: nn.ModuleDict({"lstm": nn.LSTM(3, 4, 2, bidirectional=True), "head": nn.Linear(8, 2)}),
    "cell": lambda: nn.ModuleDict({"cell": nn.GRUCell(3, 4)}),
    "attention": lambda: nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2)}),
    "attention of three widths": lambda: nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2, kdim=6, vdim=5)}),
}

DENSE: dict[str, Any] = {"others": {"embed": None}, "trainable": ["embed.weight", "fc.bias", "norm.*"]}
WORDS = "".join(f"word{number} {number**2}\n" for number in range(40)).encode()
ASSETS = {"words.txt": WORDS, "empty": b"", "bytes": bytes(range(256)), "planes.0": b"no clash"}

CASES: dict[str, Case] = {
    **{
        name: rule(name)
        for name in ("edge_popup", "topk", "signed", "bernoulli", "threshold", "sigmoid_threshold", "biprop")
    },
    **{name: rule(name) for name in ("multicoat", "annealed", "continuous", "gem_miner", "iterand")},
    "edge_popup-global": rule("edge_popup", {"scope": "global", "ramp": 6}, keep=0.3),
    "topk-global": rule("topk", {"scope": "global"}, keep=0.7, share="none"),
    "biprop-global": rule("biprop", {"scope": "global"}, keep=0.2),
    "signed-global": rule("signed", {"scope": "global"}, keep=0.4),
    "signed-threshold": rule("signed", {"threshold": 0.2}),
    "bernoulli-sample": rule("bernoulli", {"evaluate": "sample", "sample_seed": 5}),
    "threshold-option": rule("threshold", {"threshold": 0.25}),
    "sigmoid_threshold-option": rule("sigmoid_threshold", {"threshold": 0.6}),
    "multicoat-coats": rule("multicoat", {"coats": [0.5, 0.25, 0.125, 0.0625]}),
    "multicoat-one-coat": rule("multicoat", {"coats": [0.4]}),
    "annealed-options": rule("annealed", {"first": 2.0, "last": 0.5, "over": 7, "schedule": "cosine"}),
    "continuous-options": rule("continuous", {"last": 0.5, "over": 10, "schedule": "linear"}),
    "gem_miner-frozen": rule("gem_miner", {"period": 2, "over": 6, "l2": 0.01}, range(8), keep=0.2),
    "iterand-redraws": rule("iterand", {"period": 2, "fraction": 0.5}, range(8), keep=0.1),
    "iterand-redraws-of-all": rule(
        "iterand", {"period": 3, "fraction": 1.0}, range(10), keep=0.2, share="stack", init="kaiming_normal"
    ),
    "iterand-many-redraws": rule("iterand", {"period": 1, "fraction": 0.1}, range(250), keep=0.9, share="none"),
    "iterand-draw-300": rule("iterand", {"period": 1}, [1, 2, 300], keep=0.2),
    "keep-all": rule("edge_popup", keep=1.0, scale=1.7),
    "keep-nothing": rule("edge_popup", keep=1e-9),
    "scale_fan": rule("edge_popup", keep=0.25, scale_fan=True, scale=2.0),
    "drop-lock": rule("edge_popup", drop=0.25, lock=0.125, keep=0.4),
    "drop-lock-threshold": rule("threshold", drop=0.3, lock=0.2, init="signed_constant"),
    "drop-multicoat": rule("multicoat", drop=0.5),
    "rescale-tensor": rule("bernoulli", rescale="tensor"),
    "rescale-row": rule("edge_popup", rescale="row", keep=0.3),
    "rescale-column": rule("signed", rescale="column"),
    "tiles": rule("edge_popup", tiles=(2, 2), keep=0.25),
    "tiles-lock-rescale": rule("biprop", tiles=(4, 1), lock=0.1, rescale="tensor", share="layer_mask"),
    "share-none": rule("edge_popup", share="none"),
    "share-layer_mask": rule("signed", share="layer_mask"),
    "share-stack": rule("topk", share="stack"),
    "share-vector": rule("edge_popup", share="vector", init="xavier_normal"),
    "share-vector-repeats": Case("wide", {"share": "vector", "tiles": (1025, 1)}),
    **{
        f"init-{init}": rule("edge_popup", init=init)
        for init in ("kaiming_normal", "xavier_uniform", "xavier_normal", "signed_constant", "unsigned_constant")
    },
    "init-xavier_constant": rule("edge_popup", init="xavier_constant", seed=-5),
    "init-existing": Case("tied", {"init": "existing", "keep": 0.3}),
    "ties": Case("tied", {"seed": 2**70}),
    "convolution": Case("images", {"keep": 0.3, "share": "none"}),
    "a-module-alone": Case("alone"),
    "masks-that-end-within-a-byte": Case("odd", {"rule": "signed"}),
    "several-configs": Case(
        config={"keep": 0.25},
        others={"encoder.layers.0": {"rule": "multicoat"}, "decoder.layers.0": {"rule": "topk", "seed": 9}},
    ),
    "keep-0.1": Case("square", {"keep": 0.1}),
    "keep-0.3": Case("square", {"keep": 0.3}),
    "keep-0.5": Case("square", {"keep": 0.5}),
    "dense-float32": Case("mixed", **DENSE),
    "dense-float16": Case("mixed of half precision", **DENSE),
    "dense-bfloat16": Case("mixed of bfloat16", **DENSE),
    "dense-several": Case("mixed of several types", **DENSE),
    "assets": Case("odd", assets=ASSETS, architecture={"depth": [1, {"a": None}], "ü": 0.5}),
}

# Of the rule `sign`, and of tensors that are not called `weight`: these came later.
LATER: dict[str, Case] = {
    "sign": rule("sign"),
    "sign-frozen": rule("sign", drop=0.25, lock=0.125, tiles=(2, 1), init="signed_constant"),
    "sign-layer_mask": rule("sign", share="layer_mask", rescale="row"),
    "lstm": Case("lstm", {"keep": 0.3, "share": "none"}),
    "gru-cell-signed": Case("cell", {"rule": "signed"}),
    "attention": Case("attention", {"rule": "sign"}),
    "attention-of-three-widths": Case("attention of three widths"),
}


def made(case: Case) -> nn.Module:
    """The masked model, as if it had been trained."""
    model = MODELS[case.model]()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            _set_(tensor, 0.5, f"start:{name}")
    config = MaskConfig(**case.config)

    def configure(name: str, _: nn.Module) -> MaskConfig | None:
        settings = case.others.get(name, case.config)
        return None if settings is None else config if settings is case.config else MaskConfig(**settings)

    mask_(model, None, configure=configure, trainable=case.trainable)
    _move_(model, "trained")
    for update in case.updates:
        advance_(model, update)
        _move_(model, f"update {update}")
    return model


def _move_(model: nn.Module, when: str) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            _set_(parameter, 1.0, f"{when}:{name}")


@torch.no_grad()
def _set_(tensor: torch.Tensor, bound: float, name: str) -> None:
    tensor.copy_(draw_uniform(tuple(tensor.shape), bound, seed=11, name=name))
