"""Bad options: one line that names the flag and the value, exit status 2, nothing written."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from fairseq_plugins.old_names import RENAMED
from fairseq_plugins.options import set_defaults
from one_layer_lt import masked_modules, masked_weight, scores_of

from .running import build

CASES = [
    (["--mask-rule", "magic"], "--mask-rule magic: unknown; choose one of: edge_popup, topk"),
    (["--random-init", "magic"], "--random-init magic"),
    (["--attention-init", "magic"], "--attention-init magic"),
    (["--score-init", "magic"], "--score-init magic"),
    (["--share-weights", "magic"], "--share-weights magic: unknown; choose one of: none, layer, stack, vector"),
    (["--share", "magic"], "--share-weights magic: unknown; choose one of: none, layer, stack, vector"),
    (["--share-masks", "all"], "--share-masks all: unknown; choose one of: none, heads, layers, both"),
    (["--share-masks", "layers", "--share-weights", "none"], "--share-masks layers: goes with --share-weights layer"),
    (["--keep-of", "fc1=0.4", "--keep-per-kind", "fc1=0.6"], "--keep-of is an old name of --keep-per-kind, which is"),
    (["--layer-norm", "magic"], "--layer-norm magic"),
    (["--embeddings", "magic"], "--embeddings magic"),
    (["--keep", "0"], "error: --keep must be in (0, 1], not 0.0"),
    (["--keep", "1.5"], "error: --keep must be in (0, 1], not 1.5"),
    (["--keep", "nan"], "keep must be in (0, 1], not nan"),
    (["--query-key-scale", "-1"], "--query-key-scale -1: must be a positive number, or auto"),
    (["--query-key-scale", "wide"], "--query-key-scale wide"),
    (["--logit-scale", "0"], "--logit-scale 0: must be a positive number"),
    (["--logit-scale", "2", "--no-decoder-final-norm"], "not with --no-decoder-final-norm"),
    (
        ["--keep-per-kind", "fc3=0.5"],
        "fc3=0.5: must be NAME=VALUE,..., each name once, of: embed_tokens, q_proj",
    ),
    (["--keep-per-kind", "output_projection=0.4"], "the output projection is tied to the embedding: name embed_tokens"),
    (
        ["--keep-per-kind", "embed_tokens=0.4", "--embeddings", "trained"],
        "trained are trained, not masked",
    ),
    (["--rule-per-kind", "fc1=magic"], "--rule-per-kind fc1=magic: unknown rule 'magic'; choose one of: edge_popup"),
    (
        ["--rule-per-kind", "fc1=sign", "--keep-per-kind", "fc1=0.5"],
        "fc1=0.5: keep: the rule sign has no keep",
    ),
    (["--store-ema"], "--store-ema: fairseq cannot average all that this model keeps"),
    (["--store-ema", "--mask-rule", "iterand"], "use `one-layer-lt average`"),
    (["--quant-noise-scalar", "0.1"], "--quant-noise-scalar: fairseq puts layers of its own in place of the model's"),
    (["--dense", "--train-bits", "1"], "--train-bits 1: must be from 2 to 8"),
    (["--dense", "--train-bits", "9"], "--train-bits 9: must be from 2 to 8"),
    (["--train-bits", "2"], "--train-bits: needs --dense"),
    (["--dense", "--prunable", "--train-bits", "2"], "--train-bits: not with --prunable"),
    (["--keep-per-kind", "fc1=0.5,fc1=0.6"], "each name once"),
    (["--keep-per-kind", "fc1=1.5"], "--keep-per-kind fc1=1.5: keep must be in (0, 1], not 1.5"),
    (["--keep-per-kind", "fc1=0.5", "--mask-rule", "threshold"], "the rule threshold has no keep ratio"),
    (["--weight-scale-per-kind", "fc2=much"], "--weight-scale-per-kind fc2=much: 'much' is not a number"),
    (
        ["--weight-scale-per-kind", "fc2=-1"],
        "fc2=-1: scale must be a positive number, not -1.0",
    ),
    (["--mask-rule", "multicoat", "--mask-options", "coats=0.1/0.3"], "error: --mask-rule multicoat: coats must be"),
    (["--mask-options", "coats=0.3/0.1"], "the rule edge_popup has no option 'coats'"),
    (["--mask-options", "ramp"], "error: --mask-options 'ramp' must be NAME=VALUE,..., each name once"),
    (["--mask-options", "ramp=1,ramp=2"], "each name once"),
    (["--mask-rule", "annealed", "--mask-options", "schedule=steps"], "schedule must be one of linear"),
    (["--mask-rule", "annealed", "--keep", "0.5"], "error: --keep: the rule annealed has no keep ratio"),
    (["--mask-rescale", "magic"], "--mask-rescale magic: unknown; choose one of: none, tensor, row, column"),
    (
        ["--frozen-dropped", "0.7"],
        "--keep 0.5 must be at least --frozen-locked 0.0, and at most what --frozen-dropped 0.7 leaves",
    ),
    (["--frozen-dropped", "-1"], "error: --frozen-dropped must be in [0, 1), not -1.0"),
    (["--frozen-dropped", "0.6", "--frozen-locked", "0.4"], "--frozen-dropped 0.6 and --frozen-locked 0.4 leave no"),
    (["--keep", "1e-9"], "error: --keep or --keep-per-kind 1e-09 keeps none of the"),
    (["--embeddings", "pretrained"], "needs --encoder-embed-path"),
    (["--encoder-embed-path", "vectors.txt"], "add --embeddings pretrained"),
]


OLD_NAMES = [
    (["--mask-seed", "7"], ["--ticket-seed", "7"]),
    (["--share", "stack"], ["--share-weights", "stack"]),
    (["--share", "layer_mask"], ["--share-masks", "layers"]),
    (["--share-heads"], ["--share-masks", "heads"]),
    (["--share-heads", "--share", "layer_mask"], ["--share-masks", "both"]),
    (["--share-heads", "--share", "none"], ["--share-masks", "heads", "--share-weights", "none"]),
    (["--keep-of", "fc1=0.25"], ["--keep-per-kind", "fc1=0.25"]),
    (["--scale-of", "fc1=2"], ["--weight-scale-per-kind", "fc1=2"]),
    (["--rule-of", "fc1=sign"], ["--rule-per-kind", "fc1=sign"]),
]


@pytest.mark.parametrize(("old", "new"), OLD_NAMES, ids=[" ".join(old) for old, _ in OLD_NAMES])
def test_old_names_do_what_the_new_ones_do(old: list[str], new: list[str], corpus: Path) -> None:
    before, after = (list(masked_modules(build(corpus, *flags))) for flags in (old, new))
    for (_, one), (_, other) in zip(before, after):
        assert masked_weight(one).config == masked_weight(other).config
        assert masked_weight(one).shared.digest() == masked_weight(other).shared.digest()
        assert torch.equal(scores_of(one), scores_of(other))


def test_checkpoints_of_before_say_the_old_names() -> None:
    args = Namespace(mask_seed=3, share="layer_mask", share_heads=False, keep_of="fc1=0.4", scale_of="")
    set_defaults(args)
    assert (args.ticket_seed, args.share_weights, args.share_masks) == (3, "layer", "layers")
    assert (args.keep_per_kind, args.weight_scale_per_kind) == ("fc1=0.4", "")
    assert not [name for name in RENAMED if hasattr(args, name)]


def refused(capsys: pytest.CaptureFixture[str], corpus: Path, *flags: str) -> str:
    with pytest.raises(SystemExit) as stop:
        build(corpus, *flags)
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("one_layer_masked: error: ")
    return said


@pytest.mark.parametrize(("flags", "expected"), CASES, ids=[" ".join(flags) for flags, _ in CASES])
def test_unknown_values(flags: list[str], expected: str, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert expected in refused(capsys, corpus, *flags)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 3\nalpha 1 2 3\nbravo 1 2 3\n", "line 2 has 3 numbers, the model is 16 wide"),
        ("1 16\nunheard-of" + " 0.5" * 16 + "\n", "covers none of the dictionary's 24 entries"),
        ("1 16\nalpha" + " 0.5" * 15 + " half\n", "line 2: 'half' is not a number"),
    ],
)
def test_embedding_files(
    text: str, expected: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vectors.txt"
    file.write_text(text)
    flags = ["--embeddings", "pretrained", "--encoder-embed-path", str(file), "--decoder-embed-path", str(file)]
    said = refused(capsys, corpus, *flags)
    assert expected in said
    assert "--encoder-embed-path" in said
    assert str(file) in said


def test_missing_embedding_file(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "absent.txt"
    flags = ["--embeddings", "pretrained", "--encoder-embed-path", str(file), "--decoder-embed-path", str(file)]
    assert "absent.txt" in refused(capsys, corpus, *flags)
