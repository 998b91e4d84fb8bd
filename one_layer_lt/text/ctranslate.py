"""A ticket's Transformer in CTranslate2: as the specification that it writes and runs, and as a translator."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..optional import need
from ..ticket import Ticket, TicketError
from ..translation import Decoding, Progress
from .architecture import PAD, SPECIAL, vocabularies
from .transformer import sinusoids, skeleton
from .translator import SubwordTranslator

PACKAGE, EXTRA = "ctranslate2", "translate"
QUANTIZATIONS = ("int8", "int8_float32", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")

_ACTIVATIONS = {  # fairseq's name -> CTranslate2's
    "gelu": "GELU",
    "gelu_accurate": "GELUTanh",
    "gelu_fast": "GELUTanh",
    "relu": "RELU",
    "swish": "SWISH",
}
_SENTENCES = 256  # handed over at a time, so that progress can be told

Tensors = Mapping[str, "np.ndarray[Any, Any]"]


class CTranslator(SubwordTranslator):
    """CTranslate2 on the folded model, float32 unless ``quantization`` says otherwise; torch's number of threads."""

    def __init__(self, ticket: Ticket, quantization: str | None = None) -> None:
        super().__init__(ticket)
        self.most = ticket.architecture["max_target_positions"] - 1
        with tempfile.TemporaryDirectory() as folder:
            write(ticket, Path(folder), quantization)
            translator = need(PACKAGE, EXTRA).Translator
            self.model = translator(folder, device="cpu", intra_threads=torch.get_num_threads())

    def search(self, sentences: Sequence[Sequence[str]], decoding: Decoding, progress: Progress) -> list[str]:
        order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
        found = [""] * len(sentences)
        for start in range(0, len(order), _SENTENCES):
            chunk = order[start : start + _SENTENCES]
            longest = len(sentences[chunk[-1]])
            results = self.model.translate_batch(
                [list(sentences[index]) for index in chunk],
                max_batch_size=decoding.max_tokens,
                batch_type="tokens",
                beam_size=decoding.beam,
                length_penalty=decoding.length_penalty,
                max_decoding_length=min(self.most, int(decoding.max_len_a * longest + decoding.max_len_b)),
                max_input_length=0,
            )
            for index, result in zip(chunk, results):
                found[index] = " ".join(result.hypotheses[0])
            progress(len(chunk))
        return found

    def nats(self, lines: Sequence[str], references: Sequence[str], max_tokens: int = 8000) -> tuple[float, int]:
        """The negative log-likelihood of raw references, given their raw sources: in all, and of how many subwords.

        The end of a sentence counts as one. Pairs that the model has no positions for are left out.
        """
        pairs = zip(self.text.split(lines), self.text.split(references, self.text.target))
        fitting = [(ours, theirs) for ours, theirs in pairs if len(ours) <= self.longest and len(theirs) <= self.most]
        sources, targets = ([pair[side] for pair in fitting] for side in (0, 1))
        found = self.model.score_batch(
            sources, targets, max_batch_size=max_tokens, batch_type="tokens", max_input_length=0
        )
        return -sum(sum(one.log_probs) for one in found), sum(len(one.log_probs) for one in found)


def unheld(settings: Mapping[str, Any]) -> str:
    """What of a ticket's architecture CTranslate2 cannot hold; empty where it holds all."""
    if settings["activation_fn"] not in _ACTIVATIONS:
        return f"the activation {settings['activation_fn']}"
    if settings["no_token_positional_embeddings"]:
        return "a model that knows no positions"
    if settings["decoder_output_dim"] != settings["decoder_embed_dim"]:
        return "an output of another width than the decoder"
    return ""


def write(ticket: Ticket, folder: Path, quantization: str | None = None) -> None:
    """Write the files of a CTranslate2 model into ``folder``.

    quantization: of ``QUANTIZATIONS``; default: float32.

    Raises ``TicketError`` where CTranslate2 cannot hold the model, ``MissingPackage`` where it is not installed.
    """
    if quantization not in (None, *QUANTIZATIONS):
        raise ValueError(f"unknown quantization {quantization!r}; choose one of: {', '.join(QUANTIZATIONS)}")
    spec = specification(ticket)
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))


