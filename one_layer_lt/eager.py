"""Functions that torch's compiler calls as they are, without looking into them."""

from __future__ import annotations

from functools import wraps
from typing import Any, Callable, TypeVar, cast

import torch

_F = TypeVar("_F", bound=Callable[..., Any])


def eager(function: _F) -> _F:
    """``function`` as ``torch.compile`` must leave it: it breaks the graph there, and goes on behind.

    What ``torch.compiler.disable`` does, without its import of the whole compiler, which takes seconds.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        before = torch._C._dynamo.eval_frame.set_eval_frame(None)
        try:
            return function(*args, **kwargs)
        finally:
            torch._C._dynamo.eval_frame.set_eval_frame(before)

    marked: Any = call
    marked._torchdynamo_disable = True
    return cast(_F, marked)


def is_exporting() -> bool:
    """Whether ``torch.export`` is looking."""
    asked = getattr(torch.compiler, "is_exporting", None)  # from torch 2.7 on
    return bool(asked and asked())


def is_transformed(tensor: torch.Tensor) -> bool:
    """Whether a transform of ``torch.func`` (``grad``, ``vmap``, ...) would see through a function of the tensor."""
    functorch = torch._C._functorch
    if functorch.is_functorch_wrapped_tensor(tensor):
        return True
    return functorch.maybe_current_level() is not None and torch.is_grad_enabled() and tensor.requires_grad
