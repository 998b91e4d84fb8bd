"""Tickets with flaws in what only some rules and layouts store; and limits, on both of their sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, TicketError, advance_, load_ticket, mask_, save_ticket, scores_of
from tests.support.edits import all_edits, bytes_of, drop_entry, set_entry, set_tensor
from tests.support.signing import Edit, metadata_of, resign

CONFIGS = {
    "again": MaskConfig(rule="iterand", options={"period": 1, "fraction": 1.0}),
    "binary": MaskConfig(rule="biprop", share="vector"),
    "found": MaskConfig(init="existing"),
    "layers": MaskConfig(share="layer_mask"),
}


def new_model() -> nn.Module:
    modules = {name: nn.Linear(4, 2, bias=False) for name in ("again", "binary", "found")}
    return nn.ModuleDict({**modules, "layers": nn.ModuleList(nn.Linear(4, 2, bias=False) for _ in range(2))})


@pytest.fixture
def ruled_file(path: Path) -> Path:
    """Masks again (drawn again once), binary (with a scale), found, and layers.0, which is also that of layers.1."""
    model = mask_(new_model(), configure=lambda name, _: CONFIGS[name.split(".")[0]])
    for module in (model["again"], model["layers"][0]):
        scores_of(module).data.copy_(torch.arange(8.0).view(2, 4))
    advance_(model, 1)
    save_ticket(path, model)
    about = metadata_of(path.read_bytes())
    assert [mask["name"] for mask in about["masks"]] == ["again", "binary", "found", "layers.0"]
    assert [about["masks"][3]["also"], list(about["redraws"])] == [["layers.1"], ["0"]]
    return path


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


def redraws(*numbers: int, size: int | None = None) -> Edit:
    stored = {"coding": "raw", "size": len(numbers) if size is None else size}
    return all_edits(set_entry("redraws", "0", stored), set_tensor("redraws.0", bytes_of(*numbers)))


FLAWS: dict[str, tuple[Edit, str]] = {
    "no scale": (drop_entry("masks", 1, "scale"), r"mask of binary has the scale None, which its rule biprop does not"),
    "a scale too many": (set_entry("masks", 0, "scale", 1.0), r"mask of again has the scale 1.0, which its rule iter"),
    "a scale below zero": (set_entry("masks", 1, "scale", -1e-9), r"mask of binary cannot have the scale -1e-09"),
    "a scale beyond float32": (set_entry("masks", 1, "scale", 1.1e20), r"cannot have the scale 1.1e\+20"),
    "a scale that is no float": (set_entry("masks", 1, "scale", 1), r"mask of binary cannot have the scale 1"),
    "of others, and not shared": (set_entry("masks", 0, "also", ["x"]), r"is of other modules too, though share is la"),
    "of itself": (set_entry("masks", 3, "also", ["layers.0"]), r"must have masks, each of another module"),
    "of one with a mask": (set_entry("masks", 3, "also", ["binary"]), r"must have masks, each of another module"),
    "of others that are no list": (set_entry("masks", 3, "also", "layers.1"), r"a mask's other names must be a list"),
    "of others that drive terminals": (set_entry("masks", 3, "also", ["\x1b"]), r"characters that can be printed"),
    "a period below zero": (set_entry("weights", 1, "period", -1), r"weight \* cannot have the period -1"),
    "a period beyond 32 bits": (set_entry("weights", 1, "period", 2**31), r"cannot have the period 2147483648"),
    "a period that is no integer": (set_entry("weights", 1, "period", 8.0), r"cannot have the period 8.0"),
    "draws that are a list": (set_entry("redraws", []), r"redraws must be an object"),
    "draws that are missing": (set_tensor("redraws.0", None), r"lacks the tensor redraws.0"),
    "draws not listed": (drop_entry("redraws"), r"holds the tensor redraws.0, which belongs to no ticket"),
    "draws of no weight": (
        all_edits(set_entry("redraws", "9", {"coding": "raw", "size": 8}), set_tensor("redraws.9", bytes_of(*[0] * 8))),
        r"lists draws of the random weight '9', which there is none of",
    ),
    "draws of a weight that is not drawn": (
        all_edits(set_entry("redraws", "2", {"coding": "raw", "size": 8}), set_tensor("redraws.2", bytes_of(*[0] * 8))),
        r"lists draws of the random weight '2', which there is none of",
    ),
    "draws of some elements": (redraws(*[0] * 7), r"redraws.0 is of 7 bytes, and should be of 8 or twice as many"),
    "draws of three bytes": (redraws(*[0] * 24), r"redraws.0 is of 24 bytes, and should be of 8 or twice as many"),
    "draws said to be fewer": (redraws(*[0] * 9, size=8), r"redraws.0 holds 9 bytes, not 8"),
    "draws beyond 16 bits": (redraws(*[0] * 15, 0x80), r"again.* has draws of more than 32767"),
    "a name of 1,001 characters": (set_entry("masks", 0, "name", "a" * 1001), r"at most 1,000 characters"),
    "a size of 2^31": (set_entry("weights", 0, "shape", [2**31, 4]), r"\[2147483648, 4\] is not a weight's shape"),
    "a random weight's scale of zero": (set_entry("weights", 0, "scale", 0.0), r"the scale 0.0"),
    "a random weight's scale": (set_entry("weights", 0, "scale", 1.1e20), r"the scale 1.1e\+20"),
    "101 deep": (set_entry("architecture", {"x": nested(100)}), r"nested more than 100 deep"),
}

LIMITS: dict[str, Edit] = {
    "a scale of zero": set_entry("masks", 1, "scale", 0.0),
    "the largest scale": set_entry("masks", 1, "scale", 1e20),
    "a mask that is of no others after all": set_entry("masks", 3, "also", []),
    "the longest period": set_entry("weights", 1, "period", 2**31 - 1),
    "no draw beyond the first": redraws(*[0] * 8),
    "the last draw": redraws(*[0xFF] * 8, *[0x7F] * 8),
    "a name of 1,000 characters": set_entry("masks", 0, "name", "a" * 1000),
    "the largest scale of a random weight": set_entry("weights", 0, "scale", 1e20),
    "100 deep": set_entry("architecture", {"x": nested(99)}),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_is_named(ruled_file: Path, flaw: str) -> None:
    edit, message = FLAWS[flaw]
    with pytest.raises(TicketError, match=message) as raised:
        load_ticket(resign(ruled_file, edit))
    assert str(raised.value).startswith(str(ruled_file))


@pytest.mark.parametrize("limit", LIMITS)
def test_is_read(ruled_file: Path, limit: str) -> None:
    load_ticket(resign(ruled_file, LIMITS[limit]))


def test_as_it_was(ruled_file: Path) -> None:
    model = load_ticket(resign(ruled_file, lambda about, tensors: None)).fill_(new_model())
    assert torch.equal(model["layers"][0].weight, model["layers"][1].weight)


def test_numbers_of_draws_are_two_bytes(ruled_file: Path) -> None:
    (numbers,) = load_ticket(resign(ruled_file, redraws(*range(8), *range(8, 16)))).redraws.values()
    assert numbers.tolist() == [[low + 256 * (8 + low) for low in row] for row in ([0, 1, 2, 3], [4, 5, 6, 7])]
    assert numbers.dtype == torch.int16
