"""Tickets of fairseq's Transformer: from a checkpoint, and back to a model. ``one_layer_lt`` calls this by name."""

from __future__ import annotations

import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq.checkpoint_utils import load_model_ensemble_and_task
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from fairseq.modules import SinusoidalPositionalEmbedding
from torch import nn

from one_layer_lt.text.manifest import MODELS
from one_layer_lt.text.ticket import text_settings
from one_layer_lt.ticket import Ticket, TicketError
from one_layer_lt.translation import Translator

from .output import contiguous_output_

# Of fairseq's options, those that decide what the model computes: name, type, least, most.
_MOST_WIDTH, _MOST_POSITIONS = 1 << 16, 1 << 20
_NUMBERS = {
    **{
        f"{side}_{name}": most
        for side in ("encoder", "decoder")
        for name, most in {
            "embed_dim": _MOST_WIDTH,
            "ffn_embed_dim": 4 * _MOST_WIDTH,
            "attention_heads": _MOST_WIDTH,
            "layers": 1 << 10,
        }.items()
    },
    "decoder_input_dim": _MOST_WIDTH,
    "decoder_output_dim": _MOST_WIDTH,
    "max_source_positions": _MOST_POSITIONS,
    "max_target_positions": _MOST_POSITIONS,
}
_FLAGS = (
    "encoder_normalize_before",
    "decoder_normalize_before",
    "encoder_learned_pos",
    "decoder_learned_pos",
    "share_all_embeddings",
    "share_decoder_input_output_embed",
    "no_token_positional_embeddings",
    "no_scale_embedding",
    "no_decoder_final_norm",
    "layernorm_embedding",
    "left_pad_source",
)
_ACTIVATIONS = ("relu", "gelu", "gelu_accurate", "gelu_fast", "tanh", "linear", "swish")
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
    """The ticket of a checkpoint of ``one_layer_masked``.

    data: the fairseq data folder, for its dictionaries and, if ``data_prep`` made it, its subword model; default: the
        one that the checkpoint names.
    subwords: the sentencepiece model, or the codes of subword-nmt for Moses-tokenised text, where the folder has none.

    Raises ``TicketError`` where it is no masked Transformer, or has options that tickets do not carry; ``OSError``
    where a file is missing.
    """
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
        raise TicketError(f"{checkpoint} cannot be loaded: {_first_line(error)}") from error
    args, model, data = cfg.model, models[0], Path(task.cfg.data)
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


def settings_of(args: Namespace, source: str, target: str, text: Mapping[str, Any] | None) -> dict[str, Any]:
    """The architecture of a ticket, from fairseq's options, the languages and what splits the text into subwords."""
    settings: dict[str, Any] = {name: int(getattr(args, name)) for name in _NUMBERS}
    settings |= {name: bool(getattr(args, name, False)) for name in _FLAGS}
    settings |= {"kind": "fairseq_transformer", "activation_fn": args.activation_fn}
    return {**settings, "source": source, "target": target, "text": text}


def build(ticket: Ticket) -> nn.Module:
    """fairseq's Transformer of the ticket's architecture, its weights on the device ``meta``: nothing is allocated."""
    settings = checked(ticket)
    source, target = dictionaries(ticket)
    if settings["share_all_embeddings"] and source != target:
        raise TicketError("shares all embeddings, but has two dictionaries")
    args = Namespace(**settings, encoder_embed_path=None, decoder_embed_path=None, checkpoint_activations=False)
    try:
        with torch.device("meta"):
            model = TransformerModel.build_model(args, Namespace(source_dictionary=source, target_dictionary=target))
    except (AssertionError, ValueError, RuntimeError, ZeroDivisionError, TypeError) as error:
        raise TicketError(f"its architecture cannot be built ({error or type(error).__name__})") from error
    for module in model.modules():
        _restore_buffers(module)
    contiguous_output_(model)
    return model


def translator(ticket: Ticket, engine: str, quantization: str | None, model: nn.Module | None) -> Translator:
    """The translator of a ticket by the engine ``torch`` or ``ctranslate2``."""
    checked(ticket)
    if engine == "torch":
        from .translate import TorchTranslator

        return TorchTranslator(ticket, model if model is not None else ticket.model())
    if engine == "ctranslate2":
        from .ctranslate import CTranslator

        return CTranslator(ticket, quantization)
    raise ValueError(f"unknown engine {engine!r}; choose one of: torch, ctranslate2")


def fold(ticket: Ticket, folder: Path, to: str, quantization: str | None) -> None:
    """Write the dense model and its assets for ``fairseq`` or ``ctranslate2``."""
    checked(ticket)
    from . import fold

    fold.to_folder(ticket, folder, to, quantization)


def checked(ticket: Ticket) -> dict[str, Any]:
    """The settings of the architecture, each of its type and within bounds. Raises ``TicketError`` otherwise."""
    settings = dict(ticket.architecture)
    expected = {"kind", "activation_fn", "source", "target", "text", *_NUMBERS, *_FLAGS}
    if set(settings) != expected:
        raise TicketError(f"its architecture must have just {', '.join(sorted(expected))}")
    for name, most in _NUMBERS.items():
        least = 2 if name.endswith("positions") else 1  # a sentence has an end
        if type(settings[name]) is not int or not least <= settings[name] <= most:
            raise TicketError(
                f"its architecture has {name} {settings[name]!r:.60}, which must be within {least} and {most:,}"
            )
    for name in _FLAGS:
        if type(settings[name]) is not bool:
            raise TicketError(f"its architecture has {name} {settings[name]!r:.60}, which must be true or false")
    if settings["activation_fn"] not in _ACTIVATIONS:
        raise TicketError(f"its architecture has the unknown activation {settings['activation_fn']!r:.60}")
    if settings["encoder_layers"] + settings["decoder_layers"] > len(ticket.masks) + len(ticket.dense):
        raise TicketError("has more layers than tensors")
    for name in ("source", "target"):
        if not isinstance(settings[name], str) or not settings[name].replace("-", "").replace("_", "").isalnum():
            raise TicketError(f"its {name} language is {settings[name]!r:.60}, which is none")
    text = settings["text"]
    if text is not None and not (isinstance(text, Mapping) and text.get("tokenizer") in list(MODELS)):
        raise TicketError("does not say how its text is split")
    if "dict.source" not in ticket.assets:
        raise TicketError("lacks its dictionary")
    return settings


def dictionaries(ticket: Ticket) -> tuple[Dictionary, Dictionary]:
    """The source and the target dictionary."""
    source = _dictionary(ticket.assets["dict.source"])
    target = ticket.assets.get("dict.target")
    return source, source if target is None else _dictionary(target)


def _dictionary(content: bytes) -> Dictionary:
    dictionary = Dictionary()
    try:
        dictionary.add_from_file(io.StringIO(content.decode("utf-8")))
    except (ValueError, RuntimeError) as error:
        raise TicketError(f"its dictionary is damaged ({_first_line(error)})") from None
    return dictionary


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _restore_buffers(module: nn.Module) -> None:
    """What fairseq computes on construction, and the device ``meta`` does not hold."""
    if isinstance(module, SinusoidalPositionalEmbedding):
        rows = min(int(module.weights.shape[0]), 1 << 12, (1 << 22) // module.embedding_dim)  # and grow on demand
        module.weights = module.get_embedding(rows, module.embedding_dim, module.padding_idx)
    for name, buffer in module._buffers.items():
        if buffer is not None and buffer.device.type == "meta":
            module._buffers[name] = torch.full(buffer.shape, 3.0 if name == "version" else 0.0)
