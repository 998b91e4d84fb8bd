"""The page's Transformer and beam search: fairseq's logits, and fairseq's translations."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")

from fairseq.models import ARCH_CONFIG_REGISTRY

from fairseq_plugins.architecture import dictionaries
from fairseq_plugins.one_layer_masked import OneLayerMaskedModel
from fairseq_plugins.translate import TorchTranslator
from one_layer_lt import Ticket, load_ticket
from one_layer_lt.text.architecture import settings_of
from one_layer_lt.ticket.encoding import to_bytes
from one_layer_lt.translation import Decoding
from tests.web.running import GOLDEN, base64_of, javascript, needs_node

WORDS = load_ticket(GOLDEN / "translation-sentencepiece.ticket")
TEXT = {"tokenizer": "sentencepiece", "lowercase": False, "aggressive": False}
SOURCE, TARGETS = [7, 5, 9, 30, 11, 2], [[2, 6, 9, 12, 5], [2, 20, 4, 8, 8]]

LOGITS = """
const file = openTicket(bytes(given.ticket));
const model = transformer(file.about.architecture, await weightsOf(file, new WeightPool()));
const decoder = model.start(model.encode(given.source));
const found = [];
let paths = given.targets.map(() => []);
for (let place = 0; place < given.targets[0].length; place++) {
  const { logits, seen, first } = decoder.step(given.targets.map((target) => target[place]), paths);
  paths = paths.map((path, i) => [...path, first + i]);
  found.push([[...logits], [...seen]]);
}
return found;
"""

TRANSLATE = """
const { translate } = await translator(bytes(given.ticket), new WeightPool(), never);
const found = [];
for (const line of given.lines) found.push(textOf(await translate(line, given.settings, never)));
return found;
"""

NETS: dict[str, dict[str, Any]] = {
    "post-norm": {},
    "pre-norm": {"encoder_normalize_before": True, "decoder_normalize_before": True},
    "pre-norm of one side, and no final norm": {"decoder_normalize_before": True, "no_decoder_final_norm": True},
    "learnt positions": {"encoder_learned_pos": True, "decoder_learned_pos": True},
    "no positions": {"no_token_positional_embeddings": True, "no_scale_embedding": True},
    "all ties": {"share_all_embeddings": True},
    "no ties": {"share_decoder_input_output_embed": False},
    "norm of embeddings": {"layernorm_embedding": True, "encoder_normalize_before": True},
    "other widths": {
        "decoder_input_dim": 12,
        "decoder_output_dim": 20,
        "encoder_embed_dim": 32,
        "encoder_attention_heads": 4,
        "share_decoder_input_output_embed": False,
    },
    "other depths": {"encoder_layers": 1, "decoder_layers": 3},
    "norms and biases that are trained": {"layer_norm": "affine", "dense_biases": True},
    "an odd width": {
        "encoder_embed_dim": 15,
        "decoder_embed_dim": 15,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
    },
    **{activation: {"activation_fn": activation} for activation in ("gelu", "gelu_accurate", "tanh", "linear")},
    "signs of constants": {"mask_rule": "sign", "random_init": "signed_constant", "width": 64},
    "0/1 masks of constants": {"random_init": "signed_constant", "attention_init": "same", "width": 72},
}


def net(settings: dict[str, Any]) -> Ticket:
    """A small Transformer of masks that mean nothing. ``dense_biases``: vectors are not what a ticket implies."""
    settings = dict(settings)
    width, biases = settings.pop("width", 16), settings.pop("dense_biases", False)
    sizes = {"embed_dim": width, "ffn_embed_dim": 2 * width, "attention_heads": 2, "layers": 2}
    args = Namespace(left_pad_source=True, share_decoder_input_output_embed=True)
    for name, value in {
        f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()
    }.items():
        setattr(args, name, value)
    vars(args).update(settings)
    ARCH_CONFIG_REGISTRY["one_layer_masked_tiny"](args)
    assets = dict(WORDS.assets)
    if not args.share_all_embeddings:
        assets["dict.target"] = b"".join(assets["dict.source"].splitlines(keepends=True)[:-9])
    source, target = dictionaries(replace(WORDS, architecture=vars(args), assets=assets))
    torch.manual_seed(1)
    model = OneLayerMaskedModel.build_model(args, Namespace(source_dictionary=source, target_dictionary=target))
    for name, parameter in model.named_parameters():
        if biases and parameter.dim() == 1:
            parameter.data.normal_(1.0 if name.endswith("weight") else 0.0, 0.3)
        elif parameter.requires_grad:
            parameter.data.normal_()
    return Ticket.of(model.eval(), settings_of(args, "xx", "yy", TEXT), assets)


@needs_node
@pytest.mark.parametrize("name", NETS)
def test_logits_and_attention_are_fairseqs(name: str) -> None:
    ticket = net(NETS[name])
    given = {"ticket": base64_of(to_bytes(ticket)), "source": SOURCE, "targets": TARGETS}
    found = javascript(LOGITS, given)
    source = torch.tensor([SOURCE, SOURCE])
    with torch.no_grad():
        expected, extra = ticket.model()(source, torch.tensor([len(SOURCE)] * 2), torch.tensor(TARGETS))
    for place, (logits, seen) in enumerate(found):
        torch.testing.assert_close(torch.tensor(logits).view(2, -1), expected[:, place], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.tensor(seen).view(2, -1), extra["attn"][0][:, place], rtol=1e-4, atol=1e-5)
    assert float(expected.std()) > 0.1


@needs_node
@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(beam=1, max_len_b=30),
        Decoding(beam=5, max_len_b=30),
        Decoding(beam=4, length_penalty=-2.5, max_len_b=30),
        Decoding(beam=3, length_penalty=4.0, max_len_b=30),
        Decoding(beam=2, max_len_b=3),
        Decoding(beam=5, max_len_b=1),
    ],
    ids=["greedy", "wide", "short", "long", "cut", "one subword"],
)
def test_translations_are_fairseqs(decoding: Decoding) -> None:
    lines = [
        "Alpha bravo charlie.",
        "Hotel golf delta echo foxtrot.",
        "Golf.",
        "",
        "Echo echo  \u00a0 alpha hotel?",
        "日本 alpha",
    ]
    settings = {"beam": decoding.beam, "penalty": decoding.length_penalty, "longest": decoding.max_len_b}
    found = javascript(TRANSLATE, {"ticket": base64_of(to_bytes(WORDS)), "lines": lines, "settings": settings})
    expected = TorchTranslator(WORDS, WORDS.model()).translate(lines, decoding)
    assert found == expected
    assert len(set(expected)) > 3


@needs_node
def test_a_line_too_long_goes_in_the_same_parts() -> None:
    short = replace(WORDS, architecture={**WORDS.architecture, "max_source_positions": 9})
    lines = ["Alpha bravo charlie delta echo foxtrot golf hotel.", "Golf."]
    given = {"ticket": base64_of(to_bytes(short)), "lines": lines, "settings": {"beam": 2, "penalty": 1, "longest": 30}}
    translator = TorchTranslator(short, short.model())
    assert javascript(TRANSLATE, given) == translator.translate(lines, Decoding(beam=2, max_len_b=30))


@needs_node
def test_what_the_page_cannot_run_is_said() -> None:
    kinds = ("translation-moses-bpe", "vision", "tiles")
    code = """
    const run = (ticket) => translator(bytes(ticket), new WeightPool(), never);
    return Promise.all(given.map((ticket) => run(ticket).then(() => "", (error) => error.message)));
    """
    said = javascript(code, [base64_of((GOLDEN / f"{kind}.ticket").read_bytes()) for kind in kinds])
    assert "`one-layer-lt translate` runs it" in said[0]
    assert said[1:] == ["it is no translator"] * 2
