"""What every mask rule offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Optional, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ..weights import SharedWeight
from .straight_through import Fused, effective_weight

Bools = npt.NDArray[np.bool_]


class Masked(Protocol):
    """A masked tensor, as schedules see it: ``parametrization.MaskedWeight``."""

    @property
    def shared(self) -> SharedWeight: ...
    def mask(self, scores: Tensor) -> Tensor: ...


Member = tuple[Masked, nn.Parameter]  # a masked tensor, and its scores


@dataclass
class Context:
    """Where and when a rule works.

    name: of the masked tensor. update: how many updates were made. advanced: the last one that the schedule acted on.
    untold: whether it was trained with before anybody told of an update.
    """

    name: str = ""
    update: int = 0
    advanced: Optional[int] = None
    untold: bool = False


@dataclass
class MaskRule(ABC):
    """Scores -> mask, and the gradient that reaches the scores. One object a masked tensor.

    The fields of a rule are its options; a field ``keep`` is given by ``MaskConfig.keep``. ``__post_init__`` raises
    ``ValueError`` for a value that cannot be. The effective weight is ``combine_(mask, weight)``; its gradient is taken
    straight through the mask: a score gets ``g * weight``, which ``score_gradient_`` may change.
    """

    planes: ClassVar[int] = 1  # a mask's values in a ticket: a bit a weight, then a bit for each 1 of the plane before
    redraws: ClassVar[bool] = False  # whether random weights are drawn again as training goes on
    weight_scale: ClassVar[float] = 1.0  # a factor on the random weights that the rule's masks suit
    context: Context = field(default_factory=Context, init=False, repr=False, compare=False)

    @abstractmethod
    def mask(self, scores: Tensor) -> Tensor:
        """The mask for evaluation, which a ticket keeps: a new tensor of the shape, dtype and device of ``scores``."""

    def training_mask(self, scores: Tensor) -> Tensor:
        """The mask in training, where that is another one."""
        return self.mask(scores)

    def combine_(self, mask: Tensor, weight: Tensor, scale: Optional[Tensor]) -> Tensor:
        """The effective weight, of the dtype of ``mask``, which may be overwritten. scale: what ``scale`` gave."""
        return mask.mul_(weight)

    def effective_weight(self, scores: Tensor, weight: Tensor) -> Tensor:
        """``combine_(mask(scores), weight)``, in the dtype of ``scores``; differentiable in ``scores`` alone."""
        return effective_weight(self, scores, weight, lambda: self.mask(scores.detach()), None, training=False)

    def fused(self, training: bool) -> Optional[Fused]:
        """What fused kernels need to know of the rule; None where they do not know it."""
        return None

    def scale(self, mask: Tensor, weight: Tensor) -> Optional[Tensor]:
        """A factor of the whole tensor that the effective weight takes: float32, shape (); None for none."""
        return None

    @classmethod
    def has_scale(cls) -> bool:
        """Whether ``scale`` gives masks a factor, which tickets then hold."""
        return cls.scale is not MaskRule.scale

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        """``grad``, the gradient of the mask, times the slope that the rule gives it in ``scores``; may overwrite."""
        return grad

    def start(self, scores: Tensor, bound: float) -> Tensor:
        """The scores to start from, given standard ones: uniform within ``bound``."""
        return scores

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        """Scores whose mask makes the effective weight as like a given dense one as the rule can.

        inner: of each searched weight the product of its random and its dense value, summed over all the places that
        its score decides; energy: the same of its random value with itself. Both float32, of one shape, which is the
        result's. bound: of the standard scores that ``start`` is given. The closed forms leave the factor between the
        two tensors free: what counts is the cosine. Raises ``ValueError`` where the rule has none.
        """
        raise ValueError(f"the rule {type(self).__name__} cannot imitate dense weights: it has no method `project`")

    @property
    def is_scheduled(self) -> bool:
        """Whether training depends on the number of updates that were made, which ``set_update_`` tells."""
        return type(self).advance is not MaskRule.advance

    @property
    def is_global(self) -> bool:
        """Whether the scores of all tensors are ranked together, by ``selected_together``."""
        return False

    def selected_together(self, scores: Sequence[Tensor], training: bool) -> list[Tensor]:
        """The masks of tensors that are ranked as one; only where the rule ``is_global``."""
        raise NotImplementedError

    def kept(self, n: int) -> Optional[int]:
        """How many of ``n`` weights a mask keeps, where the rule promises a number."""
        return None

    def count_kept(self, ones: int, n: int) -> int:
        """How many of ``n`` weights a mask keeps whose first plane has so many 1s."""
        return ones

    def advance(self, members: Sequence[Member], update: int) -> None:  # noqa: B027  most rules have no schedule
        """Called once before each update, for all tensors of one rule and its options: what a schedule changes."""

    def to_planes(self, mask: npt.NDArray) -> list[Bools]:
        """A flat mask as bits: of each weight whether it is kept, and of those kept whatever else there is to say."""
        return [mask != 0]

    def from_planes(self, planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray:
        """The mask's values again, from zeros and ones."""
        return planes[0]


def check_option(holds: bool, name: str, value: object, must: str) -> None:
    """Raises ``ValueError`` that names the option, unless it holds."""
    if not holds:
        raise ValueError(f"{name} must be {must}, not {value!r}")
