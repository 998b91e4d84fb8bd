"""Frozen patterns, factors, tiles and shares, by hand and on any shape."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from one_layer_lt import MaskConfig, mask_, masked_modules, masked_weight, scores_of
from one_layer_lt.weights import draw_words
from tests.support.models import Stacks


class TestLayouts:
    @settings(max_examples=30)
    @given(
        st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.6), st.floats(0, 0.39), st.floats(0, 1), st.integers(0, 99)
    )
    @example(6, 6, 0.4, 0.0, 0.5, 1)
    @example(6, 6, 0.0, 0.3, 0.5, 1)
    def test_frozen_masks(self, rows: int, columns: int, drop: float, lock: float, part: float, seed: int) -> None:
        keep = min(max(lock + part * (1 - drop - lock), 0.001, lock), 1 - drop)
        config = MaskConfig(seed=seed, drop=drop, lock=lock, keep=keep)
        layer = nn.Sequential(nn.Linear(columns, rows))
        words = draw_words(rows * columns, seed=seed, name="frozen:0")
        if drop + lock and (words < round(drop * 2**32) + round(lock * 2**32)).all():
            with pytest.raises(
                ValueError, match=f"drop .* and lock .* leave none of the {rows * columns} weights of 0"
            ):
                mask_(layer, config)
            return
        is_locked = (words >= round(drop * 2**32)) & (words < round(drop * 2**32) + round(lock * 2**32))
        if not (is_locked.any() or round(keep * rows * columns)):
            with pytest.raises(ValueError, match=rf"^keep {keep} keeps none of the {rows * columns} weights of 0: "):
                mask_(layer, config)
            return
        model = mask_(layer, config)
        masked, scores = masked_weight(model[0]), scores_of(model[0])
        masks = []
        for _ in range(4):
            with torch.no_grad():
                scores.normal_()
            masks.append(masked.mask(scores.detach()).flatten())
        layout = masked.layout
        dropped, held = words < round(drop * 2**32), int(is_locked.sum())
        assert (layout.held, layout.searched) == (held, int((~is_locked & ~dropped).sum()))
        assert all(bool((mask[is_locked] == 1).all()) for mask in masks)
        assert not any(bool(mask[dropped].any()) for mask in masks)
        if drop or lock:
            assert layout.locked.tolist() == is_locked.nonzero()[0].tolist()
            assert layout.free.tolist() == (~is_locked & ~dropped).nonzero()[0].tolist()
        wanted = round(keep * rows * columns)
        reachable = min(max(wanted, held), held + layout.searched)
        assert {int(mask.sum()) for mask in masks} == {reachable}

    def test_a_frozen_pattern_is_of_the_fractions_asked_for(self) -> None:
        model = mask_(nn.Sequential(nn.Linear(400, 300)), MaskConfig(drop=0.3, lock=0.2))
        layout = masked_weight(model[0]).layout
        assert layout.locked is not None
        assert abs(layout.searched / 120_000 - 0.5) < 0.01
        assert abs(len(layout.locked) / 120_000 - 0.2) < 0.01
        assert int((model[0].weight != 0).sum()) == 60_000

    def test_frozen_scores_get_no_gradient(self) -> None:
        model = mask_(nn.Sequential(nn.Linear(8, 8)), MaskConfig(drop=0.3, lock=0.2))
        model(torch.randn(4, 8)).sum().backward()
        gradient, layout = scores_of(model[0]).grad, masked_weight(model[0]).layout
        assert gradient is not None
        assert layout.free is not None
        assert set(gradient.flatten().nonzero().flatten().tolist()) == set(layout.free.tolist())

    def test_rescaling_by_hand(self) -> None:
        weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
        scores = torch.tensor(
            [[9.0, 8.0, 7.0, 0.0], [6.0, 0.0, 0.0, 0.0]]
        )  # keeps three of the first row, one of the second
        factors = {
            "none": torch.ones(2, 4),
            "tensor": torch.full((2, 4), 2.0),
            "row": torch.tensor([[4 / 3] * 4, [4.0] * 4]),
            "column": torch.tensor([[1.0, 2, 2, 2], [1.0, 2, 2, 2]]),
        }
        for how, factor in factors.items():
            layer = nn.Linear(4, 2, bias=False)
            layer.weight.data.copy_(weight)
            model = mask_(nn.Sequential(layer), MaskConfig(rescale=how, init="existing"))
            with torch.no_grad():
                scores_of(model[0]).copy_(scores)
            kept = weight * torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
            torch.testing.assert_close(model[0].weight.detach(), kept * factor)
            x = torch.randn(3, 4)
            model(x).sum().backward()
            torch.testing.assert_close(scores_of(model[0]).grad, weight * factor * x.sum(0))

    def test_tiles_by_hand(self) -> None:
        """Two heads of two rows each, under one mask: a score's gradient is the sum of its weights'."""
        layer = nn.Linear(2, 4, bias=False)
        layer.weight.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]))
        model = mask_(nn.Sequential(layer), MaskConfig(tiles=(2, 1), init="existing"))
        assert scores_of(model[0]).shape == (2, 2)
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.tensor([[4.0, 1.0], [2.0, 3.0]]))
        assert model[0].weight.tolist() == [[1, 0], [0, 4], [5, 0], [0, 8]]
        (model[0].weight * torch.arange(8.0).view(4, 2)).sum().backward()
        assert scores_of(model[0]).grad.tolist() == [[0 * 1 + 4 * 5, 1 * 2 + 5 * 6], [2 * 3 + 6 * 7, 3 * 4 + 7 * 8]]

    def test_tiles_and_factors_of_kernels_by_hand(self) -> None:
        """One 1 x 2 kernel a row of a tile: two rows and two columns of tiles lie under one mask."""
        layer = nn.Conv2d(2, 4, (1, 2), bias=False)
        weight = torch.arange(1.0, 17).view(4, 2, 1, 2)
        layer.weight.data.copy_(weight)
        model = mask_(nn.Sequential(layer), MaskConfig(tiles=(2, 2), init="existing", keep=0.75, rescale="row"))
        assert scores_of(model[0]).shape == (2, 1, 1, 2)
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.tensor([4.0, 1.0, 2.0, 3.0]).view(2, 1, 1, 2))
        mask = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).view(2, 1, 1, 2).repeat(2, 2, 1, 1)
        factor = torch.tensor([2.0, 1.0, 2.0, 1.0]).view(4, 1, 1, 1)  # four weights a row, of which two or all are kept
        assert torch.equal(model[0].weight, weight * mask * factor)
        (model[0].weight * torch.arange(16.0).view(4, 2, 1, 2)).sum().backward()
        each = weight * factor * torch.arange(16.0).view(4, 2, 1, 2)
        sums = [sum(each[row + 2 * i, j, 0, k] for i in (0, 1) for j in (0, 1)) for row in (0, 1) for k in (0, 1)]
        assert scores_of(model[0]).grad.flatten().tolist() == sums

    @pytest.mark.parametrize("how", ["row", "column"])
    def test_a_row_that_keeps_nothing_is_zero(self, how: str) -> None:
        model = mask_(nn.Sequential(nn.Linear(2, 2, bias=False)), MaskConfig(rescale=how, keep=0.25))
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.tensor([[3.0, 2.0], [1.0, 0.0]]))
        drawn = masked_weight(model[0]).shared.weight
        assert torch.equal(model[0].weight, drawn * torch.tensor([[2.0, 0.0], [0.0, 0.0]]))

    def test_tiles_that_do_not_fit(self) -> None:
        model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5))
        with pytest.raises(ValueError, match=r"tiles \(2, 1\): 1 of shape \(5, 6\) does not divide"):
            mask_(model, MaskConfig(tiles=(2, 1)))
        assert not list(masked_modules(model))

    def test_stacks_use_one_anothers_matrices(self) -> None:
        model = mask_(Stacks(), MaskConfig(share="stack"))
        encoder, decoder = model.encoder["layers"][0], model.decoder["layers"][1]
        assert masked_weight(encoder.fc1).shared is masked_weight(decoder.fc1).shared
        assert masked_weight(encoder.fc1).shared is not masked_weight(encoder.fc2).shared
        assert scores_of(encoder.fc1) is not scores_of(decoder.fc1)

    def test_one_vector(self) -> None:
        model = mask_(
            nn.Sequential(nn.Linear(1100, 1000), nn.Linear(1000, 9), nn.Linear(9, 7)), MaskConfig(share="vector")
        )
        units = [masked_weight(module).shared.weight.flatten() * math.sqrt(module.in_features) for module in model]
        vector = units[0][:1_048_573]
        torch.testing.assert_close(units[0][1_048_573:], vector[: 1_100_000 - 1_048_573])
        for unit in units[1:]:
            torch.testing.assert_close(unit, vector[: unit.numel()])

    def test_layers_share_a_mask(self) -> None:
        model = mask_(Stacks(), MaskConfig(share="layer_mask"))
        first, second = (model.encoder["layers"][at].fc1 for at in (0, 2))
        assert scores_of(first) is scores_of(second)
        assert scores_of(first) is not scores_of(model.decoder["layers"][0].fc1)
        assert len([p for p in model.parameters() if p.requires_grad]) == 4
        model(torch.randn(3, 4)).sum().backward()
        assert scores_of(first).grad is not None
