"""fairseq's Transformer, and its dictionaries, as a ticket describes them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from fairseq.modules import SinusoidalPositionalEmbedding
from torch import nn

from one_layer_lt.text.architecture import SPECIAL, checked, vocabularies
from one_layer_lt.ticket import Ticket, TicketError

from .output import contiguous_output_


def build(ticket: Ticket) -> nn.Module:
    """fairseq's Transformer of the ticket's architecture, its weights on the device ``meta``: nothing is allocated."""
    settings = checked(ticket)
    source, target = dictionaries(ticket)
    args = Namespace(**settings, encoder_embed_path=None, decoder_embed_path=None, checkpoint_activations=False)
    try:
        with torch.device("meta"):
            model = TransformerModel.build_model(args, Namespace(source_dictionary=source, target_dictionary=target))
    except (AssertionError, ValueError, RuntimeError, ZeroDivisionError, TypeError) as error:
        raise TicketError(f"the ticket's architecture cannot be built ({error or type(error).__name__})") from error
    for module in model.modules():
        _restore_buffers(module)
    contiguous_output_(model)
    return model


def dictionaries(ticket: Ticket) -> tuple[Dictionary, Dictionary]:
    """The source and the target dictionary. Raises ``TicketError`` where one is damaged."""
    source, target = map(_dictionary, vocabularies(ticket))
    return source, target


def _dictionary(tokens: Sequence[str]) -> Dictionary:
    dictionary = Dictionary()
    for token in tokens[len(SPECIAL) :]:
        dictionary.add_symbol(token, overwrite=True)
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
