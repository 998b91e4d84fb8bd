"""Count what a masked model is made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .convert import masked_modules, masked_weight, scores_of


@dataclass(frozen=True)
class Summary:
    """Numbers of a masked model; tied tensors count once.

    random_weights: frozen random matrices. random_numbers: numbers in them.
    masks: masked tensors. scores: scores in them, one a weight.
    trained: trainable numbers that are not scores.
    """

    random_weights: int
    random_numbers: int
    masks: int
    scores: int
    trained: int


def summarize(model: nn.Module) -> Summary:
    """Count random weights, masks, scores and other trained numbers of ``model``."""
    modules = [module for _, module in masked_modules(model)]
    shared = {id(masked_weight(module).shared): masked_weight(module).shared.weight for module in modules}
    scores = {id(scores_of(module)): scores_of(module) for module in modules}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in scores]
    return Summary(
        random_weights=len(shared),
        random_numbers=sum(weight.numel() for weight in shared.values()),
        masks=len(scores),
        scores=sum(tensor.numel() for tensor in scores.values()),
        trained=sum(parameter.numel() for parameter in trained),
    )