def specification(ticket: Ticket) -> Any:
    """CTranslate2's ``TransformerSpec`` with the ticket's weights, float32, and vocabularies. Errors as ``write``'s."""
    model, settings = skeleton(ticket), ticket.architecture
    if reason := unheld(settings):
        raise TicketError(f"CTranslate2 cannot hold it: {reason}")
    specs = need(f"{PACKAGE}.specs", EXTRA)
    ticket.fill_(model)
    tensors = {name: tensor.numpy() for name, tensor in model.named_parameters(remove_duplicate=False)}
    of_decoder = {"no_final_norm": settings["no_decoder_final_norm"], "alignment_heads": 0}
    encoder, decoder = (
        new(
            settings[f"{side}_layers"],
            settings[f"{side}_attention_heads"],
            pre_norm=settings[f"{side}_normalize_before"],
            activation=specs.Activation[_ACTIVATIONS[settings["activation_fn"]]],
            layernorm_embedding=settings["layernorm_embedding"],
            **more,
        )
        for side, new, more in (
            ("encoder", specs.TransformerEncoderSpec, {}),
            ("decoder", specs.TransformerDecoderSpec, of_decoder),
        )
    )
    spec = specs.TransformerSpec(encoder, decoder)
    encoder.embeddings[0].weight = tensors["encoder.embed_tokens.weight"]
    decoder.embeddings.weight = tensors["decoder.embed_tokens.weight"]
    _linear(decoder.projection, tensors, "decoder.output_projection")
    for side, text, stack in (("encoder", "source", encoder), ("decoder", "target", decoder)):
        width, positions = settings[f"{side}_embed_dim"], settings[f"max_{text}_positions"]
        learned = tensors.get(f"{side}.embed_positions.weight")
        stack.position_encodings.encodings = (
            sinusoids(positions, width).numpy() if learned is None else learned[PAD + 1 :]
        )
        stack.scale_embeddings = 1.0 if settings["no_scale_embedding"] else math.sqrt(width)
        for name in ("layer_norm", "layernorm_embedding"):
            if f"{side}.{name}.weight" in tensors:
                _norm(getattr(stack, name), tensors, f"{side}.{name}")
        for number, layer in enumerate(stack.layer):
            _layer(layer, tensors, f"{side}.layers.{number}")
    source, target = vocabularies(ticket)
    spec.register_source_vocabulary(_vocabulary(source))
    spec.register_target_vocabulary(_vocabulary(target))
    spec.config.decoder_start_token = spec.config.eos_token  # as fairseq begins
    spec.config.add_source_eos = True
    return spec


def _vocabulary(tokens: Sequence[str]) -> list[str]:
    """With CTranslate2's name for padding."""
    return ["<blank>" if token == SPECIAL[PAD] else token for token in tokens]


def _layer(spec: Any, tensors: Tensors, name: str) -> None:
    _linear(spec.self_attention.linear[0], tensors, *(f"{name}.self_attn.{kind}_proj" for kind in "qkv"))
    _linear(spec.self_attention.linear[1], tensors, f"{name}.self_attn.out_proj")
    _norm(spec.self_attention.layer_norm, tensors, f"{name}.self_attn_layer_norm")
    if hasattr(spec, "attention"):
        _linear(spec.attention.linear[0], tensors, f"{name}.encoder_attn.q_proj")
        _linear(spec.attention.linear[1], tensors, *(f"{name}.encoder_attn.{kind}_proj" for kind in "kv"))
        _linear(spec.attention.linear[2], tensors, f"{name}.encoder_attn.out_proj")
        _norm(spec.attention.layer_norm, tensors, f"{name}.encoder_attn_layer_norm")
    _linear(spec.ffn.linear_0, tensors, f"{name}.fc1")
    _linear(spec.ffn.linear_1, tensors, f"{name}.fc2")
    _norm(spec.ffn.layer_norm, tensors, f"{name}.final_layer_norm")


def _linear(spec: Any, tensors: Tensors, *names: str) -> None:
    """One linear map, of several one above the other."""
    spec.weight = np.concatenate([tensors[f"{name}.weight"] for name in names])
    if f"{names[0]}.bias" in tensors:
        spec.bias = np.concatenate([tensors[f"{name}.bias"] for name in names])


def _norm(spec: Any, tensors: Tensors, name: str) -> None:
    spec.gamma, spec.beta = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
