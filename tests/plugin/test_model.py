"""The converted Transformer: what is random, what is shared, what is trained."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

from fairseq_plugins.archs import SIZES
from fairseq_plugins.options import cpu_flags
from one_layer_lt import (
    INITS,
    RULES,
    fold_,
    masked_modules,
    masked_weight,
    parametrization,
    precision,
    scores_of,
    summarize,
)
from one_layer_lt.config import RESCALES
from one_layer_lt.sharing import SHARES

from .running import batch, build, load_model, train

VOCABULARY = 24  # eight words, in two cases, fairseq's four specials and padding to a multiple of 8
ATTENTION, FFN = 16 * 16, 16 * 32
SCORES = 2 * (4 * ATTENTION + 2 * FFN) + 2 * (8 * ATTENTION + 2 * FFN) + 2 * VOCABULARY * 16


def test_counts_one_layer_of_random_weights(corpus: Path) -> None:
    counts = summarize(build(corpus))
    assert counts.random_weights == 6 + 10 + 2  # encoder layer, decoder layer, two embeddings
    assert counts.random_numbers == 4 * ATTENTION + 2 * FFN + 8 * ATTENTION + 2 * FFN + 2 * VOCABULARY * 16
    assert (counts.masks, counts.scores, counts.trained) == (2 * 6 + 2 * 10 + 2, SCORES, 0)


def test_share_none_draws_every_matrix(corpus: Path) -> None:
    counts = summarize(build(corpus, "--share", "none"))
    assert counts.random_weights == counts.masks == 34


def test_layers_hold_one_storage_and_their_own_masks(corpus: Path) -> None:
    model = build(corpus)
    first, second = (layer.self_attn.q_proj for layer in model.encoder.layers)
    other = model.decoder.layers[0].self_attn.q_proj
    for _ in range(2):
        weights = [masked_weight(module).shared.weight for module in (first, second)]
        assert weights[0].data_ptr() == weights[1].data_ptr()
        model.half()
    assert masked_weight(other).shared.weight.data_ptr() != weights[0].data_ptr()
    assert not torch.equal(scores_of(first), scores_of(second))


def test_tied_output_projection_is_masked_with_the_embedding(corpus: Path) -> None:
    decoder = build(corpus).decoder
    assert scores_of(decoder.output_projection) is scores_of(decoder.embed_tokens)
    assert torch.equal(decoder.output_projection.weight, decoder.embed_tokens.weight)
    assert (decoder.output_projection.weight == 0).sum() == VOCABULARY * 16 / 2


def test_all_embeddings_shared(corpus: Path) -> None:
    model = build(corpus, "--share-all-embeddings")
    assert scores_of(model.encoder.embed_tokens) is scores_of(model.decoder.output_projection)
    assert summarize(model).random_weights == 17


def test_only_scores_learn(corpus: Path) -> None:
    model = build(corpus)
    scores = {id(scores_of(module)) for _, module in masked_modules(model)}
    assert {id(p) for p in model.parameters() if p.requires_grad} == scores
    digests = [masked_weight(module).shared.digest() for _, module in masked_modules(model)]
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=0.01)
    before = [scores_of(module).detach().clone() for _, module in masked_modules(model)]
    for _ in range(3):
        model(**batch())[0].logsumexp(2).sum().backward()
        optimizer.step()
    assert [masked_weight(module).shared.digest() for _, module in masked_modules(model)] == digests
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)
    after = [scores_of(module) for _, module in masked_modules(model)]
    assert not any(torch.equal(a, b) for a, b in zip(before, after))


def test_each_effective_weight_is_computed_once_a_forward_pass(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(corpus)
    calls: list[int] = []
    original = parametrization.effective_weight

    def counting(rule: Any, scores: Any, *others: Any, **how: Any) -> Any:
        calls.append(id(scores))
        return original(rule, scores, *others, **how)

    monkeypatch.setattr(parametrization, "effective_weight", counting)
    model.train()
    model(**batch())
    assert len(calls) == len(set(calls)) == 34
    model.eval()
    calls.clear()
    with torch.no_grad():
        model(**batch())
        model(**batch())
    assert len(calls) == 34


def test_folding_changes_nothing(corpus: Path) -> None:
    model = build(corpus).eval()
    with torch.no_grad():
        expected = model(**batch())[0]
        model.make_generation_fast_()
        assert not list(masked_modules(model))
        assert torch.equal(model(**batch())[0], expected)
    assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight


def test_attention_follows_the_paper_or_the_rest(corpus: Path) -> None:
    def largest(model: torch.nn.Module, name: str) -> float:
        return float(masked_weight(getattr(model.encoder.layers[0].self_attn, name)).shared.weight.abs().max())

    paper = build(corpus)
    xavier = math.sqrt(6 / (16 + 16))
    assert largest(paper, "q_proj") == pytest.approx(xavier / math.sqrt(2), rel=0.02)
    assert largest(paper, "out_proj") == pytest.approx(xavier, rel=0.02)
    same = build(corpus, "--attention-init", "same", "--random-init", "signed_constant", "--query-key-scale", "2.8")
    assert largest(same, "q_proj") == pytest.approx(2.8 * math.sqrt(2 / 16))
    assert largest(same, "k_proj") == pytest.approx(2.8 * math.sqrt(2 / 16))
    assert largest(same, "v_proj") == pytest.approx(math.sqrt(2 / 16))


def test_scale_fan_counts_kept_weights(corpus: Path) -> None:
    flags = ["--random-init", "signed_constant", "--keep", "0.25"]
    plain = masked_weight(build(corpus, *flags).encoder.layers[0].fc1).shared.weight
    scaled = masked_weight(build(corpus, *flags, "--scale-fan").encoder.layers[0].fc1).shared.weight
    torch.testing.assert_close(scaled, 2 * plain)


def test_keep_is_exact(corpus: Path) -> None:
    for _, module in masked_modules(build(corpus, "--keep", "0.3")):
        kept = int(masked_weight(module).mask(scores_of(module)).sum())
        assert kept == round(0.3 * scores_of(module).numel())


def test_keep_and_scale_of_some_kinds(corpus: Path) -> None:
    flags = ["--random-init", "signed_constant", "--keep", "0.5"]
    plain = build(corpus, *flags)
    model = build(corpus, *flags, "--keep-per-kind", "fc1=0.25,embed_tokens=0.75", "--weight-scale-per-kind", "fc2=3")
    for (name, module), (_, before) in zip(masked_modules(model), masked_modules(plain)):
        kind = name.rpartition(".")[2]
        keep = {"fc1": 0.25, "embed_tokens": 0.75, "output_projection": 0.75}.get(kind, 0.5)
        weight, expected = masked_weight(module).shared.weight, masked_weight(before).shared.weight
        assert int(masked_weight(module).mask(scores_of(module)).sum()) == round(keep * weight.numel())
        torch.testing.assert_close(weight, (3 if kind == "fc2" else 1) * expected)


def test_rules_of_some_kinds(corpus: Path) -> None:
    flags = ["--rule-per-kind", "embed_tokens=signed,fc1=sign", "--keep-per-kind", "embed_tokens=0.6,fc2=0.25"]
    model = build(corpus, *flags, "--mask-options", "ramp=7", "--keep", "0.4")
    for name, module in masked_modules(model):
        kind = name.rpartition(".")[2]
        rule = {"embed_tokens": "signed", "output_projection": "signed", "fc1": "sign"}.get(kind, "edge_popup")
        keep = {"signed": 0.6, "sign": 1.0}.get(rule, 0.25 if kind == "fc2" else 0.4)
        mask, config = masked_weight(module).mask(scores_of(module).detach()), masked_weight(module).config
        assert int((mask != 0).sum()) == round(keep * mask.numel())
        assert (config.rule, dict(config.options)) == (rule, {"ramp": 7} if rule == "edge_popup" else {})


@pytest.mark.parametrize("norm", [[], ["--decoder-normalize-before"]], ids=["post-norm", "pre-norm"])
def test_scaled_logits(norm: list[str], corpus: Path) -> None:
    plain, scaled = (build(corpus, *norm, *flags).eval() for flags in ([], ["--logit-scale", "2"]))
    with torch.no_grad():
        torch.testing.assert_close(scaled(**batch())[0], 2 * plain(**batch())[0])
    assert summarize(scaled).trained == 0


def test_affine_layer_norms_are_trained_when_asked(corpus: Path) -> None:
    norms = 2 * 2 + 2 * 3  # in two encoder and two decoder layers
    assert summarize(build(corpus, "--layer-norm", "affine")).trained == norms * 2 * 16


def test_dense_trains_the_weights(corpus: Path) -> None:
    model = build(corpus, "--dense")
    assert not list(masked_modules(model))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.fixture
def fast_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that says it has bfloat16 instructions."""
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx512_bf16 avx512_vnni\n")


