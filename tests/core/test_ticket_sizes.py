"""How large a ticket is, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from one_layer_lt import MaskConfig
from one_layer_lt.ticket.encoding import to_bytes
from one_layer_lt.ticket.parts import Contents, Mask, WeightSpec
from one_layer_lt.ticket.sizes import Kind, sizes

SPEC = WeightSpec("w", (2, 4), "kaiming_uniform", 1, 1.0, "x")
HALF = Mask("layers.0.fc", SPEC, MaskConfig(), (np.array([0b1111], np.uint8),))
DENSE = {"norm.0.weight": torch.zeros(3), "norm.1.weight": torch.ones(3), "head.bias": torch.zeros(5).half()}
WORDS = b"".join(b"word%d 1\n" % number for number in range(60))


def test_by_hand() -> None:
    contents = Contents((HALF, replace(HALF, name="layers.1.fc")), dense=DENSE, assets={"words": WORDS, "few": b"ab"})
    found = sizes(contents)
    assert found.masked == (Kind("layers.*.fc", 2, (2, 4), weights=16, kept=8, bits=1.0, bytes=2.0),)
    assert found.unmasked == (
        Kind("norm.*.weight", 2, (3,), weights=6, kept=6, bits=32.0, bytes=24),
        Kind("head.bias", 1, (5,), weights=5, kept=5, bits=16.0, bytes=10),
    )
    assert (found.masks, found.bound) == (2, 2.0)  # four of eight: eight bits each
    assert found.dense == 4 * (16 + 6 + 5)
    assert found.file == len(to_bytes(contents))
    assert 2 < found.assets < len(WORDS)  # "ab" as it is, and what repeats in fewer bytes
    assert found.without_assets == found.file - found.assets


def test_a_mask_of_several_modules_stands_for_several_weights() -> None:
    shared = replace(HALF, config=MaskConfig(share="layer_mask"), also=("layers.1.fc", "layers.2.fc"))
    assert sizes(Contents((shared,))).dense == 4 * 3 * 8


def test_planes_and_tiles() -> None:
    """Three tiles of 8 weights under one mask of two planes: 8 bits, and a bit for each of the 4 kept."""
    config = MaskConfig(rule="signed", tiles=(3, 1))
    planes = (np.array([0b1111], np.uint8), np.array([0b0001], np.uint8))
    found = sizes(Contents((Mask("fc", replace(SPEC, shape=(6, 4)), config, planes),)))
    assert found.masked == (Kind("fc", 1, (6, 4), weights=24, kept=12, bits=8 * 2 / 24, bytes=2.0),)
    assert found.bound == pytest.approx((8 + 4 * 0.811278) / 8, rel=1e-6)  # one sign of four differs


def test_what_is_locked_counts_as_kept() -> None:
    """Of a pattern's weights only those that are searched are stored; each tile keeps the locked ones, too."""
    config = MaskConfig(rule="bernoulli", lock=0.4, tiles=(1, 2))
    mask = Mask("fc", replace(SPEC, shape=(8, 16)), config, ())
    held, searched = mask.layout.held, mask.layout.searched
    assert held > 0
    assert held + searched == 64
    bits = np.packbits(np.arange(searched) < 3, bitorder="little")
    assert sizes(Contents((replace(mask, planes=(bits,)),))).masked[0].kept == 2 * (held + 3)


def test_what_is_stored_together_is_shared_by_size() -> None:
    """Ten bytes: eight of the one mask's, two of the other's."""
    large = Mask("large", replace(SPEC, shape=(8, 8)), MaskConfig(), (np.arange(8, dtype=np.uint8) * 31,))
    small = Mask("small", replace(SPEC, shape=(4, 4)), MaskConfig(), (np.array([85, 170], np.uint8),))
    found = sizes(Contents((large, small)))
    assert [kind.bytes for kind in found.masked] == [8.0, 2.0]
    assert found.masks == 10
