"""Tickets of fairseq's Transformer, from checkpoints."""

from __future__ import annotations

from pathlib import Path

from fairseq.checkpoint_utils import load_model_ensemble_and_task
from fairseq.models.transformer import TransformerModel

from one_layer_lt.files import first_folder
from one_layer_lt.text.architecture import settings_of
from one_layer_lt.text.ticket import text_settings
from one_layer_lt.ticket import Ticket, TicketError

from .architecture import first_line

# Options that would change the model in ways that a ticket does not describe.
_UNSUPPORTED = (
    "adaptive_input",
    "adaptive_softmax_cutoff",
    "cross_self_attention",
    "decoder_layers_to_keep",
    "encoder_layers_to_keep",
    "merge_src_tgt_embed",
    "no_cross_attention",
    "quant_noise_pq",
    "quant_noise_scalar",
    "tie_adaptive_weights",
)


def from_checkpoint(checkpoint: Path, data: Path | None = None, subwords: Path | None = None) -> Ticket:
    """The ticket of a checkpoint of ``one_layer_masked``, or of the best one in a folder of them.

    data: the fairseq data folder, for its dictionaries and, if ``data_prep`` made it, its subword model; default: the
        one that the checkpoint names.
    subwords: the sentencepiece model, or the codes of subword-nmt for Moses-tokenised text, where the folder has none.

    Raises ``TicketError`` where it is no masked Transformer, has options that tickets do not carry, or ``subwords`` is
    another model than the folder's; ``OSError`` where a file is missing.
    """
    if checkpoint.is_dir() and (checkpoint / "checkpoint_best.pt").is_file():
        checkpoint /= "checkpoint_best.pt"
    if not checkpoint.is_file():
        raise FileNotFoundError(2, "no such checkpoint", str(checkpoint))
    if data is not None and not data.is_dir():
        raise FileNotFoundError(2, "no such data folder", str(data))
    overrides = {} if data is None else {"data": str(data)}
    try:
        models, cfg, task = load_model_ensemble_and_task([str(checkpoint)], arg_overrides=overrides)
    except FileNotFoundError:
        raise
    except Exception as error:  # fairseq raises what it happens to meet
        raise TicketError(f"{checkpoint} cannot be loaded: {first_line(error)}") from error
    args, model, data = cfg.model, models[0], first_folder(task.cfg.data)
    unsupported = [name for name in _UNSUPPORTED if getattr(args, name, None)]
    if unsupported or not isinstance(model, TransformerModel):
        what = ", ".join(f"--{name.replace('_', '-')}" for name in unsupported) or type(model).__name__
        raise TicketError(f"{checkpoint}: a ticket cannot carry {what}")
    assets = {}
    for side, language in (("source", task.cfg.source_lang), ("target", task.cfg.target_lang)):
        assets[f"dict.{side}"] = (data / f"dict.{language}.txt").read_bytes()
    if assets["dict.source"] == assets["dict.target"]:
        del assets["dict.target"]
    text, model_bytes = text_settings(data, subwords)
    if model_bytes is not None:
        assets["subwords"] = model_bytes
    args.left_pad_source = task.cfg.left_pad_source
    settings = settings_of(args, task.cfg.source_lang, task.cfg.target_lang, text)
    try:
        return Ticket.of(model, settings, assets)
    except ValueError as error:
        raise TicketError(f"{checkpoint}: {error}") from None
