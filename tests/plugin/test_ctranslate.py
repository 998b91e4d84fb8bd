"""CTranslate2's model of a ticket, made without fairseq, against the one that its own converter makes of fairseq's."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY

from fairseq_plugins.architecture import dictionaries
from fairseq_plugins.fold import to_folder
from fairseq_plugins.one_layer_masked import OneLayerMaskedModel
from one_layer_lt import Ticket, TicketError
from one_layer_lt.text.architecture import settings_of, vocabularies
from one_layer_lt.text.ctranslate import specification, write
from one_layer_lt.text.transformer import skeleton
from tests.support.translators import BOTH, vars_of

pytest.importorskip("ctranslate2")

SIZES = {"embed_dim": 16, "ffn_embed_dim": 32, "attention_heads": 2, "layers": 2}
BEFORE = {"encoder_normalize_before": True, "decoder_normalize_before": True}
LEARNED = {"encoder_learned_pos": True, "decoder_learned_pos": True, "max_source_positions": 9}
NARROW = {"decoder_embed_dim": 12, "decoder_input_dim": 12, "decoder_output_dim": 12, "decoder_layers": 3}
ODD = {f"{side}_{name}": size for side in BOTH for name, size in (("embed_dim", 15), ("attention_heads", 3))}

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all embeddings shared": {"share_all_embeddings": True},
    "no embedding shared": {"share_decoder_input_output_embed": False},
    "pre-norm": BEFORE,
    "learnt positions": LEARNED,
    "learnt positions in the decoder": {"decoder_learned_pos": True},
    "embeddings not scaled": {"no_scale_embedding": True},
    "norm of embeddings": {"layernorm_embedding": True, **BEFORE},
    "trained norms": {"layer_norm": "affine"},
    "trained pre-norms": {"layer_norm": "affine", "logit_scale": 2.0, **BEFORE},
    "trained embeddings": {"embeddings": "trained", "share_decoder_input_output_embed": False},
    "scaled logits": {"logit_scale": 2.5, "query_key_scale": "auto"},
    "biases": {"biases": True, "layer_norm": "affine", "layernorm_embedding": True},
    "signs": {"mask_rule": "sign", "random_init": "signed_constant", "share_masks": "both"},
    "another width in the decoder": NARROW,
    "an odd width": ODD,
    **{name: {"activation_fn": name, "share_weights": "vector"} for name in ("gelu", "gelu_accurate", "gelu_fast")},
    "swish": {"activation_fn": "swish", "mask_rescale": "row"},
}
# What CTranslate2 holds, and its converter does not read.
FURTHER: dict[str, dict[str, Any]] = {
    "norms that differ": {"decoder_normalize_before": True},
    "heads that differ": {"decoder_attention_heads": 4},
    "no last norm": {**BEFORE, "no_decoder_final_norm": True},
}


def ticket_of(biases: bool = False, **settings: Any) -> Ticket:
    """A ticket of a tiny translator whose scores, and whatever else is trained, are random."""
    args = Namespace(left_pad_source=True, **settings)
    for side in BOTH:
        for name, size in SIZES.items():
            setattr(args, f"{side}_{name}", settings.get(f"{side}_{name}", size))
    ARCH_CONFIG_REGISTRY["one_layer_masked"](args)
    texts = {"source": "".join(f"s{n} 1\n" for n in range(13)), "target": "".join(f"t{n} 1\n" for n in range(11))}
    if args.share_all_embeddings:
        del texts["target"]
    assets = {f"dict.{side}": text.encode() for side, text in texts.items()}
    sizes = [text.splitlines() for text in texts.values()]
    sides = [Dictionary() for _ in sizes]
    for side, lines in zip(sides, sizes):
        for line in lines:
            side.add_symbol(line.split()[0])
    task = Namespace(source_dictionary=sides[0], target_dictionary=sides[-1])
    model = OneLayerMaskedModel.build_model(args, task)
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or (biases and name.endswith("bias")):
            parameter.data.normal_(generator=generator)
    return Ticket.of(model, settings_of(args, "xx", "yy", None), assets)


def converted(ticket: Ticket, folder: Path) -> Any:
    """The specification by CTranslate2's converter from fairseq."""
    from ctranslate2.converters import FairseqConverter

    to_folder(ticket, folder)
    state = torch.load(folder / "model.pt", weights_only=True)
    torch.save({**state, "args": Namespace(**state["cfg"]["model"]), "cfg": None}, folder / "old.pt")
    return FairseqConverter(str(folder / "old.pt"), str(folder), source_lang="xx", target_lang="yy")._load()


def held(spec: Any) -> dict[str, Any]:
    """All of a specification: tensors with type, shape and bytes."""
    spec.validate()
    tensors = {name: (held.dtype, tuple(held.shape), held.to_bytes()) for name, held in spec.variables().items()}
    return {"config": spec.config.to_dict(), "words": spec._vocabularies, "name": spec.name, **tensors}


