"""Tickets that were damaged by chance, or made to harm: each is refused as such, or is the honest one."""

from __future__ import annotations

import copy
import json
import math
import random
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load
from torch import Tensor, nn

from one_layer_lt import (
    MaskConfig,
    Ticket,
    TicketError,
    advance_,
    load_ticket,
    mask_,
    masked_modules,
    save_ticket,
    scores_of,
)
from tests.support.cards import CARD
from tests.support.signing import ZEROS, metadata_of, signed

SLACK = 32_000  # bytes above twice the honest peak: the interpreter's own
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def new_model() -> nn.Module:
    return nn.ModuleDict(
        {
            "even": nn.Linear(16, 20),  # keep 0.5: raw
            "other": nn.Linear(16, 20),
            "sparse": nn.Linear(64, 64, bias=False),  # keep 0.1: compressed
            "found": nn.Linear(6, 5, bias=False),  # init existing
            "norm": nn.LayerNorm(9),
        }
    )


def configure(name: str, _: nn.Module) -> MaskConfig:
    init = "existing" if name == "found" else "signed_constant"
    return MaskConfig(keep=0.1 if name == "sparse" else 0.5, init=init, share="none")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ticket of every kind of part, of some kilobytes."""
    torch.manual_seed(1)
    model = mask_(new_model(), configure=configure, trainable=["norm.*"])
    with torch.no_grad():
        scores_of(model.get_submodule("found")).normal_()
        model.get_parameter("norm.weight").uniform_()
    path = tmp_path_factory.mktemp("honest") / "net.ticket"
    assets = {"words": b"".join(b"word%d 1\n" % number for number in range(60)), "few": b"\x00\x01"}
    about = {"kind": "toy", "depth": [1, {"wide": True}]}
    save_ticket(path, model, architecture=about, assets=assets, card=CARD)
    codings = metadata_of(path.read_bytes())
    assert {coding["coding"] for coding in [*codings["planes"], *codings["assets"].values()]} == {"raw", "deflate"}
    assert 2000 < path.stat().st_size < 6000
    return path.read_bytes()


RULED = {
    "coats": MaskConfig(rule="multicoat"),
    "binary": MaskConfig(rule="biprop", tiles=(2, 1), lock=0.125, rescale="row"),
    "signs": MaskConfig(rule="signed", options={"threshold": 0.1}, share="stack"),
    "again": MaskConfig(rule="iterand", keep=0.2, options={"period": 1, "fraction": 0.5}, init="signed_constant"),
    "every": MaskConfig(rule="sign", init="signed_constant", drop=0.25),
    "first": MaskConfig(rule="bernoulli", share="layer_mask", drop=0.5),
}


def ruled_model() -> nn.Module:
    layers = {name: nn.Linear(16, 20, bias=False) for name in RULED}
    layers["first"] = nn.ModuleList(nn.Linear(8, 9, bias=False) for _ in range(2))  # type: ignore[assignment]
    return nn.ModuleDict(layers)


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ticket of several rules and layouts."""
    torch.manual_seed(1)
    model = mask_(ruled_model(), configure=lambda name, _: RULED[name.split(".")[0]])
    for update in range(4):
        advance_(model, update)
        for _, module in masked_modules(model):
            scores_of(module).data.normal_(std=0.2)
    path = tmp_path_factory.mktemp("ruled") / "net.ticket"
    save_ticket(path, model)
    about = metadata_of(path.read_bytes())
    assert len(about["planes"]) == 3 + 1 + 2 + 1 + 1 + 1
    assert about["redraws"]
    assert [mask for mask in about["masks"] if "also" in mask]
    assert [mask for mask in about["masks"] if "scale" in mask]
    return path.read_bytes()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "tried.ticket"


def contents(ticket: Ticket) -> Any:
    """All that a ticket holds, so that == compares it."""

    def plain(tensors: Any) -> Any:
        return {key: (tensor.dtype, tensor.tolist()) for key, tensor in tensors.items()}

    masks = [
        (mask.name, mask.also, mask.scale, mask.weight, mask.config, [p.tolist() for p in mask.planes])
        for mask in ticket.masks
    ]
    tensors = plain(ticket.dense), plain(ticket.existing), plain(ticket.redraws)
    return masks, ticket.architecture, *tensors, ticket.assets, ticket.card


def loaded(path: Path) -> tuple[Ticket | None, int]:
    """(ticket, or None where it is refused as promised; bytes of memory that trying took)."""
    tracemalloc.start()
    try:
        ticket = load_ticket(path)
    except TicketError:
        ticket = None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return ticket, peak


