"""The model ``one_layer_masked``: fairseq's own Transformer, converted.

fairseq-train DATA --user-dir fairseq_plugins --arch one_layer_masked ...
"""

from __future__ import annotations

import copy
import logging
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import register_model
from fairseq.models.transformer import TransformerModel
from fairseq.tasks import FairseqTask
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from one_layer_lt import MaskConfig, cached_weights, fold_, mask_, project_, set_update_
from one_layer_lt.convert import PADDING
from one_layer_lt.precision import bf16_or_warn
from one_layer_lt.pruning import fold_pruned_, prunable_
from one_layer_lt.record import OtherWeights
from one_layer_lt.rounding import fold_rounded_, round_weights_

from .belonging import KEY as BELONGING
from .belonging import (
    DoesNotBelong,
    belonging,
    by_flag,
    check_belonging,
    check_kind,
    check_logit_scale,
    is_of_other_text,
)
from .embeddings import check_embedding_files
from .masking import check_kinds, configure, in_flags, mask_config
from .old_names import add_old_names
from .options import MaskOptions, set_defaults
from .output import contiguous_output_
from .stop import stop
from .twin import fitted_scales, load_twin, plain_, report, resume_

logger = logging.getLogger(__name__)
warnings.filterwarnings("ignore", PADDING)  # fairseq's Transformer passes over padding by itself

NAME = "one_layer_masked"


@register_model(NAME)
class OneLayerMaskedModel(TransformerModel):
    """A Transformer whose layers reuse one random weight per projection under masks of their own.

    Source: Shen et al. 2021 (arXiv 2109.03939).
    """

    cpu_bf16 = False
    num_updates = 0
    of_other_text = False  # than the loaded checkpoint
    trained_on: torch.Tensor

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        super().add_args(parser)
        gen_parser_from_dataclass(parser, MaskOptions(), delete_default=True, with_prefix="")
        add_old_names(parser)

    @classmethod
    def build_model(cls, args: Namespace, task: FairseqTask) -> OneLayerMaskedModel:
        """Build fairseq's Transformer from ``args`` and convert it. A bad option ends the program in one line."""
        try:
            set_defaults(args)
            config = mask_config(args)
            check_embedding_files(args, task)
        except (ValueError, OSError) as error:
            stop(NAME, error)
        model: OneLayerMaskedModel = super().build_model(args, task)
        model.trained_on = belonging(task, args)
        model.cpu_bf16 = args.cpu_bf16 and bf16_or_warn("--cpu-bf16")
        _scale_logits(model, args.logit_scale)
        if args.prunable:
            prunable_(model)
        if args.train_bits is not None:
            round_weights_(model, args.train_bits)
        if args.dense:
            if args.twin:
                plain_(model)
            return model
        decoder = model.decoder
        tied = decoder.output_projection is not None and (
            decoder.output_projection.weight is decoder.embed_tokens.weight
        )
        try:
            check_kinds(args, tied)
        except ValueError as error:
            stop(NAME, error)
        trained = _trained_by_name(args, model)
        if args.scores_from and not getattr(args, "scores_in_checkpoint", False):
            resume_(args)
        try:
            if args.scores_from and not getattr(args, "scores_in_checkpoint", False):
                _mask_like_twin_(model, args, config, tied, trained)
            else:
                mask_(model, configure=configure(args, config, tied), trainable=trained)
        except ValueError as error:
            stop(NAME, in_flags(error, per_kind=True))
        except OSError as error:
            stop(NAME, error)
        contiguous_output_(model)
        # The checkpoint holds the pre-trained vectors: it must not ask for their file again.
        args.encoder_embed_path = args.decoder_embed_path = None
        args.embeddings_in_checkpoint = True
        return model

    def get_extra_state(self) -> torch.Tensor:
        """What the state dict says of the data: uint8."""
        return self.trained_on

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Compare it with the data at hand."""
        check_belonging(self.trained_on, state)
        self.of_other_text = is_of_other_text(self.trained_on, state)

    def load_state_dict(self, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As fairseq's. Raises ``DoesNotBelong`` where other masks, weights, logit scale or data were trained with."""
        if BELONGING not in state_dict:
            logger.warning(
                "the checkpoint does not say what data it was trained on (an early version saved it): see to that"
            )
            state_dict = {**state_dict, BELONGING: self.trained_on}
        try:
            check_kind(self.state_dict().keys(), state_dict.keys())
            name, norm = last_norm(self)
            check_logit_scale(norm, state_dict.get(f"{name}.weight"))
            return super().load_state_dict(state_dict, *args, **kwargs)
        except OtherWeights as error:
            raise DoesNotBelong(by_flag(error)) from error

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As fairseq's Transformer: (logits of shape (batch, length, vocabulary), extra)."""
        with cached_weights(), self._precision():
            return super().forward(*args, **kwargs)

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq's clock, for the rules that have a schedule."""
        super().set_num_updates(num_updates)
        self.num_updates = num_updates
        set_update_(self, num_updates)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        if not self.cpu_bf16 or next(self.parameters()).device.type != "cpu":
            yield
            return
        # At sentence lengths, torch's fused bfloat16 attention is several times slower on CPU than the plain one.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            yield

    def make_generation_fast_(self, **kwargs: Any) -> None:
        """Fold: generation then costs what a dense Transformer's does."""
        super().make_generation_fast_(**kwargs)
        fold_(self)
        fold_pruned_(self)
        fold_rounded_(self)


def _mask_like_twin_(
    model: TransformerModel, args: Namespace, config: MaskConfig, tied: bool, trained: Collection[str]
) -> None:
    """Mask in place, with scores that imitate the twin; ``args`` keeps the scales that were fitted."""
    twin = load_twin(args.scores_from, model)
    if not args.weight_scale_per_kind:
        trial = copy.deepcopy(model)
        mask_(trial, configure=configure(args, config, tied))
        args.weight_scale_per_kind = fitted_scales(trial, project_(trial, twin))
    mask_(model, configure=configure(args, config, tied), trainable=trained)
    found = project_(model, twin)
    args.scores_in_checkpoint = True
    logger.info("--scores-from %s: cosines to its weights: %s", args.scores_from, report(found))


def last_norm(model: TransformerModel) -> tuple[str, nn.LayerNorm]:
    """The decoder's last layer norm, and its name."""
    decoder = model.decoder
    if decoder.layer_norm is not None:
        return "decoder.layer_norm", decoder.layer_norm
    return f"decoder.layers.{len(decoder.layers) - 1}.final_layer_norm", decoder.layers[-1].final_layer_norm


def _scale_logits(model: TransformerModel, factor: float) -> None:
    """Without affine layer norms, masked random weights bound how sharp predictions can be."""
    with torch.no_grad():
        last_norm(model)[1].weight.mul_(factor)


def _trained_by_name(args: Namespace, model: nn.Module) -> list[str]:
    """Names of the parameters, other than scores, that the options ask to train."""
    wanted = set()
    for name, module in model.named_modules():
        if args.layer_norm == "affine" and hasattr(module, "normalized_shape"):
            wanted |= {f"{name}.weight", f"{name}.bias"}
        if args.embeddings == "trained" and name.endswith((".embed_tokens", ".output_projection")):
            wanted.add(f"{name}.weight")
    return [name for name, _ in model.named_parameters() if name in wanted]
