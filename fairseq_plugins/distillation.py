"""The criterion ``distilled_cross_entropy``: a teacher's predictions as targets, word by word.

fairseq-train DATA --user-dir fairseq_plugins --criterion distilled_cross_entropy --teacher CHECKPOINT ...
"""

import copy
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.checkpoint_utils import load_model_ensemble
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import nn

from one_layer_lt.errors import UserError

from .hidden import distance, layer_outputs
from .output import contiguous_output_
from .stop import stop

# No postponed annotations in this file: fairseq reads the types of the fields.

NAME = "distilled_cross_entropy"


@dataclass
class DistilledCrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options of the criterion ``distilled_cross_entropy``."""

    teacher: Optional[str] = field(default=None, metadata={"help": "checkpoint of a model with the same dictionaries"})
    teacher_weight: float = field(
        default=1.0, metadata={"help": "share of the teacher in the targets, in [0, 1]; the rest is the reference's"}
    )
    hidden_weight: float = field(
        default=0.0,
        metadata={"help": "weight of the distance between this model's layers and the teacher's, which have its sizes"},
    )
    hidden_updates: int = field(
        default=0, metadata={"help": "number of updates in which that distance counts (0: all)"}
    )


@register_criterion(NAME, dataclass=DistilledCrossEntropyConfig)
class DistilledCrossEntropyCriterion(LabelSmoothedCrossEntropyCriterion):
    """Cross-entropy against a mix of the teacher's distribution over words and the label-smoothed reference.

    A teacher's distribution says of every word how good it would be: a less noisy target than the one word that
    somebody wrote. In evaluation mode it is label-smoothed cross-entropy, so that validation compares with other runs'.

    With ``--hidden-weight`` the outputs of all layers are drawn to the teacher's, too: a target in every layer for a
    student that starts as like its teacher as it can.

    Sources: Kim & Rush 2016 (arXiv 1606.07947), section 3.1; Wang et al. 2025 (arXiv 2510.13998).
    """

    def __init__(
        self,
        task: FairseqTask,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int,
        report_accuracy: bool,
        teacher: Optional[str],
        teacher_weight: float,
        hidden_weight: float = 0.0,
        hidden_updates: int = 0,
    ) -> None:
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        if not teacher:
            stop(NAME, "--criterion distilled_cross_entropy needs --teacher CHECKPOINT")
        if not 0 <= teacher_weight <= 1:
            stop(NAME, f"--teacher-weight {teacher_weight}: choose one in [0, 1]")
        if not 0 <= hidden_weight < float("inf"):
            stop(NAME, f"--hidden-weight {hidden_weight}: choose 0 or a positive number")
        if hidden_updates < 0 or (hidden_updates and not hidden_weight):
            stop(NAME, f"--hidden-updates {hidden_updates}: choose 0 or more, and only with --hidden-weight")
        self.path, self.weight = teacher, teacher_weight
        self.hidden_weight, self.hidden_updates = hidden_weight, hidden_updates
        self._outputs: list[torch.Tensor] = []  # of the student's layers
        # In a list, so that the teacher is no part of the criterion, which fairseq would save in every checkpoint.
        self._teacher: list[BaseFairseqModel] = []

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> Any:
        """As fairseq's: (loss, number of target words, what to log)."""
        if not (self.hidden_weight and model.training and self._hidden_counts(model)):
            return super().forward(model, sample, reduce)
        for stack in ("encoder", "decoder"):
            if dropped := getattr(getattr(model, stack), f"{stack}_layerdrop", 0):
                reason = (
                    f"--hidden-weight {self.hidden_weight}: needs all layers; leave out --{stack}-layerdrop {dropped}"
                )
                stop(NAME, reason)
        with layer_outputs(model) as self._outputs:
            result = super().forward(model, sample, reduce)
        self._outputs = []
        return result

    def _hidden_counts(self, model: Any) -> bool:
        return not self.hidden_updates or model.num_updates < self.hidden_updates

    def compute_loss(
        self, model: nn.Module, net_output: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, negative log-likelihood of the reference), summed over words, or of shape (words, 1) each."""
        if not model.training:
            loss: tuple[torch.Tensor, torch.Tensor] = super().compute_loss(model, net_output, sample, reduce)
            return loss
        lprobs, target = self.get_lprobs_and_target(model, net_output, sample)
        own, teacher = self._outputs, self.teacher(sample)
        with torch.no_grad(), layer_outputs(teacher) if own else nullcontext() as theirs:
            mix = self._targets(teacher, sample, target)
        each = -(mix * lprobs).sum(-1, keepdim=True)
        nll = -lprobs.detach().gather(-1, target[:, None]).masked_fill(target.eq(self.padding_idx)[:, None], 0)
        if own and theirs:
            each = (
                each
                + self._hidden(own, theirs, len(teacher.encoder.layers), sample) * target.ne(self.padding_idx)[:, None]
            )
        return (each.sum(), nll.sum()) if reduce else (each, nll)

    def _hidden(
        self, own: list[torch.Tensor], theirs: list[torch.Tensor], encoders: int, sample: dict[str, Any]
    ) -> torch.Tensor:
        """What the layers' distance adds to the loss of each word."""
        if [states.shape for states in own] != [states.shape for states in theirs]:
            stop(
                NAME,
                f"--hidden-weight {self.hidden_weight}: layers of {self.path} differ in number or width: leave it out",
            )
        inputs = sample["net_input"]
        read, written = inputs["src_tokens"].ne(self.padding_idx), inputs["prev_output_tokens"].ne(self.padding_idx)
        masks = [read if layer < encoders else written for layer in range(len(own))]
        return self.hidden_weight * distance(own, theirs, masks)

    def _targets(self, teacher: Any, sample: dict[str, Any], target: torch.Tensor) -> torch.Tensor:
        """Shape (words, vocabulary): distributions, and zeros where there is padding."""
        probs = teacher.get_normalized_probs(teacher(**sample["net_input"]), log_probs=False)
        probs = probs[:, self.ignore_prefix_size :].reshape(len(target), -1)
        if self.weight < 1:
            others = self.eps / (probs.size(-1) - 1)  # as fairseq smooths
            probs.mul_(self.weight).add_((1 - self.weight) * others)
            rest = torch.full_like(probs[:, :1], (1 - self.weight) * (1 - self.eps - others))
            probs.scatter_add_(1, target[:, None], rest)
        return probs.masked_fill_(target.eq(self.padding_idx)[:, None], 0)

    def teacher(self, sample: dict[str, Any]) -> BaseFairseqModel:
        """The teacher, loaded when it is first asked for: evaluating a trained model needs none."""
        if not self._teacher:
            try:
                # A task remembers the model it has built, to translate with in validation: that must stay the student.
                with torch.random.fork_rng(devices=[]):
                    (model,), _ = load_model_ensemble([self.path], task=copy.copy(self.task))
            except OSError:
                stop(NAME, f"--teacher {self.path}: no such checkpoint")
            except (RuntimeError, UserError) as error:
                said = str(error).strip().splitlines()[-1].strip()
                stop(NAME, f"--teacher {self.path}: not a model with the dictionaries of this data: {said}")
            contiguous_output_(model)
            self._teacher.append(model.to(sample["target"].device).eval().requires_grad_(False))
        return self._teacher[0]