@pytest.fixture(scope="module")
def expected(honest: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    """(what the honest ticket holds, bytes of memory that loading it takes)."""
    return measured(honest, tmp_path_factory.mktemp("expected") / "net.ticket")


@pytest.fixture(scope="module")
def expected_of_ruled(ruled: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    return measured(ruled, tmp_path_factory.mktemp("expected") / "net.ticket")


def measured(raw: bytes, path: Path) -> tuple[Any, int]:
    path.write_bytes(raw)
    load_ticket(path)
    ticket, peak = loaded(path)
    assert ticket is not None
    return contents(ticket), peak


def damaged(raw: bytes, header: int, chance: random.Random) -> bytes:
    """``raw`` after one to three changes, each of some kind at some place."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        size = len(raw)
        low, high = chance.choice([(0, 16), (8, header), (header, size), (0, size)])
        at = min(chance.randint(low, max(low, high)), size)
        length = chance.choice([1, 1, 1, 2, 4, 8, 33, 500])
        end = min(at + length, size)
        kind = chance.choice(["flip", "byte", "cut", "end", "repeat", "insert", "swap", "zero"])
        if kind == "flip" and at < size:
            raw = raw[:at] + bytes([raw[at] ^ (1 << chance.randint(0, 7))]) + raw[at + 1 :]
        elif kind == "byte" and at < size:
            raw = raw[:at] + chance.choice([b'"', b"{", b"9", b"-", b"\\", b"\xff", b"0"]) + raw[at + 1 :]
        elif kind == "cut":
            raw = raw[:at] + raw[end:]
        elif kind == "end":
            raw = raw[:at]
        elif kind == "repeat":
            raw = raw[:end] + raw[at:]
        elif kind == "insert":
            raw = raw[:at] + chance.randbytes(chance.randint(1, 9)) + raw[at:]
        elif kind == "swap":
            middle = min(end + chance.choice([0, 1, 8, 100]), size)
            last = min(middle + end - at, size)
            raw = raw[:at] + raw[middle:last] + raw[end:middle] + raw[at:end] + raw[last:]
        elif kind == "zero":
            raw = raw[:at] + bytes(end - at) + raw[end:]
    return raw


@settings(max_examples=2500, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(seed=st.integers(0, 2**64))
def test_damaged_bytes(honest: bytes, expected: tuple[Any, int], target: Path, seed: int) -> None:
    check_damaged(honest, expected, target, seed)


@settings(max_examples=1000, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(seed=st.integers(0, 2**64))
def test_damaged_bytes_of_rules(ruled: bytes, expected_of_ruled: tuple[Any, int], target: Path, seed: int) -> None:
    check_damaged(ruled, expected_of_ruled, target, seed)


def check_damaged(honest: bytes, expected: tuple[Any, int], target: Path, seed: int) -> None:
    raw = damaged(honest, 8 + int.from_bytes(honest[:8], "little"), random.Random(seed))
    target.write_bytes(raw)
    ticket, peak = loaded(target)
    assert peak <= 2 * expected[1] + SLACK
    assert (ticket is not None) is (raw == honest)
    if ticket is not None:
        assert contents(ticket) == expected[0]


ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 7, 255, 256, 2**31, 2**63, 2**64, -(2**63), 10**400, 1 << 40),
    *(0.0, -0.0, 0.5, 1.0, 1e308, 5e-324, -1.5, math.nan, math.inf, -math.inf),
    *("", "a", "raw", "deflate", "topk", "existing", "signed_constant", "\0", "\ud800", "ü" * 9, "x" * 5000, "../x"),
    *([], {}, [[]], [0], [[1, 2]], {"": {}}, {"name": 1}, [None] * 40, "0" * 64, "*[20x16]", [20, 16], [64, 64]),
    json.loads("[" * 90 + "]" * 90),
]


def places(value: Any, most: int | None = None) -> list[tuple[Any, Any]]:
    """Every (container, key) of JSON; of each list, only the first ``most``."""
    found = []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(entries)[: most if isinstance(value, list) else None]:
        found += [(value, key), *places(part, most)]
    return found


def change(about: dict[str, Any], chance: random.Random) -> None:
    """One change somewhere in the metadata."""
    container, key = chance.choice(places(about))
    value = container[key]
    kind = chance.choice(["odd", "odd", "near", "near", "drop", "add", "copy"])
    if kind == "near" and isinstance(value, str):
        at = chance.randint(0, len(value))
        container[key] = value[:at] + chance.choice(["", "x", "0", "\0", "é"]) + value[at + 1 :]
    elif kind == "near" and isinstance(value, (int, float)) and abs(value) < 1e300:
        container[key] = value + chance.choice([-1, 1, 8, -8, 0.5, 2**31, -value, 1e-9])
    elif kind == "drop":
        del container[key]
    elif kind == "add" and isinstance(container, dict):
        names = [
            "",
            "x",
            "name",
            "seed",
            "keep",
            "size",
            "planes.2",
            "also",
            "scale",
            "period",
            "options",
            "tiles",
            "drop",
            "card",
        ]
        container[chance.choice(names)] = value
    elif kind == "add":
        container.insert(chance.randint(0, len(container)), copy.deepcopy(value))
    elif kind == "copy":
        source, other = chance.choice(places(about))
        container[key] = copy.deepcopy(source[other])
    else:
        container[key] = copy.deepcopy(chance.choice(ODD))


def change_tensors(tensors: dict[str, Tensor], chance: random.Random) -> None:
    name = chance.choice(sorted(tensors))
    kind = chance.choice(["bit", "drop", "longer", "shorter", "type", "name", "shape"])
    tensor = tensors[name]
    if kind == "bit":
        raw = bytearray(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        raw[chance.randint(0, len(raw) - 1)] ^= 1 << chance.randint(0, 7)
        tensors[name] = torch.frombuffer(raw, dtype=tensor.dtype).view(tensor.shape)
    elif kind == "drop":
        del tensors[name]
    elif kind == "longer":
        tensors[name] = torch.cat([tensor.reshape(-1), tensor.reshape(-1)[:1]])
    elif kind == "shorter":
        tensors[name] = tensor.reshape(-1)[:-1].clone()
    elif kind == "type":
        tensors[name] = tensor.to(chance.choice([torch.float64, torch.int8, torch.float16, torch.bool]))
    elif kind == "name":
        tensors[chance.choice(["planes.9", "dense.", "dense.x", "dense.even.weight", "weight.0", ""])] = tensors.pop(
            name
        )
    else:
        tensors[name] = tensor.reshape(1, *tensor.shape).clone()


def accepted(target: Path, model: nn.Module) -> Ticket | None:
    """The ticket that fills the model, or None where it is refused as promised."""
    try:
        ticket = load_ticket(target)
        ticket.fill_(model)
    except TicketError:
        return None
    return ticket


@pytest.mark.filterwarnings("ignore:overflow")
def test_each_entry_by_each_odd_value(honest: bytes, target: Path) -> None:
    """Of the configs, the weights and so on, the first stands for all."""
    about, tensors, model = metadata_of(honest), load(honest), new_model()
    outcomes = []
    for container, key in places(about, most=1):
        value = container[key]
        for odd in ODD:
            container[key] = odd
            target.write_bytes(signed(about, tensors))
            outcomes.append(accepted(target, model) is not None)
        container[key] = value
    assert len(outcomes) > 1500
    assert 0 < sum(outcomes) < len(outcomes) / 2


@settings(max_examples=700, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(seed=st.integers(0, 2**64))
@pytest.mark.filterwarnings("ignore:overflow")  # a random weight of the largest scales
def test_changed_and_signed_again(honest: bytes, target: Path, seed: int) -> None:
    check_changed(honest, new_model(), target, seed)


@settings(max_examples=700, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(seed=st.integers(0, 2**64))
@pytest.mark.filterwarnings("ignore:overflow")
def test_rules_changed_and_signed_again(ruled: bytes, target: Path, seed: int) -> None:
    check_changed(ruled, ruled_model(), target, seed)


def check_changed(honest: bytes, model: nn.Module, target: Path, seed: int) -> None:
    chance = random.Random(seed)
    about, tensors = metadata_of(honest), load(honest)
    about["digest"] = ZEROS
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        change(about, chance)
    if chance.randint(0, 3) == 0:
        change_tensors(tensors, chance)
    target.write_bytes(signed(about, tensors))
    ticket = accepted(target, model)
    if ticket is None:
        return
    for mask in ticket.masks:  # what is accepted is what is promised
        ones = int(np.unpackbits(mask.planes[0], bitorder="little").sum())
        assert mask.rule.kept(mask.size) in (None, mask.rule.count_kept(ones, mask.size))
        assert model.get_parameter(f"{mask.name}.weight").count_nonzero() <= mask.kept_in_all
    ticket.save(target)  # what was read can be written
    assert contents(load_ticket(target)) == contents(ticket)
