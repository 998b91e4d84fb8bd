"""scripts/quantize.py: what rounded weights take to store, and checkpoints of them."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest
import torch

from fairseq_plugins.commands.average import average, load
from one_layer_lt.errors import UserError
from one_layer_lt.rounding import BITS, RoundedWeight, integers, rounded
from one_layer_lt.trained import parametrized_modules, trained_weight
from scripts.quantize import packed, quantize, size, size_of_numbers, size_of_scales
from tests.plugin import conftest as toy
from tests.plugin.running import batch, load_model, train

corpus = toy.corpus


def test_numbers_are_packed() -> None:
    """As digits to the base of the number of values: of three values five to a byte, of more than sixteen one."""
    numbers = torch.tensor([[1, -1, 0, 0], [0, 1, -1, 1]], dtype=torch.int8)
    digits = [2 + 0 * 3 + 1 * 9 + 1 * 27 + 1 * 81, 2 + 0 * 3 + 2 * 9]
    assert packed(numbers, 2) == bytes(digits)
    numbers = torch.tensor([3, -3, 1], dtype=torch.int8)
    assert packed(numbers, 3) == bytes([6 + 0 * 7, 4])
    assert packed(numbers, 4) == bytes([10 + 4 * 15, 8])
    assert packed(numbers, 5) == bytes([18, 12, 16])
    assert packed(numbers, 8) == bytes([130, 124, 128])
    extremes = torch.tensor([1] * 5 + [-1] * 5, dtype=torch.int8)
    assert packed(extremes, 2) == bytes([242, 0])
    assert packed(torch.full((2,), 127, dtype=torch.int8), 8) == bytes([254, 254])


@pytest.mark.parametrize("bits", BITS)
def test_coded_numbers_come_near_their_entropy(bits: int) -> None:
    numbers, _ = integers(torch.randn(400, 1000, generator=torch.Generator().manual_seed(1)), bits)
    shares = torch.bincount(numbers.flatten().int() + 128) / numbers.numel()
    entropy = -float(torch.special.xlogy(shares, shares).sum()) / math.log(2)
    found = size_of_numbers(numbers, bits) * 8 / numbers.numel()
    assert entropy < found < min(1.02 * entropy, bits)


def test_small_things_take_what_they_are() -> None:
    numbers = torch.tensor([[1, -1, 0, 0, 1, 1]], dtype=torch.int8)
    assert [size_of_numbers(numbers, bits) for bits in (2, 3, 5, 8)] == [2, 3, 4, 6]  # two, three ... bits each
    assert size_of_scales(torch.tensor([[0.5], [0.25]], dtype=torch.float16)) == 4
    many = torch.rand(5000, 1, generator=torch.Generator().manual_seed(1)).add(1).half()  # of one exponent
    assert size_of_scales(many) < 1.4 * 5000


def test_averages_stay_tied(tmp_path: Path) -> None:
    for number in (1, 2):
        tied = torch.full((3, 2), float(number))
        model = {"embed": tied, "output": tied, "other": tied.clone()}
        torch.save({"args": argparse.Namespace(), "model": model}, tmp_path / f"{number}.pt")
    average([tmp_path / "1.pt", tmp_path / "2.pt"], tmp_path / "mean.pt")
    mean = load(tmp_path / "mean.pt")["model"]
    assert size(mean, 32) == 4 * 6 * 2
    torch.testing.assert_close(mean["output"], torch.full((3, 2), 1.5))


def test_sizes_count_ties_once(tmp_path: Path) -> None:
    tied = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    norm, fixed = torch.tensor([0.1, 0.2, 0.3]), torch.ones(4)
    model = {"embed": tied, "output": tied, "norm": norm, "fixed": fixed, "version": torch.tensor([3.0])}
    assert size(model, 32) == 4 * (40 + 3 + 4)
    scales = 10 + 10  # too few to be coded shorter, as the numbers of 8 bits; of three values, 8 bytes hold 40
    assert size(model, 8) == 40 + scales + 2 * 3 + 2
    assert size(model, 2) <= 8 + scales + 2 * 3 + 2
    torch.save({"args": argparse.Namespace(), "model": model, "last_optimizer_state": {}}, tmp_path / "a.pt")
    assert quantize(tmp_path / "a.pt", None, tmp_path / "b.pt") == (8, size(model, 8))
    written = load(tmp_path / "b.pt")
    assert torch.equal(written["model"]["embed"], rounded(tied, 8))
    assert written["model"]["embed"].data_ptr() == written["model"]["output"].data_ptr()
    assert torch.equal(written["model"]["norm"], norm.half().float())
    assert torch.equal(written["model"]["fixed"], fixed)
    assert "last_optimizer_state" not in written


def test_masked_models_are_refused(tmp_path: Path) -> None:
    model = {"fc1.parametrizations.weight.original": torch.randn(3, 4)}
    torch.save({"args": argparse.Namespace(), "model": model}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt is no dense model: its weights are under masks"):
        quantize(tmp_path / "a.pt", 4, tmp_path / "b.pt")
    assert not (tmp_path / "b.pt").exists()


class TestTrainedThroughTheRounding:
    @pytest.mark.parametrize("bits", [2, 4])
    def test_weights_are_those_of_validation(self, bits: int, corpus: Path, tmp_path: Path) -> None:
        trained = train(corpus, tmp_path, "--dense", "--train-bits", str(bits), "--share-all-embeddings", updates=20)
        used = load_model(trained)
        assert quantize(trained, None, tmp_path / "small.pt")[0] == bits
        plain = load_model(tmp_path / "small.pt")
        assert plain.encoder.embed_tokens.weight is plain.decoder.output_projection.weight
        modules = dict(used.named_modules())
        weights = {name: p for name, p in plain.named_parameters() if p.dim() == 2}
        assert len(weights) == 33 == len({trained_weight(m) for _, m in parametrized_modules(used, RoundedWeight)})
        for name, weight in weights.items():
            assert torch.equal(weight, modules[name.rpartition(".")[0]].weight)
        with torch.no_grad():  # they differ by norms and biases in float16
            torch.testing.assert_close(plain(**batch())[0], used(**batch())[0], rtol=0, atol=0.02)

    def test_other_bits_are_rounded_anew(self, corpus: Path, tmp_path: Path) -> None:
        trained = train(corpus, tmp_path, "--dense", "--train-bits", "4", updates=2)
        assert quantize(trained, 2, tmp_path / "small.pt")[0] == 2
        name = "encoder.layers.0.fc1"
        weight = load(trained)["model"][f"{name}.parametrizations.weight.original"]
        assert torch.equal(load(tmp_path / "small.pt")["model"][f"{name}.weight"], rounded(weight, 2))
