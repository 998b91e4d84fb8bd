"""The bytes of a ticket: what is written today must be read for ever."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from pathlib import Path

import torch
from torch import nn

from one_layer_lt import MaskConfig, load_ticket, mask_, save_ticket, scores_of
from tests.support.signing import metadata_of, resign, signed, with_digest
from tests.support.tickets import NewModel, masked, tensors_of

# Two masks of 0 and 1 over weights of 2 x 3 whose values are all 1 (unsigned_constant, fan 3, scale sqrt(3/2)).
HAND_SCALE = math.sqrt(1.5)

GOLDEN_METADATA = (
    '{"format":"one_layer_lt.ticket","version":1,"digest":"DIGEST","architecture":{"kind":"toy"},'
    '"configs":[{"seed":1,"keep":0.5,"rule":"edge_popup","init":"kaiming_uniform","scale":1.0,"scale_fan":false,'
    '"share":"layer","score_init":"standard"}],'
    '"weights":[{"name":"*[4x3]","shape":[4,3],"init":"kaiming_uniform","seed":1,"scale":1.0,'
    '"digest":"311be344b61427be863fc06463bff84ee6b7f9eb04cf42a4a9e35979070fe5fc"}],'
    '"masks":[{"name":"0","weight":0,"config":0},{"name":"1","weight":0,"config":0}],'
    '"planes":[{"coding":"raw","size":4}],"assets":{"note":{"coding":"raw","size":2}}}'
)

GOLDEN_TENSORS = (
    '"dense.1.bias":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
    '"asset.note":{"dtype":"U8","shape":[2],"data_offsets":[16,18]},'
    '"planes.0":{"dtype":"U8","shape":[4],"data_offsets":[18,22]}'
)

GOLDEN_DATA = struct.pack("<4f", 0.5, 0, 0, -2) + b"hi" + bytes([0b00111111, 0b0000, 0b11000000, 0b1111])


class TestFormat:
    """What is written today must be read for ever."""

    def test_golden_bytes(self, path: Path) -> None:
        """The first mask keeps the first six weights of twelve, the second the last six."""
        model = mask_(nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4)), MaskConfig(), trainable=["1.bias"])
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.arange(12.0, 0, -1).view(4, 3))
            scores_of(model[1]).copy_(torch.arange(-1.0, -13, -1).view(4, 3))
            model[1].bias.copy_(torch.tensor([0.5, 0, 0, -2]))
        save_ticket(path, model, architecture={"kind": "toy"}, assets={"note": b"hi"})

        metadata = json.dumps(GOLDEN_METADATA.replace("DIGEST", "0" * 64))
        header = f'{{"__metadata__":{{"ticket":{metadata}}},{GOLDEN_TENSORS}}}'
        header += " " * (-len(header) % 8)
        expected = with_digest(struct.pack("<Q", len(header)) + header.encode() + GOLDEN_DATA)
        assert path.read_bytes() == expected
        assert (
            hashlib.sha256(expected).hexdigest() == "3f98b5f1aef5e31f4e9cbc116c5f92ba61ecaddc429451aa4e1f80c4673d0fbc"
        )

    def test_a_file_made_by_hand(self, path: Path) -> None:
        """Written from the description of the format alone."""
        digest = hashlib.sha256(b"torch.float32(2, 3)" + struct.pack("<6f", *[1] * 6)).hexdigest()
        config = {"seed": 4, "keep": 0.5, "rule": "topk", "init": "unsigned_constant", "scale": HAND_SCALE}
        about = {
            "format": "one_layer_lt.ticket",
            "version": 1,
            "digest": "0" * 64,
            "architecture": {},
            "configs": [config, {**config, "keep": 1 / 3}],
            "weights": [
                {
                    "name": "anything",
                    "shape": [2, 3],
                    "init": "unsigned_constant",
                    "seed": 9,
                    "scale": HAND_SCALE,
                    "digest": digest,
                }
            ],
            "masks": [
                {"name": "a", "weight": 0, "config": 0},
                {"name": "b", "weight": 0, "config": 1},
                {"name": "c", "weight": 0, "config": 0},
            ],
            "planes": [{"coding": "raw", "size": 2}, {"coding": "raw", "size": 1}],
            "assets": {"note": {"coding": "raw", "size": 3}},
        }
        tensors = {
            "planes.0": torch.tensor([0b010101, 0b111000], dtype=torch.uint8),
            "planes.1": torch.tensor([0b100001], dtype=torch.uint8),
            "asset.note": torch.tensor([97, 98, 99], dtype=torch.uint8),
            "dense.b.bias": torch.tensor([5, -1.5]).half(),
        }
        path.write_bytes(signed(about, tensors))
        ticket = load_ticket(path)
        assert ticket.assets == {"note": b"abc"}
        assert ticket.masks[1].config == MaskConfig(4, 1 / 3, "topk", "unsigned_constant", HAND_SCALE)

        model = ticket.fill_(nn.ModuleDict({name: nn.Linear(3, 2) for name in "abc"}))
        assert model["a"].weight.tolist() == [[1, 0, 1], [0, 1, 0]]
        assert model["b"].weight.tolist() == [[1, 0, 0], [0, 0, 1]]
        assert model["c"].weight.tolist() == [[0, 0, 0], [1, 1, 1]]
        assert model["a"].bias.tolist() == [0, 0]
        assert model["b"].bias.tolist() == [5, -1.5]

    def test_its_digest_is_of_the_file_with_zeros(self, fresh: NewModel, path: Path) -> None:
        save_ticket(path, masked(fresh("tied")[0]))
        raw = path.read_bytes()
        digest = metadata_of(raw)["digest"]
        assert raw.count(digest.encode()) == 1
        assert hashlib.sha256(raw.replace(digest.encode(), b"0" * 64)).hexdigest() == digest

    def test_re_signed_as_it_was(self, fresh: NewModel, path: Path) -> None:
        """The tests' own way of signing is the format's."""
        save_ticket(path, masked(fresh("mixed")[0]), assets={"x": b"abc"})
        expected = tensors_of(load_ticket(path).fill_(fresh("mixed")[0]))
        resign(path, lambda about, tensors: None)
        assert tensors_of(load_ticket(path).fill_(fresh("mixed")[0])) == expected
