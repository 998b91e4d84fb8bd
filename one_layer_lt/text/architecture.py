"""What a ticket says of fairseq's Transformer: its settings, checked, and its vocabularies. It takes no fairseq."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from ..ticket import Ticket, TicketError
from .manifest import MODELS

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # how each of fairseq's dictionaries begins
PAD = SPECIAL.index("<pad>")

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
        raise TicketError(f"the ticket's architecture must have just {', '.join(sorted(expected))}")
    for name, most in _NUMBERS.items():
        least = 2 if name.endswith("positions") else 1  # a sentence has an end
        if type(settings[name]) is not int or not least <= settings[name] <= most:
            raise TicketError(
                f"the ticket's architecture has {name} {settings[name]!r:.60}, which must be within {least} and "
                f"{most:,}"
            )
    for name in _FLAGS:
        if type(settings[name]) is not bool:
            raise TicketError(
                f"the ticket's architecture has {name} {settings[name]!r:.60}, which must be true or false"
            )
    if settings["activation_fn"] not in _ACTIVATIONS:
        raise TicketError(f"the ticket's architecture has the unknown activation {settings['activation_fn']!r:.60}")
    matrices = sum(1 + len(mask.also) for mask in ticket.masks) + len(ticket.dense)
    if 4 * (settings["encoder_layers"] + settings["decoder_layers"]) > matrices:  # an attention alone has 4
        raise TicketError("the ticket has more layers than tensors")
    for name in ("source", "target"):
        if not isinstance(settings[name], str) or not settings[name].translate(_BETWEEN).isalnum():
            raise TicketError(f"the ticket's {name} language is {settings[name]!r:.60}, which is none")
    text = settings["text"]
    if text is not None and not (isinstance(text, Mapping) and text.get("tokenizer") in list(MODELS)):
        raise TicketError("the ticket does not say how its text is split: export it again")
    if "dict.source" not in ticket.assets:
        raise TicketError("the ticket lacks its dictionary: export it again")
    if reason := _cannot_be_built(settings):
        raise TicketError(f"the ticket's architecture cannot be built ({reason})")
    return settings


def vocabularies(ticket: Ticket) -> tuple[list[str], list[str]]:
    """The tokens of the source and of the target, in the order of their numbers, as fairseq reads its dictionaries.

    Raises ``TicketError`` where one is damaged, or where there are two for embeddings that are shared.
    """
    source = _tokens(ticket.assets["dict.source"])
    target = _tokens(ticket.assets["dict.target"]) if "dict.target" in ticket.assets else source
    if ticket.architecture["share_all_embeddings"] and source != target:
        raise TicketError("the ticket shares all embeddings, but has two dictionaries: export it again")
    return source, target


def _tokens(content: bytes) -> list[str]:
    tokens, held = list(SPECIAL), set(SPECIAL)
    try:
        *lines, last = content.decode("utf-8").split("\n")
        for line in [*lines, last] if last else lines:
            token, count = line.rstrip().rsplit(" ", 1)
            if again := count == "#fairseq:overwrite":
                token, count = token.rsplit(" ", 1)
            if token in held and not again:
                raise ValueError(f"it has {token!r:.60} twice")
            int(count)  # which nothing here needs: without one it is no dictionary
            tokens.append(token)
            held.add(token)
    except ValueError as error:
        raise TicketError(f"the ticket's dictionary is damaged ({error!s:.200})") from None
    return tokens


def _cannot_be_built(settings: Mapping[str, Any]) -> str:
    """Why there is no Transformer of these settings; empty where there is one."""
    for side in ("encoder", "decoder"):
        width, heads = settings[f"{side}_embed_dim"], settings[f"{side}_attention_heads"]
        if width % heads:
            return f"{side}_attention_heads {heads} does not divide {side}_embed_dim {width}"
        sinusoids = not (settings[f"{side}_learned_pos"] or settings["no_token_positional_embeddings"])
        if sinusoids and width < 4:
            return f"{side}_embed_dim {width} is too narrow for the sinusoids of positions"
    if settings["share_all_embeddings"] and settings["encoder_embed_dim"] != settings["decoder_embed_dim"]:
        return "it shares all embeddings, but encoder_embed_dim is not decoder_embed_dim"
    return ""