class TestSpecification:
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_as_by_the_converter(self, variant: str, tmp_path: Path) -> None:
        ticket = ticket_of(**VARIANTS[variant])
        found, expected = held(specification(ticket)), held(converted(ticket, tmp_path))
        assert list(found) == list(expected)
        assert [name for name in expected if found[name] != expected[name]] == []

    @pytest.mark.parametrize("variant", [name for name in [*VARIANTS, *FURTHER] if name != "swish"])
    def test_computes_what_fairseq_does(self, variant: str, tmp_path: Path) -> None:
        """All but swish, with which fairseq 0.12 does not run."""
        import ctranslate2

        ticket = ticket_of(**{**VARIANTS, **FURTHER}[variant])
        write(ticket, tmp_path)
        source, target = (words[5:10] for words in vocabularies(ticket))
        (scored,) = ctranslate2.Translator(str(tmp_path)).score_batch([source], [target])
        inputs, outputs = (
            dictionary.encode_line(" ".join(words), add_if_not_exist=False).long()
            for dictionary, words in zip(dictionaries(ticket), (source, target))
        )
        with torch.no_grad():
            logits, _ = ticket.model()(
                src_tokens=inputs[None],
                src_lengths=torch.tensor([len(inputs)]),
                prev_output_tokens=outputs.roll(1)[None],
            )
        expected = logits[0].log_softmax(-1).gather(1, outputs[:, None]).flatten()
        assert expected.std() > 0.05
        torch.testing.assert_close(torch.tensor(scored.log_probs), expected, rtol=1e-4, atol=1e-4)

    def test_the_skeleton_draws_no_embedding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On ``meta`` that imports torch's compiler, which would double the time to the first translation."""
        ticket = ticket_of(encoder_learned_pos=True)
        monkeypatch.setattr(torch.nn.init, "normal_", None)
        assert skeleton(ticket).get_parameter("encoder.embed_positions.weight").is_meta

    @pytest.mark.parametrize("variant", [*VARIANTS, *FURTHER])
    def test_the_skeleton_is_fairseq_s(self, variant: str) -> None:
        """Names, shapes and ties."""
        ticket = ticket_of(**{**VARIANTS, **FURTHER}[variant])
        ours, theirs = (
            {name: (tuple(tensor.shape), id(tensor)) for name, tensor in model.named_parameters(remove_duplicate=False)}
            for model in (skeleton(ticket), ticket.skeleton())
        )
        assert {name: shape for name, (shape, _) in ours.items()} == {
            name: shape for name, (shape, _) in theirs.items()
        }
        tied, expected = (
            {(a, b) for a, (_, first) in model.items() for b, (_, second) in model.items() if first == second}
            for model in (ours, theirs)
        )
        assert tied == expected

    @pytest.mark.parametrize(
        ("settings", "what"),
        [
            ({"activation_fn": "linear"}, "the activation linear"),
            ({"no_token_positional_embeddings": True}, "a model that knows no positions"),
            (
                {"decoder_output_dim": 8, "share_decoder_input_output_embed": False},
                "an output of another width than the decoder",
            ),
        ],
    )
    def test_what_it_cannot_hold(
        self, settings: dict[str, Any], what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        ticket = ticket_of(**settings)
        ticket.model()  # fairseq can
        caplog.clear()
        with pytest.raises(TicketError, match=f"CTranslate2 cannot hold it: {what}"):
            write(ticket, tmp_path)
        assert ticket.engine() == "torch"
        assert [record.getMessage() for record in caplog.records] == [
            f"CTranslate2 cannot hold {what}: fairseq translates, by --engine torch"
        ]
        assert ticket.engine("auto", "int8") == "ctranslate2"

    def test_it_is_the_engine_of_all_others(self, caplog: pytest.LogCaptureFixture) -> None:
        ticket = ticket_of()
        caplog.clear()
        assert ticket.engine() == "ctranslate2"
        assert ticket.engine("torch") == "torch"
        assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"alpha 1\nbravo 2\n",
        b"alpha 1\nbravo 2",
        b"\xc2\xa0x 1 \nbravo\xe2\x80\xa8 2\r\nc  3\n",
        b"alpha 1\nalpha 2 #fairseq:overwrite\nb 1\n",
        b"<unk> 1 #fairseq:overwrite\n",
        b" 5\n",
        b"a b 1\n",
        *(b"alpha\n", b"alpha one\n", b"alpha 1\nalpha 2\n", b"\xff 1\n", b"\n", b"<pad> 1\n", b"a 1\n\nb 2\n"),
    ],
)
def test_dictionaries_are_read_as_fairseq_reads_them(content: bytes, tmp_path: Path) -> None:
    changed = Ticket(**{**vars_of(ticket_of()), "assets": {"dict.source": content}})
    (tmp_path / "dict.txt").write_bytes(content)
    try:
        expected = Dictionary.load(str(tmp_path / "dict.txt")).symbols
    except Exception:  # fairseq raises just that where the text is not UTF-8
        with pytest.raises(TicketError, match="the ticket's dictionary is damaged"):
            vocabularies(changed)
        return
    assert vocabularies(changed) == (expected, expected)
    assert dictionaries(changed)[0].symbols == expected
