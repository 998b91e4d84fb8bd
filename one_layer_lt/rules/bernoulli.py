"""bernoulli: each weight is kept by chance, and the chance is learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..weights import draw_uniform
from .base import MaskRule, check_option
from .imitation import halves
from .threshold import times_sigmoid_slope_

EVALUATIONS = ("threshold", "sample")
_SPREAD = 5.0  # of the scores to start from: chances from 1% to 99%; near 50% samples would be all noise


@dataclass
class Bernoulli(MaskRule):
    """m ~ Bernoulli(sigmoid(score)), drawn anew in each forward pass of training; gradient ``g * w * sigmoid'(score)``.

    Zhou et al. 2019 (arXiv 1905.01067, section 5.1). Samples come from torch's random generator, like dropout's. Their
    dynamic weight rescaling is ``MaskConfig.rescale = "tensor"``.

    Scores start uniform within 5, so that learning rates are a hundred times those of other rules.

    evaluate: ``threshold``: keep where the chance is at least 1/2; or ``sample``: one fixed sample, by ``sample_seed``
        and the tensor's name.
    """

    evaluate: str = "threshold"
    sample_seed: int = 1

    def __post_init__(self) -> None:
        check_option(self.evaluate in EVALUATIONS, "evaluate", self.evaluate, f"one of {', '.join(EVALUATIONS)}")

    def start(self, scores: Tensor, bound: float) -> Tensor:
        return scores.mul_(_SPREAD / bound)

    def mask(self, scores: Tensor) -> Tensor:
        if self.evaluate == "threshold":
            return torch.ge(scores, 0, out=torch.empty_like(scores, requires_grad=False))
        noise = draw_uniform(tuple(scores.shape), 0.5, seed=self.sample_seed, name=f"sample:{self.context.name}").to(
            scores
        )
        return (noise + 0.5 < torch.sigmoid(scores)).to(scores.dtype)

    def training_mask(self, scores: Tensor) -> Tensor:
        return torch.bernoulli(torch.sigmoid(scores))

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        return self.start(halves(inner, energy, bound), bound)

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        return times_sigmoid_slope_(grad, scores)