@pytest.mark.parametrize("flags", ["flags\t\t: fpu avx2 avx512_bf16_not\n", None], ids=["without", "unknown"])
def test_bf16_where_it_is_emulated_stays_with_float32(
    flags: str | None, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    exact = build(corpus).eval()
    assert "--cpu-bf16" not in caplog.text
    model = build(corpus, "--cpu-bf16").eval()
    assert "--cpu-bf16: this processor shows no bfloat16 instructions; running in float32" in caplog.messages
    assert torch.equal(model(**batch())[0], exact(**batch())[0])
    assert cpu_flags() == ["--cpu"]


@pytest.mark.usefixtures("fast_bf16")
def test_bfloat16_autocast_is_close(corpus: Path) -> None:
    assert cpu_flags() == ["--cpu", "--cpu-bf16"]
    exact, rounded = build(corpus).eval(), build(corpus, "--cpu-bf16").eval()
    expected, found = exact(**batch())[0], rounded(**batch())[0]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
    assert not torch.equal(found.float(), expected)


@pytest.mark.usefixtures("fast_bf16")
@pytest.mark.parametrize(
    "flags",
    [
        *(["--mask-rule", rule] for rule in RULES),
        *(["--share", share] for share in SHARES),
        *(["--random-init", init] for init in INITS),
        *(["--mask-rescale", how] for how in RESCALES),
        ["--embeddings", "trained", "--layer-norm", "affine"],
        ["--mask-rule", "biprop", "--mask-options", "scope=global,ramp=3"],
        ["--share-heads", "--frozen-dropped", "0.2", "--frozen-locked", "0.2", "--share-all-embeddings"],
        ["--encoder-normalize-before", "--decoder-normalize-before", "--encoder-learned-pos", "--dropout", "0.3"],
        ["--activation-fn", "gelu", "--attention-dropout", "0.1", "--encoder-layerdrop", "0.2"],
        ["--dense"],
        ["--dense", "--train-bits", "2"],
    ],
    ids=" ".join,
)
def test_bf16_on_cpu_goes_with_every_option(flags: list[str], corpus: Path) -> None:
    model = build(corpus, "--cpu-bf16", *flags).train()
    model.set_num_updates(1)
    logits = model(**batch())[0]
    assert logits.isfinite().all()
    logits.float().log_softmax(-1)[..., 5].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32
        if parameter.requires_grad and parameter.grad is not None:
            assert parameter.grad.dtype == torch.float32
            assert parameter.grad.isfinite().all(), name
    assert any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters())


