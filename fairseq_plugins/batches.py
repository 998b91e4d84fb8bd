"""No line is lost.

fairseq leaves out the last batch, which has the longest lines, where its size is no multiple of
``--required-batch-size-multiple``, by default 8.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer


def keep_all_lines() -> None:
    """Let fairseq's validation and generation batch any number of sentences; training's batches stay as they are."""
    batches, train = FairseqTask.get_batch_iterator, Trainer.get_train_iterator
    if hasattr(batches, "__wrapped__"):
        return

    @wraps(batches)
    def all_of_them(task: FairseqTask, *args: Any, **kwargs: Any) -> Any:
        return batches(task, *args, **{**kwargs, "required_batch_size_multiple": 1})

    @wraps(train)
    def as_they_were(trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        trainer.task.get_batch_iterator = partial(batches, trainer.task)
        try:
            return train(trainer, *args, **kwargs)
        finally:
            del trainer.task.get_batch_iterator

    FairseqTask.get_batch_iterator, Trainer.get_train_iterator = all_of_them, as_they_were
