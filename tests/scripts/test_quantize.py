"""scripts/quantize.py: rounding worked out by hand, and what it takes to store."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scripts.average import average, load
from scripts.quantize import packed, quantize, rounded, size


def test_rows_are_rounded_to_their_own_scale() -> None:
    weight = torch.tensor([[7.0, -3.4, 0.6], [0.0, 0.0, 0.0], [0.14, 0.05, -0.14]])
    expected = torch.tensor([[7.0, -3.0, 1.0], [0.0, 0.0, 0.0], [0.14, 0.06, -0.14]])  # 0.05 is 2.5 steps of 0.02
    found = rounded(weight, 4)
    torch.testing.assert_close(found[:2], expected[:2])
    assert found[2, 1] in (pytest.approx(0.04, rel=1e-3), pytest.approx(0.06, rel=1e-3))  # scales are float16
    torch.testing.assert_close(rounded(torch.tensor([[0.5, -0.2]]), 2), torch.tensor([[0.5, 0.0]]))


@given(st.integers(0, 2**31), st.sampled_from([2, 4, 8]))
def test_no_weight_moves_by_more_than_half_a_step(seed: int, bits: int) -> None:
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    most = 0.5 + 2 ** (bits - 1) / 2**10  # of a step; scales are rounded to float16
    assert ((rounded(weight, bits) - weight).abs() <= most * step).all()
    torch.testing.assert_close(rounded(rounded(weight, bits), bits), rounded(weight, bits))


def test_numbers_are_packed_and_coded() -> None:
    numbers = torch.tensor([[1, -1, 0], [-7, 7, 2]], dtype=torch.int8)
    assert packed(numbers, 8) == bytes([1, 255, 0, 249, 7, 2])
    assert packed(numbers, 4) == bytes([0xF1, 0x90, 0x27])
    assert packed(numbers[:1], 2) == bytes([0b00_00_11_01])
    normal = torch.randn(400, 400, generator=torch.Generator().manual_seed(1))
    assert size({"a": normal}, 4) < 0.9 * 400 * 400 / 2  # its numbers are not equally frequent


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
    tied = torch.randn(10, 4)
    model = {"embed": tied, "output": tied, "norm": torch.ones(4), "version": torch.tensor([3.0])}
    assert size(model, 32) == 4 * (40 + 4)
    assert size(model, 8) == 40 + 2 * 10 + 4 * 4  # too few numbers to be coded shorter
    assert size(model, 4) == 20 + 2 * 10 + 4 * 4
    torch.save({"args": argparse.Namespace(), "model": model, "last_optimizer_state": {}}, tmp_path / "a.pt")
    assert quantize(tmp_path / "a.pt", 8, tmp_path / "b.pt") == size(model, 8)
    written = load(tmp_path / "b.pt")
    torch.testing.assert_close(written["model"]["embed"], rounded(tied, 8))
    torch.testing.assert_close(written["model"]["output"], rounded(tied, 8))
    torch.testing.assert_close(written["model"]["norm"], torch.ones(4))
    assert "last_optimizer_state" not in written