def test_named_sizes() -> None:
    for name, (width, ffn, heads, layers) in SIZES.items():
        args = Namespace()
        ARCH_CONFIG_REGISTRY[name](args)
        assert ARCH_MODEL_REGISTRY[name].__name__ == "OneLayerMaskedModel"
        for side in ("encoder", "decoder"):
            found = [getattr(args, f"{side}_{part}") for part in ("embed_dim", "ffn_embed_dim", "attention_heads")]
            assert [*found, getattr(args, f"{side}_layers")] == [width, ffn, heads, layers]
        assert args.share_decoder_input_output_embed
        assert (args.keep, args.mask_rule, args.share_weights, args.embeddings) == (
            None,
            "edge_popup",
            "layer",
            "masked",
        )


def _vectors(path: Path, words: list[str], width: int = 16) -> Path:
    lines = [f"{len(words)} {width}"]
    lines += [" ".join([word, *(f"{(i + 1) / (j + 2):.4f}" for j in range(width))]) for i, word in enumerate(words)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_pretrained_embeddings_stay_as_they_are(corpus: Path, tmp_path: Path) -> None:
    file = _vectors(tmp_path / "vectors.txt", ["alpha", "ALPHA"])
    flags = ["--embeddings", "pretrained", "--encoder-embed-path", str(file), "--decoder-embed-path", str(file)]
    checkpoint = train(corpus, tmp_path / "run", *flags)
    file.unlink()  # the checkpoint is complete without it
    model = load_model(checkpoint)
    decoder = model.decoder
    assert decoder.output_projection.weight is decoder.embed_tokens.weight
    row = decoder.embed_tokens.weight[decoder.dictionary.index("ALPHA")]
    torch.testing.assert_close(row, torch.tensor([2 / (j + 2) for j in range(16)]), rtol=0, atol=1e-4)
    assert summarize(model).masks == 32
    assert summarize(model).trained == 0


def test_pretrained_embeddings_under_a_mask(corpus: Path, tmp_path: Path) -> None:
    file = _vectors(tmp_path / "vectors.txt", ["alpha", "ALPHA"])
    flags = ["--embeddings", "pretrained-masked", "--encoder-embed-path", str(file), "--decoder-embed-path", str(file)]
    checkpoint = train(corpus, tmp_path / "run", *flags)
    file.unlink()
    decoder = load_model(checkpoint).decoder
    shared = masked_weight(decoder.embed_tokens).shared.weight
    row = shared[decoder.dictionary.index("ALPHA")]
    torch.testing.assert_close(row, torch.tensor([2 / (j + 2) for j in range(16)]), rtol=0, atol=1e-4)
    assert torch.equal(decoder.embed_tokens.weight, shared * (decoder.embed_tokens.weight != 0))
    mask = masked_weight(decoder.embed_tokens).mask(scores_of(decoder.output_projection))
    assert mask.sum() == VOCABULARY * 16 / 2


def test_trained_embeddings(corpus: Path) -> None:
    model = build(corpus, "--embeddings", "trained")
    assert summarize(model).trained == 2 * VOCABULARY * 16
    assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight
    fold_(model)
    assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight
