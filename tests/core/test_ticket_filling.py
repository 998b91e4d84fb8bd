"""Tickets that do not belong to the model that they are to fill."""

from __future__ import annotations

import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, Ticket, TicketError, WeightPool, load_ticket
from one_layer_lt.ticket import ticket as ticket_module
from tests.support.edits import all_edits, set_entry, set_tensor
from tests.support.models import three
from tests.support.signing import resign
from tests.support.tickets import NewModel, bits, masked, tensors_of


class TestFilling:
    """A ticket and a model that do not belong together."""

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (lambda: nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)}), r"holds c.weight, which the model"),
            (
                lambda: nn.ModuleDict({**three(), "c": nn.Linear(4, 3)}),
                r"c.weight has shape \[3, 3\] in the ticket, and \[3, 4\]",
            ),
            (lambda: nn.ModuleDict({**three(), "d": nn.Linear(1, 1)}), r"lacks d.weight, which the model has"),
            (lambda: nn.ModuleDict({**three(), "n": nn.BatchNorm1d(2)}), r"lacks n.running_mean, which the model has"),
            (
                lambda: nn.ModuleDict({**three(), "b": nn.Linear(4, 2, bias=False)}),
                r"holds b.bias, which the model does",
            ),
            (
                lambda: nn.ModuleDict({**three(), "b": nn.Linear(4, 3)}),
                r"b.weight has shape \[2, 4\] in the ticket, and \[3, 4\]",
            ),
            (lambda: masked(three()), r"holds a.weight, which the model does not have"),
            (nn.Identity, r"holds a.weight, which the model does not have"),
        ],
    )
    def test_another_model(self, flaw_file: Path, other: Callable[[], nn.Module], message: str) -> None:
        model = other()
        before = {name: bits(tensor) for name, tensor in model.state_dict().items()}
        with pytest.raises(TicketError, match=message):
            load_ticket(flaw_file).fill_(model)
        assert {name: bits(tensor) for name, tensor in model.state_dict().items()} == before

    def test_ties_the_ticket_does_not_have(self, fresh: NewModel) -> None:
        ticket = Ticket.of(
            masked(nn.ModuleDict({"embed": nn.Embedding(7, 4), "fc": nn.Linear(4, 4), "head": nn.Linear(4, 7)}))
        )
        with pytest.raises(TicketError, match=r"holds head.weight, which the model does not have"):
            ticket.fill_(fresh("tied")[0])

    def test_a_model_of_half_precision_is_rounded_once(self) -> None:
        def new() -> nn.Module:
            return nn.Sequential(nn.Linear(16, 16, bias=False))

        ticket = Ticket.of(masked(new(), MaskConfig(keep=0.3, rescale="tensor")))
        whole, half = ticket.fill_(new()), ticket.fill_(new().half())
        assert torch.equal(half[0].weight, whole[0].weight.half())

    def test_a_counter_that_the_ticket_does_not_hold_stays(self, flaw_file: Path) -> None:
        model = nn.ModuleDict({**three(), "n": nn.Module()})
        model["n"].register_buffer("weight", torch.tensor([5.0]))
        assert load_ticket(flaw_file).fill_(model)["n"].weight.tolist() == [5.0]

    def test_a_weight_under_a_mask_and_dense(self, flaw_file: Path) -> None:
        ticket = load_ticket(resign(flaw_file, set_tensor("dense.a.weight", torch.zeros(2, 4))))
        with pytest.raises(TicketError, match=r"holds a\.weight twice"):
            ticket.fill_(three())

    @pytest.mark.parametrize(("key", "value"), [("seed", 4), ("name", "b"), ("scale", 2.0), ("init", "kaiming_normal")])
    def test_a_random_weight_that_comes_out_otherwise(self, flaw_file: Path, key: str, value: Any) -> None:
        ticket, model = load_ticket(resign(flaw_file, set_entry("weights", 0, key, value))), three()
        before = tensors_of(model)
        with pytest.raises(
            TicketError, match=r"the random weight .* does not come out as it was \(digest [0-9a-f]{12}"
        ):
            ticket.fill_(model)
        assert tensors_of(model) == before

    def test_a_digest_is_checked_though_the_pool_holds_the_weight(self, flaw_file: Path) -> None:
        pool = WeightPool()
        load_ticket(flaw_file).fill_(three(), pool)
        forged = load_ticket(resign(flaw_file, set_entry("weights", 0, "digest", "0" * 64)))
        with pytest.raises(TicketError, match="does not come out as it was"):
            forged.fill_(three(), pool)

    def test_a_huge_weight_is_not_drawn_for_a_small_model(
        self, flaw_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """2**27 weights, none kept, in a stream that is just small enough: shapes are compared first."""
        packed = b"\0" * (2**24 + 1)
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
        stream = coder.compress(packed) + coder.flush()
        edit = all_edits(
            set_entry("weights", 0, "shape", [2**14, 2**13]),
            set_entry("masks", [{"name": "a", "weight": 0, "config": 0}, {"name": "c", "weight": 1, "config": 1}]),
            lambda about, tensors: about["weights"].pop(1),
            lambda about, tensors: tensors.update({"weight.1": tensors.pop("weight.2")}),
            set_entry("configs", 0, "keep", 1e-12),
            set_entry("planes", 0, {"coding": "deflate", "size": 2**24}),
            set_tensor("planes.0", torch.frombuffer(bytearray(stream), dtype=torch.uint8)),
        )
        with pytest.raises(TicketError, match="does not hold just 16,777,216 bytes"):
            load_ticket(resign(flaw_file, edit))
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
        stream = coder.compress(packed[1:]) + coder.flush()
        resign(flaw_file, set_tensor("planes.0", torch.frombuffer(bytearray(stream), dtype=torch.uint8)))
        monkeypatch.setattr("one_layer_lt.ticket.parts.SharedWeight", None)
        with pytest.raises(TicketError, match=r"a.weight has shape \[16384, 8192\] in the ticket, and \[2, 4\]"):
            load_ticket(flaw_file).fill_(three())


class TestArchitecture:
    def test_without_one(self, flaw_file: Path) -> None:
        for use in (Ticket.model, Ticket.skeleton, Ticket.translator):
            with pytest.raises(TicketError, match="does not say how to build its network"):
                use(load_ticket(flaw_file))

    @pytest.mark.parametrize(("architecture", "named"), [({}, "none named"), ({"kind": "vision"}, "vision")])
    def test_what_python_shows(self, architecture: dict[str, Any], named: str) -> None:
        ticket = Ticket.of(masked(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))), architecture)
        assert repr(ticket) == f"<Ticket: 2 masks over 1 random weights, architecture: {named}>"

    @pytest.mark.parametrize("kind", ["os", "", 7, ["fairseq_transformer"], {}, "fairseq_plugins.ticket"])
    def test_an_unknown_one(self, flaw_file: Path, kind: Any) -> None:
        ticket = load_ticket(resign(flaw_file, set_entry("architecture", "kind", kind)))
        with pytest.raises(
            TicketError, match=r"the ticket's architecture .* is unknown; known are fairseq_transformer, vision$"
        ):
            ticket.model()

    def test_those_that_are_known_are_there(self) -> None:
        assert all(find_spec(module) for module in ticket_module.ARCHITECTURES.values())

    def test_one_that_is_not_installed(self, flaw_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(ticket_module.ARCHITECTURES, "toy", "no_such_package.ticket")
        ticket = load_ticket(resign(flaw_file, set_entry("architecture", "kind", "toy")))
        with pytest.raises(TicketError, match="no_such_package is not installed: pip install"):
            ticket.model()
