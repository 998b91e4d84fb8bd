"""The fairseq plugin: ``fairseq-train --user-dir fairseq_plugins --arch one_layer_masked ...``."""

from . import archs, distillation, one_layer_masked
from .batches import keep_all_lines
from .checkpoints import allow_fairseq_checkpoints, guard_fairseq
from .finite import stop_where_not_finite
from .training import guard_training

allow_fairseq_checkpoints()
guard_fairseq()
keep_all_lines()
stop_where_not_finite()
guard_training()

__all__ = ["allow_fairseq_checkpoints", "archs", "distillation", "one_layer_masked"]
