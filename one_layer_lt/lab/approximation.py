"""How closely a masked random network computes what a given network does, and how many random weights that takes.

    found = imitate(weight, 12, "subset", np.random.default_rng(1))     # 12 random candidates for each given weight
    abs(found.weight - weight).max()                                    # about 2**-12

Between the inputs and the outputs of a linear layer stand n random neurons for each input j: it reaches the k-th by the
weight ``first[j, k]``, and that one reaches output i by ``second[i, j, k]``. A mask keeps some k for each i and j, so
that the given weight of i and j is approximated by a sum of products. A ReLU on the neurons changes nothing as long as
inputs are at least 0: Pensia et al. 2020 (arXiv 2006.07990, section 3), who need n = O(log(1/error)) candidates. Malach
et al. 2020 (arXiv 2002.00585) keep one candidate a weight, and need n = O(1/error). Without a ReLU, the product of
queries and keys is such a pair of layers: Otsuka et al. 2025 (arXiv 2511.04217).
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..config import MaskConfig
from ..convert import mask_
from ..projection import project_

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MOST = 40
"""Candidates that ``best_subset`` takes: each half of them has 2**20 sums then."""
_ROOM = 2.0
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


def best_single(values: Floats, targets: Floats) -> Bools:
    """Of each row of values (m, n), the one that is nearest to its target (m,): a mask (m, n) with a 1 in each row."""
    mask = np.zeros(values.shape, dtype=np.bool_)
    mask[np.arange(len(values)), np.abs(values - targets[:, None]).argmin(1)] = True
    return mask


def best_subset(values: Floats, targets: Floats) -> Bools:
    """Of each row of values (m, n), the subset whose sum is nearest to its target (m,): a mask (m, n). It is exact.

    By meeting in the middle (Horowitz & Sahni 1974): the sums of each half of a row, one half sorted. Time and memory
    grow as 2**(n / 2). Raises ``ValueError`` for more than ``MOST`` values a row.
    """
    n = values.shape[1]
    if n > MOST:
        raise ValueError(f"{n} candidates for a weight: the exact search takes at most {MOST}")
    chosen = [_nearest(_sums(row[: n // 2]), _sums(row[n // 2 :]), target) for row, target in zip(values, targets)]
    left, right = np.array(chosen, dtype=np.int64).reshape(-1, 2).T
    return ((left | right << n // 2)[:, None] >> np.arange(n) & 1).astype(np.bool_)


def _sums(values: Floats) -> Floats:
    """(2**n,): the sum of every subset; bit k of its place says whether value k is in."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


def _nearest(left: Floats, right: Floats, target: float) -> tuple[int, int]:
    """The places of the two numbers, one of each array, whose sum is nearest to the target."""
    order = np.argsort(right)
    ordered, wanted = right[order], target - left
    above = np.searchsorted(ordered, wanted).clip(max=len(right) - 1)
    below = (above - 1).clip(min=0)
    at = np.where(np.abs(ordered[below] - wanted) < np.abs(ordered[above] - wanted), below, above)
    best = int(np.abs(ordered[at] - wanted).argmin())
    return best, int(order[at[best]])


METHODS: dict[str, Callable[[Floats, Floats], Bools]] = {"single": best_single, "subset": best_subset}


@dataclass(frozen=True)
class Imitation:
    """Two random layers and the mask that makes them compute like one given.

    first: (inputs, n); second, mask: (outputs, inputs, n).
    """

    first: Floats
    second: Floats
    mask: Bools

    @property
    def weight(self) -> Floats:
        """What they compute together, by the random weights that are kept: (outputs, inputs)."""
        return np.einsum("jk,ijk->ij", self.first, self.second * self.mask)

    def layers(self) -> tuple[Floats, Floats]:
        """The weights of the two masked layers themselves: (inputs * n, inputs) and (outputs, inputs * n)."""
        inputs, n = self.first.shape
        outer = (np.eye(inputs)[:, None] * self.first[:, :, None]).reshape(inputs * n, inputs)
        return outer, (self.second * self.mask).reshape(-1, inputs * n)


def imitate(weight: Floats, n: int, method: str, generator: np.random.Generator) -> Imitation:
    """Imitate a given weight (outputs, inputs) with n random candidates for each of its numbers.

    first is uniform in (0, 1), second in (-1, 1) times twice the largest magnitude of ``weight``: large enough for a
    sum of few products to reach it. method: a key of ``METHODS``.
    """
    outputs, inputs = weight.shape
    first = generator.uniform(0, 1, (inputs, n))
    second = generator.uniform(-1, 1, (outputs, inputs, n)) * (_ROOM * np.abs(weight).max())
    mask = METHODS[method]((first * second).reshape(-1, n), weight.reshape(-1))
    return Imitation(first, second, mask.reshape(second.shape))


def relative_error(found: Floats, wanted: Floats) -> float:
    """The Euclidean norm of the difference over that of what is wanted."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of a few measurements, and the ends of its 95% interval by Student's t. Takes two to ten of them."""
    mean = statistics.fmean(values)
    half = _STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def widened(model: nn.Sequential, times: int) -> nn.Sequential:
    """The same function by a wider network: each hidden unit is there so many times, and counts as much less.

    model: linear layers without biases, with ReLU between; of these weights (outputs, inputs) all but the first get
    ``times`` as many inputs, and all but the last as many outputs.
    """
    weights = [module.weight.detach() for module in model if isinstance(module, nn.Linear)]
    layers: list[nn.Module] = []
    for at, weight in enumerate(weights):
        wide = weight.repeat(times if at < len(weights) - 1 else 1, times if at else 1) / (times if at else 1)
        layer = nn.Linear(wide.shape[1], wide.shape[0], bias=False)
        layer.weight = nn.Parameter(wide)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def masked_like(model: nn.Sequential, config: MaskConfig, projected: bool) -> nn.Module:
    """A random network of the shapes of a given one, under masks, for ``search_`` to train.

    Its random weights are scaled so that masks which imitate the given weights (``project_``) have their size, too;
    projected: it starts from these masks, else from random ones.
    """
    factors = [each.factor for each in project_(mask_(copy.deepcopy(model), config), model).values()]
    scale = math.prod(factors) ** (1 / len(factors))  # of all layers alike: a ReLU network hands factors on
    masked = mask_(copy.deepcopy(model), replace(config, scale=config.scale * scale))
    if projected:
        project_(masked, model)
    return masked


def search_(masked: nn.Module, inputs: Tensor, wanted: Tensor, steps: int, lr: float) -> None:
    """Train scores, in place, for the mean squared error to wanted outputs: Adam on all inputs, lr down a cosine."""
    optimizer = torch.optim.Adam([each for each in masked.parameters() if each.requires_grad], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    masked.train()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(masked(inputs), wanted).backward()
        optimizer.step()
        schedule.step()
    masked.eval()
