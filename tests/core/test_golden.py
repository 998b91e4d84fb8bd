"""Tickets that were written once, most of them by older code, still give the same models and the same files.

Where one of these fails, the code is to be mended, and the ticket in tests/golden left as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from one_layer_lt import INITS, RULES, Ticket, load_ticket
from one_layer_lt.config import RESCALES
from one_layer_lt.sharing import SHARES
from one_layer_lt.ticket.encoding import to_bytes
from one_layer_lt.ticket.planes import CODINGS, expand
from one_layer_lt.weights import EXISTING
from tests.golden.cases import CASES, LATER
from tests.golden.make import DIGESTS, TICKETS, dense_model, model_digest, new_ticket, translations
from tests.support.signing import metadata_of

GOLDEN: dict[str, Any] = json.loads(DIGESTS.read_text())
FIRST = "034271e7cb649b737bff272fc985c2c57ee8fcc2"  # wrote all but what came later


def file_of(name: str) -> Path:
    return TICKETS / f"{name}.ticket"


def golden(name: str) -> Ticket:
    ticket = load_ticket(file_of(name))
    if ticket.architecture.get("kind") == "fairseq_transformer":
        pytest.importorskip("fairseq")
    return ticket


def codings(about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each tensor that is coded, how."""
    found = {f"planes.{number}": coding for number, coding in enumerate(about["planes"])}
    found |= {f"redraws.{number}": coding for number, coding in about.get("redraws", {}).items()}
    return found | {f"asset.{name}": coding for name, coding in about["assets"].items()}


def expanded(raw: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, list[int], bytes]]]:
    """The metadata and the tensors of a ticket as they are when nothing is compressed."""
    about, tensors = metadata_of(raw), load(raw)
    held = {
        name: (str(tensor.dtype), list(tensor.shape), tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        for name, tensor in tensors.items()
    }
    for name, coding in codings(about).items():
        content = expand(held[name][2], coding.pop("coding"), coding["size"])
        held[name] = (held[name][0], [len(content)], content)
    del about["digest"]
    return about, held


def assert_same_file(found: bytes, name: str) -> None:
    """The same bytes; where something is compressed, which zlibs do differently, the same once it is expanded."""
    expected = file_of(name).read_bytes()
    assert expanded(found) == expanded(expected)
    if all(coding["coding"] == "raw" for coding in codings(metadata_of(expected)).values()):
        assert found == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_gives_the_model_that_it_gave(name: str) -> None:
    assert model_digest(dense_model(golden(name), name)) == GOLDEN[name]["model"]


@pytest.mark.parametrize("name", GOLDEN)
def test_is_written_again_as_it_is(name: str) -> None:
    assert_same_file(to_bytes(load_ticket(file_of(name))), name)


# A model whose masks keep nothing is refused by now; its ticket is read all the same.
@pytest.mark.parametrize("name", sorted({*CASES, *LATER} - {"keep-nothing"}))
def test_its_model_masked_anew_makes_the_same_file(name: str) -> None:
    """Drawing, schedules, rules and layouts are what they were."""
    assert_same_file(to_bytes(new_ticket({**CASES, **LATER}[name])), name)


@pytest.mark.parametrize("name", [name for name in GOLDEN if "translations" in GOLDEN[name]])
def test_translates_as_it_did(name: str) -> None:
    ticket = golden(name)
    pytest.importorskip({"moses-bpe": "subword_nmt"}.get(ticket.architecture["text"]["tokenizer"], "sentencepiece"))
    assert translations(ticket) == GOLDEN[name]["translations"]
    assert len(set(GOLDEN[name]["translations"].values())) == 2


def test_all_are_there_and_small() -> None:
    assert {path.name for path in TICKETS.iterdir()} == {file_of(name).name for name in GOLDEN}
    assert set(GOLDEN) >= {*CASES, *LATER, "vision", "translation-sentencepiece", "translation-moses-bpe"}
    assert {name for name in GOLDEN if GOLDEN[name]["commit"] != FIRST} == set(LATER)
    assert sum(path.stat().st_size for path in TICKETS.iterdir()) < 150_000


def test_they_use_all_that_a_ticket_can_hold() -> None:
    """A rule, share, init, rescale, coding or type that is new needs a golden ticket."""
    files = [file_of(name).read_bytes() for name in GOLDEN]
    abouts = [metadata_of(raw) for raw in files]
    configs = [config for about in abouts for config in about["configs"]]
    assert {config["rule"] for config in configs} == set(RULES)
    assert {config["share"] for config in configs} == set(SHARES)
    assert {config.get("rescale", "none") for config in configs} == set(RESCALES)
    assert {weight["init"] for about in abouts for weight in about["weights"]} == {*INITS, EXISTING}
    for kind in ("planes.", "redraws.", "asset."):
        used = {coding["coding"] for about in abouts for name, coding in codings(about).items() if kind in name[:8]}
        assert used == set(CODINGS), kind
    dense = {str(tensor.dtype) for raw in files for name, tensor in load(raw).items() if name.startswith("dense.")}
    assert dense == {"torch.float32", "torch.float16", "torch.bfloat16"}
    assert any(mask.get("also") for about in abouts for mask in about["masks"])
    assert any(weight.get("period", 1 << 31) < shape_size(weight) for about in abouts for weight in about["weights"])


def shape_size(weight: dict[str, Any]) -> int:
    rows, columns = weight["shape"][:2]
    return int(rows * columns)
