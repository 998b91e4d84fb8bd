"""The twin: a dense Transformer in the form that a ticket can hold, and masks that start from it.

fairseq-train DATA --user-dir fairseq_plugins --arch one_layer_masked --dense --twin --save-dir runs/twin ...
fairseq-train DATA --user-dir fairseq_plugins --arch one_layer_masked --scores-from runs/twin/checkpoint_best.pt ...
"""

from __future__ import annotations

import logging
import math
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from one_layer_lt import Projection, parametrization_of
from one_layer_lt.errors import UserError
from one_layer_lt.weights import EXISTING

from .belonging import KEY as BELONGING
from .belonging import check_belonging
from .checkpoints import load

logger = logging.getLogger(__name__)


def plain_(model: nn.Module) -> nn.Module:
    """Fix what a ticket does not hold, in place: layer norms stay as they are, and biases zero."""
    for module in model.modules():
        is_norm = hasattr(module, "normalized_shape")
        for name, parameter in module.named_parameters(recurse=False):
            if is_norm or (name.endswith("bias") and parameter.dim() == 1):
                parameter.requires_grad_(False)
            if not is_norm and name.endswith("bias") and parameter.dim() == 1:
                nn.init.zeros_(parameter)
    return model


def load_twin(path: str, model: nn.Module) -> Mapping[str, Tensor]:
    """The dense weights of a checkpoint, by their names in ``model``, which is the Transformer to be masked.

    Warns of biases and affine norms that the masks will do without. Raises ``ValueError``, which names the flag and
    the file, where there is none, or it is not a dense model of the same shapes, ties and logit scale.
    """
    state = _loaded(path)
    own = model.state_dict()
    missing = [name for name in own if name not in state and not name.endswith((BELONGING, "version", "_float_tensor"))]
    if missing:
        what = (
            "its weights are masked or rounded"
            if any(".parametrizations." in name for name in state)
            else "it has no " + missing[0]
        )
        raise ValueError(f"--scores-from {path}: not a dense model of this architecture: {what}")
    if BELONGING in own and BELONGING in state:
        try:
            check_belonging(own.pop(BELONGING), state[BELONGING])
        except ValueError as error:
            raise ValueError(f"--scores-from {path}: {error}") from None
    for name, tensor in own.items():
        if name in state and name != BELONGING and state[name].shape != tensor.shape:
            shapes = f"{list(state[name].shape)}, this model's {list(tensor.shape)}"
            raise ValueError(f"--scores-from {path}: its {name} is of shape {shapes}: give the twin's sizes and data")
    embeddings = [name for name in own if name.endswith(("embed_tokens.weight", "output_projection.weight"))]
    for first in embeddings:
        for second in embeddings:
            tied = own[first].data_ptr() == own[second].data_ptr()
            if tied and not torch.equal(state[first], state[second]):
                raise ValueError(f"--scores-from {path}: its {first} and {second} are not tied, as this model's are")
    lost = []
    for name, module in model.named_modules():
        for attribute, parameter in module.named_parameters(recurse=False):
            full = f"{name}.{attribute}"
            if parameter.dim() != 1:
                continue
            is_bias = attribute.endswith("bias")  # which the masked model has none of, whatever it is built with
            wanted = torch.zeros_like(parameter) if is_bias else parameter.detach()
            if not torch.equal(state[full], wanted):
                _check_logit_scale(path, full, state[full], wanted)
                lost.append(full)
    if lost:
        logger.warning(
            "--scores-from %s: %d norms and biases of it are not the masked model's, such as %s: --dense --twin trains "
            "without",
            path,
            len(lost),
            lost[0],
        )
    return state


def resume_(args: Namespace) -> None:
    """Where a training is about to go on, take the scales that were fitted from its checkpoint: it holds the scores."""
    last = Path(getattr(args, "save_dir", None) or "", getattr(args, "restore_file", None) or "checkpoint_last.pt")
    if not getattr(args, "save_dir", None) or not last.is_file():
        return
    begun = load(last, mmap=True)["cfg"]["model"]
    if getattr(begun, "scores_from", None) and getattr(begun, "scores_in_checkpoint", False):
        args.scores_in_checkpoint = True
        args.weight_scale_per_kind = args.weight_scale_per_kind or begun.weight_scale_per_kind


def fitted_scales(model: nn.Module, found: Mapping[str, Projection]) -> str:
    """``--weight-scale-per-kind`` by which effective weights come nearest to the twin's: of least squared error.

    model: masked without it; found: what ``project_`` returned for it.
    """
    modules = dict(model.named_modules())
    sums: dict[str, tuple[float, float]] = {}
    for name, projection in found.items():
        if parametrization_of(modules[name]).config.init != EXISTING:  # those are what they are
            inner, effective = sums.get(_kind(name), (0.0, 0.0))
            sums[_kind(name)] = inner + projection.inner, effective + projection.effective
    fitted = {kind: inner / effective for kind, (inner, effective) in sums.items() if inner > 0}
    return ",".join(f"{kind}={scale:.6g}" for kind, scale in fitted.items())


def report(found: Mapping[str, Projection]) -> str:
    """The mean cosine of each kind of tensor, for the log."""
    cosines: dict[str, list[float]] = {}
    for name, projection in found.items():
        cosines.setdefault(_kind(name), []).append(projection.cosine)
    return ", ".join(f"{kind} {sum(values) / len(values):.3f}" for kind, values in cosines.items())


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _loaded(path: str) -> Mapping[str, Tensor]:
    if not Path(path).is_file():
        raise ValueError(f"--scores-from {path}: no such checkpoint")
    try:
        model: dict[str, Tensor] = load(Path(path))["model"]
    except UserError as error:
        raise ValueError(f"--scores-from {error}") from None
    return model


def _check_logit_scale(path: str, name: str, theirs: Tensor, own: Tensor) -> None:
    """Both constant, and not the same: they come from ``--logit-scale``."""
    constant = bool((theirs == theirs[0]).all() and (own == own[0]).all())
    if constant and name.endswith("weight") and not math.isclose(float(theirs[0]), float(own[0])):
        raise ValueError(
            f"--scores-from {path}: it has --logit-scale {float(theirs[0]):g}, this model {float(own[0]):g}"
        )
