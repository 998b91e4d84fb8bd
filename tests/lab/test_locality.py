"""one_layer_lt/lab/locality.py, with answers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from one_layer_lt.lab.locality import CHANCES, mean_distance, neighbours, shuffled


def masks(*pictures: str) -> Tensor:
    """A unit each: rows of `#` and `.`, divided by spaces."""
    return torch.tensor([[pixel == "#" for pixel in picture if pixel != " "] for picture in pictures])


@pytest.mark.parametrize(
    ("pictures", "distance"),
    [
        (["## .."], 1.0),
        (["#. .#"], math.sqrt(2)),
        (["## ..", "#. .#"], (1 + math.sqrt(2)) / 2),
        (["## ..", "#. ..", ".. .."], 1.0),  # units without pairs do not count
        (["## ##"], (4 * 1 + 2 * math.sqrt(2)) / 6),
    ],
)
def test_distances(pictures: list[str], distance: float) -> None:
    assert mean_distance(masks(*pictures), (2, 2)) == pytest.approx(distance)


def test_distances_in_an_image_that_is_wider_than_high() -> None:
    assert mean_distance(masks("#..# ...."), (2, 4)) == pytest.approx(3)
    assert mean_distance(masks("#... ...#"), (2, 4)) == pytest.approx(math.sqrt(10))


@pytest.mark.parametrize(
    ("pictures", "found"),
    [
        (["### ###"], 2 * 7 / 6),  # four pairs side by side, three one above the other
        (["#.. .#."], 0),
        (["##. ...", "..# ..."], 2 / 3),
        (["..# #.."], 0),  # the end of a row and the start of the next
    ],
)
def test_neighbours(pictures: list[str], found: float) -> None:
    assert neighbours(masks(*pictures), (2, 3)) == pytest.approx(found)


@given(st.integers(0, 99))
def test_what_shuffling_keeps(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(5, 7, generator=generator) < 0.4
    assert torch.equal(shuffled(mask, "pixels", generator).sum(1), mask.sum(1))
    assert torch.equal(shuffled(mask, "units", generator).sum(0), mask.sum(0))


def test_units_with_patches_of_their_own_are_local_and_a_common_patch_is_none() -> None:
    generator = torch.Generator().manual_seed(1)
    own = torch.zeros(60, 12, 12, dtype=torch.bool)
    for unit, (top, left) in enumerate(torch.randint(10, (60, 2), generator=generator).tolist()):
        own[unit, top : top + 3, left : left + 3] = True
    common = own[:1].expand(60, -1, -1)

    def over(mask: Tensor, chance: str) -> float:
        flat = mask.reshape(60, -1)
        return neighbours(flat, (12, 12)) / neighbours(shuffled(flat, chance, generator), (12, 12))

    assert min(over(own, chance) for chance in CHANCES) > 3
    assert over(common, "pixels") > 3
    assert over(common, "units") == 1


def test_what_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="no unit keeps two pixels"):
        mean_distance(masks("#. .."), (2, 2))
    with pytest.raises(ValueError, match="no pixel is kept"):
        neighbours(masks(".. .."), (2, 2))
    with pytest.raises(ValueError, match="chance rows: unknown; choose one of: pixels, units"):
        shuffled(masks("#. .."), "rows", torch.Generator())
