"""Dense models that are trained through the rounding of their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from one_layer_lt.rounding import RoundedWeight, mean_scale, rounded
from one_layer_lt.trained import parametrized_modules, trained_weight

from .running import ONCE, batch, build, load_model, load_state, train

ORIGINAL = ".parametrizations.weight.original"
FLAGS = ["--dense", "--train-bits", "2", "--share-all-embeddings"]


def test_all_matrices_are_rounded_and_trained(corpus: Path) -> None:
    model = build(corpus, *FLAGS)
    found = dict(parametrized_modules(model, RoundedWeight))
    matrices = {name for name, p in model.named_parameters(remove_duplicate=False) if p.dim() == 2}
    assert matrices - {f"{name}{ORIGINAL}" for name in found} == {"decoder.embed_tokens" + ORIGINAL}  # the encoder's
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert len({trained_weight(module) for module in found.values()}) == len(found) - 1  # with the output's
    for module in found.values():
        assert torch.equal(module.weight, rounded(trained_weight(module), 2, mean_scale))
    model(**batch())[0].logsumexp(2).sum().backward()
    assert all(trained_weight(module).grad is not None for module in found.values())


def test_a_twin_is_rounded_too(corpus: Path) -> None:
    model = build(corpus, *FLAGS, "--twin")
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert trained == {id(trained_weight(module)) for _, module in parametrized_modules(model, RoundedWeight)}


def test_generation_uses_the_rounded_weights(corpus: Path) -> None:
    model = build(corpus, *FLAGS).eval()
    with torch.no_grad():
        expected = model(**batch())[0]
        model.make_generation_fast_()
        torch.testing.assert_close(model(**batch())[0], expected)
    assert not list(parametrized_modules(model, RoundedWeight))
    assert model.encoder.embed_tokens.weight is model.decoder.output_projection.weight
    assert all(len(row.unique()) <= 3 for row in model.encoder.layers[0].fc1.weight)


def test_checkpoints_hold_what_is_trained_and_resume(corpus: Path, tmp_path: Path) -> None:
    whole = load_state(train(corpus, tmp_path / "whole", *FLAGS, *ONCE, updates=4))["model"]
    train(corpus, tmp_path / "parts", *FLAGS, *ONCE, updates=2)
    resumed = load_state(train(corpus, tmp_path / "parts", *FLAGS, *ONCE, updates=4))["model"]
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.items())
    assert len(whole["encoder.layers.0.fc1" + ORIGINAL][0].unique()) > 3
    assert not any(name.endswith("fc1.weight") for name in whole)
    module = load_model(tmp_path / "whole" / "checkpoint_last.pt").encoder.layers[0].fc1
    assert torch.equal(trained_weight(module), whole["encoder.layers.0.fc1" + ORIGINAL])


@pytest.mark.parametrize("bits", [2, 3])
def test_it_learns(bits: int, corpus: Path, tmp_path: Path) -> None:
    flags = ["--dense", "--train-bits", str(bits), *ONCE, "--max-tokens", "400", "--lr", "1e-2"]
    losses = [
        load_state(train(corpus, tmp_path, *flags, updates=updates))["extra_state"]["val_loss"] for updates in (1, 40)
    ]
    assert losses[1] < losses[0] - 0.5
