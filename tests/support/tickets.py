"""Masked models as after training, and their tickets read again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Callable

import torch
from torch import Tensor, nn

from one_layer_lt import MaskConfig, fold_, load_ticket, mask_, save_ticket

NewModel = Callable[[str], "tuple[nn.Module, Tensor]"]  # the fixtures new_model and fresh


def masked(model: nn.Module, config: MaskConfig = MaskConfig(seed=3), **options: Any) -> nn.Module:  # noqa: B008
    """``model`` masked, as after training: its scores, trained parameters and buffers are not what they began as."""
    mask_(model, None if "configure" in options else config, **options)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.copy_(torch.randn(6, generator=generator))
                module.running_var.copy_(torch.rand(6, generator=generator))
    return model


def embed_left_out(name: str, _: nn.Module) -> MaskConfig | None:
    """For ``mask_``: all but the module ``embed``."""
    return None if name == "embed" else MaskConfig(seed=3)


def bits(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """All of a tensor: type, shape and bytes, so that zeros differ by their sign."""
    flat = tensor.detach().contiguous().view(-1)
    return tensor.dtype, tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def tensors_of(model: nn.Module) -> dict[str, Any]:
    """Every parameter and buffer, but for batch norm's count of batches."""
    held = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    return {name: bits(tensor) for name, tensor in held.items() if not name.endswith("num_batches_tracked")}


def output(model: nn.Module, x: Tensor) -> Tensor:
    """What the model makes of ``x`` in evaluation."""
    with torch.no_grad():
        found: Tensor = model.eval()(x)
    return found


def reloads(model: nn.Module, new: nn.Module, path: Path) -> nn.Module:
    """Save a masked model, fill ``new`` from the file, and compare it with the folded model."""
    save_ticket(path, model)
    filled = load_ticket(path).fill_(new)
    assert filled is new
    assert tensors_of(filled) == tensors_of(fold_(copy.deepcopy(model)))
    assert not filled.training
    assert not any(parameter.requires_grad for parameter in filled.parameters())
    return filled
