"""Tickets with flaws: each is refused by its name."""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from one_layer_lt import TicketError, load_ticket
from one_layer_lt.ticket.parts import refusing
from tests.support.edits import (
    all_edits,
    append_entry,
    bytes_of,
    drop_entry,
    metadata_text,
    replace_text,
    set_entry,
    set_tensor,
)
from tests.support.models import three
from tests.support.signing import Edit, metadata_of, resign, with_digest

BOMB = torch.frombuffer(bytearray(zlib.compress(b"\0" * (1 << 20))[2:-4]), dtype=torch.uint8)
WEIGHT = {"name": "w[2x4]", "shape": [2, 4], "init": "kaiming_uniform", "seed": 3, "scale": 1.0, "digest": "x"}
NESTED = "[" * 100_000 + "]" * 100_000

# Of flaw_file(): masks a and b of 2 x 4 (keep 0.5), c of 3 x 3 (keep 1/3), an existing weight, an asset, a tensor.
FLAWS: dict[str, tuple[Edit, str]] = {
    "too few kept": (set_tensor("planes.0", bytes_of(0b00000111, 0b1111)), r"mask of a keeps 3 of 8 weights, not 4"),
    "too many kept": (set_tensor("planes.0", bytes_of(0b1111, 0b11111000)), r"mask of b keeps 5 of 8 weights, not 4"),
    "another keep": (all_edits(set_entry("configs", 0, "keep", 0.25)), r"mask of a keeps 4 of 8 weights, not 2"),
    "padding bits": (set_tensor("planes.1", bytes_of(0b111, 0b10)), r"mask of c has bits after its end"),
    "padding bits instead of bits": (set_tensor("planes.1", bytes_of(0b11, 0b10)), r"mask of c has bits after its end"),
    "longer planes": (set_tensor("planes.0", bytes_of(15, 15, 0)), r"planes.0 holds 3 bytes, not 2"),
    "shorter planes": (set_tensor("planes.0", bytes_of(15)), r"planes.0 holds 1 bytes, not 2"),
    "planes of another size": (set_entry("planes", 0, "size", 3), r"planes.0 is of 3 bytes, but its masks take 2"),
    "longer planes, said so": (
        all_edits(set_entry("planes", 0, "size", 3), set_tensor("planes.0", bytes_of(15, 15, 0))),
        r"planes.0 is of 3 bytes, but its masks take 2",
    ),
    "a negative size": (set_entry("planes", 0, "size", -1), r"planes.0 has the size -1"),
    "a size that is no integer": (set_entry("planes", 0, "size", 2.0), r"planes.0 has the size 2.0"),
    "a size that is true": (set_entry("planes", 0, "size", True), r"planes.0 has the size True"),
    "a huge size": (set_entry("planes", 0, "size", 1 << 99), r"planes.0 is of \d+ bytes, but its masks take 2"),
    "an unknown coding": (set_entry("planes", 0, "coding", "zip"), r"planes.0 unknown coding 'zip'"),
    "a coding that is no text": (set_entry("planes", 0, "coding", ["raw"]), r"a coding must be a string"),
    "a coding without its size": (
        drop_entry("planes", 0, "size"),
        r"coding of planes.0 must be an object of coding, size",
    ),
    "a stream that is none": (set_entry("planes", 0, "coding", "deflate"), r"planes.0 (damaged deflate|does not hold)"),
    "a coding too many": (append_entry("planes", {"coding": "raw", "size": 1}), r"lacks the tensor planes.2"),
    "planes too many": (
        all_edits(append_entry("planes", {"coding": "raw", "size": 1}), set_tensor("planes.2", bytes_of(1))),
        r"has 3 tensors of planes, but its masks make 2",
    ),
    "planes too few": (
        all_edits(drop_entry("planes", 1), set_tensor("planes.1", None)),
        r"has 1 tensors of planes, but its masks make 2",
    ),
    "planes of another type": (
        set_tensor("planes.0", torch.tensor([15, 15]).short()),
        r"planes.0 must be a row of bytes",
    ),
    "planes of another shape": (
        set_tensor("planes.0", bytes_of(15, 15).view(2, 1)),
        r"planes.0 must be a row of bytes",
    ),
    "missing planes": (set_tensor("planes.1", None), r"lacks the tensor planes.1"),
    "an unknown rule": (
        set_entry("configs", 0, "rule", "best"),
        r"unknown rule 'best'; choose one of: edge_popup, topk",
    ),
    "a rule that is no text": (set_entry("configs", 0, "rule", {}), r"unknown rule"),
    "an unknown init of a config": (set_entry("configs", 0, "init", "zeros"), r"unknown init 'zeros'"),
    "an unknown init of a weight": (
        set_entry("weights", 0, "init", "zeros"),
        r"unknown init 'zeros'; known are kaiming_u",
    ),
    "an init that is no text": (set_entry("weights", 0, "init", []), r"unknown init \[\]"),
    "an unknown setting": (
        set_entry("configs", 0, "scheme", 1),
        r"a config has scheme, which this version does not know",
    ),
    "a config that is no object": (set_entry("configs", 0, 7), r"a config must be an object, not 7"),
    "keep above one": (set_entry("configs", 0, "keep", 1.5), r"keep must be in \(0, 1\], not 1.5"),
    "keep not a number": (set_entry("configs", 0, "keep", math.nan), r"its metadata is no JSON \(it holds nan"),
    "keep as text": (set_entry("configs", 0, "keep", "0.5"), r"keep must be in \(0, 1\], not '0.5'"),
    "keep without bounds": (replace_text('"keep": 0.5', '"keep": 1e999'), r"its metadata is no JSON \(it holds inf"),
    "a scale beyond floats": (set_entry("configs", 0, "scale", 10**400), r"too large to convert"),
    "a scale of zero": (set_entry("configs", 0, "scale", 0), r"scale must be a positive number"),
    "a seed that is no integer": (set_entry("configs", 0, "seed", 1.0), r"seed must be an integer, not 1.0"),
    "another version": (set_entry("version", 2), r"format version 2, and this one_layer_lt reads version 1"),
    "an old version": (set_entry("version", 0), r"format version 0"),
    "a version that is no integer": (set_entry("version", 1.0), r"format version 1.0"),
    "a version that is true": (set_entry("version", True), r"format version True"),
    "no version": (drop_entry("version"), r"format version None"),
    "another format": (set_entry("format", "net"), r"a safetensors file, but no ticket"),
    "an entry too many": (
        set_entry("author", "me"),
        r"its metadata must have just architecture, assets, configs, digest",
    ),
    "an entry too few": (drop_entry("assets"), r"its metadata must have just"),
    "metadata that is a list": (metadata_text("[]"), r"a safetensors file, but no ticket"),
    "metadata that is empty": (metadata_text(""), r"its metadata is no JSON"),
    "metadata that is no JSON": (metadata_text("{'format': 1}"), r"its metadata is no JSON"),
    "metadata that is cut": (replace_text("]", ""), r"its metadata is no JSON"),
    "deep nesting": (metadata_text(NESTED), r"its metadata is no JSON"),
    "deep nesting within": (replace_text('"size": 2', f'"size": {NESTED}'), r"its metadata is no JSON"),
    "nesting that can just be read": (
        set_entry("planes", 0, "size", json.loads("[" * 200 + "]" * 200)),
        r"nested more than",
    ),
    "a number of a million digits": (replace_text('"size": 2', '"size": ' + "9" * 10**6), r"its metadata is no JSON"),
    "text that is no Unicode": (replace_text('"name": "a"', r'"name": "\ud800"'), r"its metadata is no JSON"),
    "a random weight's name that is no Unicode": (
        replace_text('"name": "a[', r'"name": "\ud800['),
        r"metadata is no JSON",
    ),
    "a digest that is no Unicode": (replace_text("0" * 64, "\\ud800" * 64), r"its metadata is no JSON"),
    "a digest that is no text": (replace_text('"' + "0" * 64 + '"', "1"), r"digest must be a string"),
    "a digest that is empty": (replace_text("0" * 64, ""), r"damaged"),
    "a digest in escapes": (replace_text("0" * 64, "\\u0030" * 64), r"damaged: its bytes do not have the digest"),
    "a digest of another length": (replace_text("0" * 64, "0" * 63), r"damaged"),
    "a missing tensor": (set_tensor("asset.words", None), r"lacks the tensor asset.words"),
    "an asset not listed": (drop_entry("assets", "words"), r"holds the tensor asset.words, which belongs to no ticket"),
    "an asset of another type": (set_tensor("asset.words", torch.zeros(5)), r"asset.words must be a row of bytes"),
    "a longer asset": (set_entry("assets", "words", "size", 4), r"asset.words holds 5 bytes, not 4"),
    "assets that are a list": (set_entry("assets", []), r"assets must be an object"),
    "a tensor too many": (set_tensor("extra", torch.zeros(1)), r"holds the tensor extra, which belongs to no ticket"),
    "a tensor without a name": (set_tensor("", torch.zeros(1)), r"holds the tensor , which belongs to no ticket"),
    "integers": (set_tensor("dense.x", torch.zeros(3).int()), r"holds the tensor dense.x, which belongs to no ticket"),
    "doubles": (
        set_tensor("dense.x", torch.zeros(3).double()),
        r"holds the tensor dense.x, which belongs to no ticket",
    ),
    "a weight that is drawn": (set_tensor("weight.0", torch.zeros(2, 4)), r"holds the tensor weight.0, which belongs"),
    "a missing weight": (set_tensor("weight.2", None), r"lacks the tensor weight.2"),
    "a weight of another shape": (
        set_tensor("weight.2", torch.zeros(4, 2)),
        r"weight.2 must be float32 of shape \[3, 3\]",
    ),
    "a weight of another type": (
        set_tensor("weight.2", torch.zeros(3, 3).half()),
        r"weight.2 must be float32 of shape",
    ),
    "another weight": (set_tensor("weight.2", torch.ones(3, 3)), r"weight.2 does not have the digest of c"),
    "another digest of a weight": (
        set_entry("weights", 2, "digest", "0" * 64),
        r"weight.2 does not have the digest of c",
    ),
    "a mask's weight out of range": (set_entry("masks", 0, "weight", 3), r"a mask names weight 3, and there are 3"),
    "a mask's weight below zero": (set_entry("masks", 0, "weight", -1), r"a mask names weight -1, and there are 3"),
    "a mask's config out of range": (set_entry("masks", 0, "config", 99), r"a mask names config 99, and there are 2"),
    "an index that is true": (set_entry("masks", 0, "config", False), r"a mask names config False"),
    "an index that is no integer": (set_entry("masks", 0, "config", 0.0), r"a mask names config 0.0"),
    "a mask without a config": (drop_entry("masks", 0, "config"), r"a mask must be an object of config, name, weight"),
    "a mask with more": (set_entry("masks", 0, "bits", 1), r"a mask must be an object of config, name, weight"),
    "a mask's name that is no text": (set_entry("masks", 0, "name", 0), r"a mask's name must be a string, not 0"),
    "a mask twice": (set_entry("masks", 0, "name", "b"), r"must have masks, each of another module"),
    "no masks": (set_entry("masks", []), r"must have masks"),
    "masks that are an object": (set_entry("masks", {}), r"masks must be a list"),
    "a weight that no mask uses": (
        append_entry("weights", WEIGHT),
        r"lists a random weight twice, or one that no mask",
    ),
    "a weight twice": (
        all_edits(lambda about, _: about["weights"].append(about["weights"][0]), set_entry("masks", 0, "weight", 3)),
        r"lists a random weight twice",
    ),
    "a weight of one dimension": (set_entry("weights", 0, "shape", [8]), r"\[8\] is not a weight's shape"),
    "a weight of nine dimensions": (set_entry("weights", 0, "shape", [1] * 9), r"is not a weight's shape"),
    "a weight of no size": (set_entry("weights", 0, "shape", [0, 4]), r"\[0, 4\] is not a weight's shape"),
    "a weight of a negative size": (set_entry("weights", 0, "shape", [-2, -4]), r"\[-2, -4\] is not a weight's shape"),
    "a size as text": (set_entry("weights", 0, "shape", ["2", 4]), r"is not a weight's shape"),
    "a size that is true, of a weight": (set_entry("weights", 0, "shape", [True, 4]), r"is not a weight's shape"),
    "a shape that is no list": (set_entry("weights", 0, "shape", 8), r"a shape must be a list, not 8"),
    "a huge shape": (set_entry("weights", 0, "shape", [2**31 - 1] * 8), r"asks for [\d,]+ weights"),
    "a huge shape, said so": (
        all_edits(set_entry("weights", 0, "shape", [2**11, 2**12]), set_entry("planes", 0, "size", 2**20 + 1)),
        r"planes.0 holds 2 bytes, not 1,048,577",
    ),
    "a huge shape, compressed": (
        all_edits(
            set_entry("weights", 0, "shape", [2**11, 2**12]),
            set_entry("planes", 0, {"coding": "deflate", "size": 2**20 + 1}),
        ),
        r"planes.0 2 bytes cannot hold 1,048,577",
    ),
    "a bomb": (
        all_edits(
            set_entry("assets", "words", {"coding": "deflate", "size": 1 << 20}), set_tensor("asset.words", BOMB)
        ),
        r"asset.words [\d,]+ bytes cannot hold 1,048,576",
    ),
    "a bomb that claims little": (
        all_edits(set_entry("assets", "words", {"coding": "deflate", "size": 9000}), set_tensor("asset.words", BOMB)),
        r"asset.words does not hold just 9,000 bytes",
    ),
    "a random weight's seed as text": (set_entry("weights", 0, "seed", "3"), r"cannot have the seed '3'"),
    "a random weight's scale as an integer": (
        set_entry("weights", 0, "scale", 1),
        r"cannot have the seed 3 and the scale 1",
    ),
    "a random weight's scale not a number": (set_entry("weights", 0, "scale", math.nan), r"it holds nan"),
    "a random weight's scale beyond float32": (set_entry("weights", 0, "scale", 1e30), r"the scale 1e\+30"),
    "a name that drives terminals": (
        set_entry("masks", 0, "name", "a\x1b[2J"),
        r"characters that can be printed, not 'a\\x1b",
    ),
    "a name of a tensor that drives terminals": (
        set_tensor("dense.\x07", torch.zeros(1)),
        r"characters that can be printed",
    ),
    "a name without an end": (set_entry("masks", 0, "name", "a" * 100_000), r"at most 1,000 characters"),
    "a number in the architecture that is none": (set_entry("architecture", {"x": [math.inf]}), r"it holds inf"),
    "a tensor that is not finite": (
        set_tensor("dense.x", torch.tensor([1, math.nan])),
        r"dense.x holds numbers that are",
    ),
    "a half that is not finite": (
        set_tensor("dense.x", torch.tensor(math.inf).half()),
        r"dense.x holds numbers that are",
    ),
    "a weight that is not finite": (
        set_tensor("weight.2", torch.full((3, 3), math.inf)),
        r"weight.2 holds numbers that",
    ),
    "a random weight's scale below zero": (set_entry("weights", 0, "scale", -1.0), r"the scale -1.0"),
    "a random weight without a name": (
        set_entry("weights", 0, "name", None),
        r"a random weight's name must be a string",
    ),
    "a random weight without a digest": (drop_entry("weights", 0, "digest"), r"a random weight must be an object of"),
    "a card that is a list": (set_entry("card", []), r"the card must be a table, not \[\]"),
    "an empty card": (set_entry("card", {}), r"the card lacks name"),
    "an unknown field of a card": (set_entry("card", {"name": "a", "page": "x"}), r"the card has no field 'page'"),
    "a card that moves the cursor": (
        set_entry("card", {"name": "\x1b[2J"}),
        r"the card: name must be text in one line",
    ),
    "a large card": (set_entry("card", {"name": "x" * 9000}), r"the card is of 9,012 bytes, and may be of 8,192"),
    "an architecture that is a list": (set_entry("architecture", []), r"architecture must be an object"),
}


