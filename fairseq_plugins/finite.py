"""fairseq's training ends where a loss or a tensor is no longer finite, in one line, and with its last checkpoint kept.

An update costs nothing more: fairseq itself looks at the norm of the gradients, and the tensors are looked at when a
checkpoint is about to be written.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import wraps
from typing import Any

from fairseq import trainer
from fairseq.trainer import Trainer

from one_layer_lt.finite import DIVERGED, not_finite, spoilt

from .stop import stop

_MEND = f"{DIVERGED}; the last checkpoint is kept"


def stop_where_not_finite() -> None:
    """Make fairseq's trainer so."""
    if getattr(Trainer.save_checkpoint, "is_guarded", False):
        return
    save, step = Trainer.save_checkpoint, Trainer.train_step

    @wraps(save)
    def save_checkpoint(self: Any, filename: str, extra_state: dict[str, Any]) -> Any:
        at = f"after update {self.get_num_updates()}"
        if name := spoilt(self.get_model()):
            stop("fairseq-train", f"{name} is not finite {at}: {_MEND}")
        loss = extra_state.get("val_loss")
        if isinstance(loss, float) and not math.isfinite(loss):
            stop("fairseq-train", f"the validation score is {loss} {at}: {_MEND}")
        return save(self, filename, extra_state)

    @wraps(step)
    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return step(self, *args, **kwargs)
        except FloatingPointError as error:  # with the gradients at hand
            model = self.get_model()
            name = spoilt(model) or not_finite((name, weight.grad) for name, weight in model.named_parameters())
            said = f", of {name}" if name else ""
            stop("fairseq-train", f"{error}{said}, after update {self.get_num_updates()}: {_MEND}")

    # fairseq's own search for the place fails on outputs without tensors; without it, the update is made once more, and
    # its gradients are looked at here.
    trainer.NanDetector = lambda model: nullcontext()
    save_checkpoint.is_guarded = True  # type: ignore[attr-defined]
    Trainer.save_checkpoint, Trainer.train_step = save_checkpoint, train_step
