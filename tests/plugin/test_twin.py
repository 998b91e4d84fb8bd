"""Dense twins, and masks that start from them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import MaskConfig, masked_modules, masked_weight, scores_of

from .running import TICKET_RECIPE, batch, build, load_model, load_state, train

TWIN = ["--dense", "--twin", "--logit-scale", "2"]
SIGNS = ["--mask-rule", "sign", "--random-init", "signed_constant", "--attention-init", "xavier_constant"]
SIGNS += ["--logit-scale", "2"]


@pytest.fixture(scope="module")
def twin(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a twin that has learnt a little."""
    return train(data, tmp_path_factory.mktemp("twin"), *TWIN, *TICKET_RECIPE, updates=10)


def refusal(capsys: pytest.CaptureFixture[str], corpus: Path, *flags: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        build(corpus, *flags)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_twin_trains_nothing_that_a_ticket_does_not_hold(twin: Path) -> None:
    weights = load_state(twin)["model"]
    biases = [tensor for name, tensor in weights.items() if name.endswith("bias")]
    assert len(biases) == 2 * 8 + 2 * 13  # a bias a projection and a norm
    assert not any(bool(bias.any()) for bias in biases)
    norms = {name: set(tensor.tolist()) for name, tensor in weights.items() if "norm.weight" in name}
    last = "decoder.layers.1.final_layer_norm.weight"
    assert norms == {name: {2.0 if name == last else 1.0} for name in norms}
    trained = load_model(twin)
    assert {p.dim() for p in trained.parameters() if p.requires_grad} == {2}


def test_its_function_is_that_of_a_plain_transformer(data: Path) -> None:
    twin = build(data, *TWIN).eval()
    dense = build(data, "--dense", "--logit-scale", "2").eval()
    dense.load_state_dict(twin.state_dict())
    with torch.no_grad():
        assert torch.equal(twin(**batch())[0], dense(**batch())[0])


def test_signs_and_fitted_scales_come_from_the_twin(data: Path, twin: Path) -> None:
    weights = load_state(twin)["model"]
    model = build(data, *SIGNS, "--scores-from", str(twin))
    kinds: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for name, module in masked_modules(model):
        assert torch.equal(module.weight.sign(), torch.where(weights[f"{name}.weight"] < 0, -1.0, 1.0))
        kinds.setdefault(name.rpartition(".")[2], []).append((weights[f"{name}.weight"], module.weight.detach()))
    for kind, pairs in kinds.items():
        if kind == "output_projection":
            continue  # tied to the embedding, and counted there
        target, effective = (torch.cat([pair[at].flatten() for pair in pairs]) for at in (0, 1))
        # The least squares fit: no other factor brings them nearer.
        assert float(target @ effective / (effective @ effective)) == pytest.approx(1, abs=1e-4)
    first, second = (masked_weight(layer.fc1).shared for layer in model.encoder.layers)
    assert first is second


def test_a_twin_is_no_reason_to_warn(data: Path, twin: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(data, *SIGNS, "--scores-from", str(twin))
    assert "norms and biases" not in caplog.text


def test_explicit_scales_stay(data: Path, twin: Path) -> None:
    flags = [*SIGNS, "--weight-scale-per-kind", "fc1=3"]
    model = build(data, *flags, "--scores-from", str(twin))
    plain = build(data, *flags)
    for (_, one), (_, other) in zip(masked_modules(model), masked_modules(plain)):
        assert masked_weight(one).shared.digest() == masked_weight(other).shared.digest()
        assert not torch.equal(scores_of(one), scores_of(other))


def test_the_twin_is_needed_no_more_once_training_has_begun(data: Path, twin: Path, tmp_path: Path) -> None:
    copied = tmp_path / "twin.pt"
    copied.write_bytes(twin.read_bytes())
    flags = [*SIGNS, "--scores-from", str(copied), *TICKET_RECIPE]
    train(data, tmp_path / "run", *flags, updates=3)
    train(data, tmp_path / "halves", *flags, updates=1)
    train(data, tmp_path / "halves", *flags, updates=3)
    copied.unlink()
    resumed = train(data, tmp_path / "halves", *flags, updates=4)  # without it
    further = train(data, tmp_path / "run", *flags, updates=4)
    found = load_state(resumed)["model"]
    for name, tensor in load_state(further)["model"].items():
        assert torch.equal(tensor, found[name])
    model, again = load_model(further), load_model(resumed).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again[name])
    ticket = from_checkpoint(further, data)
    filled = ticket.model()
    with torch.no_grad():
        torch.testing.assert_close(filled(**batch())[0], model(**batch())[0])
    assert {mask.rule.planes for mask in ticket.masks} == {1}


def test_sign_starts_at_the_variance_of_half_kept(data: Path) -> None:
    assert MaskConfig(rule="sign").weight_scale == pytest.approx(math.sqrt(0.5))
    signs, kept = build(data, *SIGNS), build(data)
    for (name, one), (_, other) in zip(masked_modules(signs), masked_modules(kept)):
        assert float(one.weight.std() / other.weight.std()) == pytest.approx(1, abs=0.15), name


class TestRefused:
    def test_flags_that_do_not_go_together(self, data: Path, twin: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--twin: needs --dense" in refusal(capsys, data, "--twin")
        assert "--scores-from: goes with masks" in refusal(capsys, data, "--dense", "--scores-from", str(twin))

    def test_files(self, data: Path, twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        missing = tmp_path / "none.pt"
        assert f"--scores-from {missing}: no such checkpoint" in refusal(
            capsys, data, *SIGNS, "--scores-from", str(missing)
        )
        for content in (b"", b"PK\x03\x04 not a checkpoint", b"\x80\x02cos\nsystem\nq\x00."):
            missing.write_bytes(content)
            assert "no fairseq checkpoint" in refusal(capsys, data, *SIGNS, "--scores-from", str(missing))
        torch.save({"model": {"encoder.embed_tokens.weight": 3}}, missing)
        assert "no fairseq checkpoint" in refusal(capsys, data, *SIGNS, "--scores-from", str(missing))

    def test_other_models(self, data: Path, twin: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "its weights are masked or rounded" in refusal(capsys, data, *SIGNS, "--scores-from", str(checkpoint))
        given = ["--scores-from", str(twin)]
        assert "is of shape" in refusal(capsys, data, *SIGNS, *given, "--encoder-ffn-embed-dim", "64")
        assert "it has no" in refusal(capsys, data, *SIGNS, *given, "--encoder-layers", "3")
        plain = [flag for flag in SIGNS if flag not in ("--logit-scale", "2")]
        assert "it has --logit-scale 2, this model 1" in refusal(capsys, data, *plain, *given)
        assert "are not tied" in refusal(capsys, data, *SIGNS, *given, "--share-all-embeddings")


def test_a_dense_model_with_biases_is_taken_and_said(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dense = train(data, tmp_path, "--dense", "--logit-scale", "2", *TICKET_RECIPE, updates=2)
    build(data, *SIGNS, "--scores-from", str(dense))
    assert "norms and biases of it are not the masked model's" in caplog.text
