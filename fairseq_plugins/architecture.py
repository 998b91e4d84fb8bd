"""What a ticket says of fairseq's Transformer: its settings, checked, its dictionaries, and the model they give."""

from __future__ import annotations

import io
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from fairseq.modules import SinusoidalPositionalEmbedding
from torch import nn

from one_layer_lt.text.manifest import MODELS
from one_layer_lt.ticket import Ticket, TicketError

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
_BETWEEN = str.maketrans("", "", "-_.")  # the parts of a language's name
_ACTIVATIONS = ("relu", "gelu", "gelu_accurate", "gelu_fast", "tanh", "linear", "swish")


def settings_of(args: Namespace, source: str, target: str, text: Mapping[str, Any] | None) -> dict[str, Any]:
    """The architecture of a ticket, from fairseq's options, the languages and what splits the text into subwords."""
    settings: dict[str, Any] = {name: int(getattr(args, name)) for name in _NUMBERS}
    settings |= {name: bool(getattr(args, name, False)) for name in _FLAGS}
    settings |= {"kind": "fairseq_transformer", "activation_fn": args.activation_fn}
    return {**settings, "source": source, "target": target, "text": text}


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
        if not isinstance(settings[name], str) or not settings[name].translate(_BETWEEN).isalnum():
            raise TicketError(f"its {name} language is {settings[name]!r:.60}, which is none")
    text = settings["text"]
    if text is not None and not (isinstance(text, Mapping) and text.get("tokenizer") in list(MODELS)):
        raise TicketError("does not say how its text is split")
    if "dict.source" not in ticket.assets:
        raise TicketError("lacks its dictionary")
    return settings


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
        raise TicketError(f"its dictionary is damaged ({first_line(error)})") from None
    return dictionary


def first_line(error: Exception) -> str:
    """The first line of what an exception says, or its kind."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _restore_buffers(module: nn.Module) -> None:
    """What fairseq computes on construction, and the device ``meta`` does not hold."""
    if isinstance(module, SinusoidalPositionalEmbedding):
        rows = min(int(module.weights.shape[0]), 1 << 12, (1 << 22) // module.embedding_dim)  # and grow on demand
        module.weights = module.get_embedding(rows, module.embedding_dim, module.padding_idx)
    for name, buffer in module._buffers.items():
        if buffer is not None and buffer.device.type == "meta":
            module._buffers[name] = torch.full(buffer.shape, 3.0 if name == "version" else 0.0)