class TestFlaws:
    """Each in a file whose digest is right, as one made by a stranger would be."""

    def test_without_any(self, flaw_file: Path) -> None:
        ticket = load_ticket(resign(flaw_file, lambda about, tensors: None))
        assert [(mask.name, mask.kept) for mask in ticket.masks] == [("a", 4), ("b", 4), ("c", 3)]
        ticket.fill_(three())

    @pytest.mark.parametrize("flaw", FLAWS)
    def test_is_named(self, flaw_file: Path, flaw: str) -> None:
        edit, message = FLAWS[flaw]
        with pytest.raises(TicketError, match=message) as raised:
            load_ticket(resign(flaw_file, edit))
        said = str(raised.value)
        assert said.startswith(str(flaw_file))
        assert len(said) < len(str(flaw_file)) + 500
        assert "\n" not in said

    def test_without_its_digest(self, flaw_file: Path) -> None:
        raw = flaw_file.read_bytes()
        flaw_file.write_bytes(raw.replace(b"edge_popup", b"edge_poqup", 1))
        with pytest.raises(TicketError, match="damaged: its bytes do not have the digest that it names"):
            load_ticket(flaw_file)
        flaw_file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        with pytest.raises(TicketError, match="damaged"):
            load_ticket(flaw_file)

    def test_a_tensor_twice(self, flaw_file: Path) -> None:
        """Two entries of one name in the header: safetensors' own reader must not take the last and go on."""
        raw = flaw_file.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header = raw[8 : 8 + length].rstrip()[:-1] + b',"planes.1":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
        header += b" " * (-len(header) % 8)
        digest = metadata_of(raw)["digest"].encode()
        forged = struct.pack("<Q", len(header)) + header.replace(digest, b"0" * 64) + raw[8 + length :]
        flaw_file.write_bytes(with_digest(forged))
        with pytest.raises(TicketError):
            load_ticket(flaw_file)

    def test_no_safetensors_file(self, path: Path) -> None:
        for content in (b"", b"{}", b"PK\x03\x04" * 50, b"\xff" * 8, struct.pack("<Q", 1 << 40), bytes(8) + b"{}"):
            path.write_bytes(content)
            with pytest.raises(TicketError, match="not a whole safetensors file"):
                load_ticket(path)

    @pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"ticket": "{}"}, {"ticket": "{}", "more": ""}])
    def test_no_ticket(self, path: Path, metadata: dict[str, str] | None) -> None:
        path.write_bytes(save({"weight": torch.zeros(2)}, metadata))
        with pytest.raises(TicketError, match="a safetensors file, but no ticket"):
            load_ticket(path)

    def test_more_metadata_than_its_own(self, flaw_file: Path) -> None:
        about = {**metadata_of(flaw_file.read_bytes()), "digest": "0" * 64}
        flaw_file.write_bytes(with_digest(save({}, {"ticket": json.dumps(about), "hidden": "x"})))
        with pytest.raises(TicketError, match="no ticket"):
            load_ticket(flaw_file)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            load_ticket(tmp_path / "missing.ticket")
        with pytest.raises(OSError, match="directory"):
            load_ticket(tmp_path)

    def test_a_torch_checkpoint(self, path: Path) -> None:
        held = io.BytesIO()
        torch.save({"model": torch.zeros(3)}, held)
        path.write_bytes(held.getvalue())
        with pytest.raises(TicketError, match="not a whole safetensors file"):
            load_ticket(path)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("one line\nand another"), "one line"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (RuntimeError("a" * 201), "a" * 200),
        (MemoryError("much"), "takes more memory than there is"),
        (TicketError("two\nlines"), "two\nlines"),
    ],
)
def test_what_odd_values_raise_is_said_in_a_line(error: Exception, says: str) -> None:
    with pytest.raises(TicketError) as refusal, refusing():
        raise error
    assert str(refusal.value) == says
