"""The tensors of fairseq's Transformer under its names, to be filled by a ticket where there is no fairseq."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..ticket import Ticket
from .architecture import PAD, checked, vocabularies


def skeleton(ticket: Ticket) -> nn.Module:
    """Modules with fairseq's names, shapes and ties, on the device ``meta``: they hold tensors, and compute nothing.

    Raises ``TicketError`` where the architecture cannot be.
    """
    settings = checked(ticket)
    source, target = vocabularies(ticket)
    with torch.device("meta"):
        encoder = _stack(settings, "encoder", "source", len(source))
        decoder = _stack(settings, "decoder", "target", len(target))
        if settings["share_all_embeddings"]:
            decoder.embed_tokens = encoder.embed_tokens
        width, inner = settings["decoder_output_dim"], settings["decoder_embed_dim"]
        if width != inner:
            decoder.project_out_dim = nn.Linear(inner, width, bias=False)
        decoder.output_projection = output = nn.Linear(width, len(target), bias=False)
        if settings["share_all_embeddings"] or settings["share_decoder_input_output_embed"]:
            output.weight = decoder.get_parameter("embed_tokens.weight")
    return _module(encoder=encoder, decoder=decoder)


def sinusoids(positions: int, width: int) -> Tensor:
    """fairseq's encodings of so many positions, float32, of shape (positions, width).

    Its first positions are those of the special tokens up to padding. Source: fairseq's SinusoidalPositionalEmbedding.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float) * -(math.log(10000) / (half - 1)))
    angles = torch.arange(positions + PAD + 1, dtype=torch.float)[:, None] * rates
    both = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return nn.functional.pad(both, (0, width % 2))[PAD + 1 :]


def _stack(settings: Mapping[str, Any], side: str, text: str, words: int) -> nn.Module:
    width = settings[f"{side}_embed_dim"]
    stack = _module(embed_tokens=_embedding(words, width))
    if settings[f"{side}_learned_pos"] and not settings["no_token_positional_embeddings"]:
        stack.embed_positions = _embedding(settings[f"max_{text}_positions"] + PAD + 1, width)
    if settings["layernorm_embedding"]:
        stack.layernorm_embedding = nn.LayerNorm(width)
    memory = settings["encoder_embed_dim"] if side == "decoder" else None
    inner, layers = settings[f"{side}_ffn_embed_dim"], settings[f"{side}_layers"]
    stack.layers = nn.ModuleList(_layer(width, inner, memory) for _ in range(layers))
    if settings[f"{side}_normalize_before"] and not (side == "decoder" and settings["no_decoder_final_norm"]):
        stack.layer_norm = nn.LayerNorm(width)
    return stack


def _embedding(numbers: int, width: int) -> nn.Embedding:
    # With a weight of its own: to draw one on ``meta``, torch would import its compiler, for as long as all of torch.
    return nn.Embedding(numbers, width, _weight=torch.empty(numbers, width))


def _layer(width: int, inner: int, memory: int | None) -> nn.Module:
    layer = _module(self_attn=_attention(width, width), self_attn_layer_norm=nn.LayerNorm(width))
    if memory is not None:
        layer.encoder_attn, layer.encoder_attn_layer_norm = _attention(width, memory), nn.LayerNorm(width)
    layer.fc1, layer.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
    layer.final_layer_norm = nn.LayerNorm(width)
    return layer


def _attention(width: int, memory: int) -> nn.Module:
    inputs = {"q_proj": width, "k_proj": memory, "v_proj": memory, "out_proj": width}
    return _module(**{name: nn.Linear(size, width) for name, size in inputs.items()})


def _module(**parts: nn.Module) -> nn.Module:
    whole = nn.Module()
    for name, part in parts.items():
        setattr(whole, name, part)
    return whole
