"""Several tickets on one random weight."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from one_layer_lt import MaskConfig, Ticket, TicketError, TicketSet, WeightPool
from one_layer_lt.ticket import ticket as ticket_module
from one_layer_lt.ticket.parts import WeightSpec
from tests.support.tickets import NewModel, masked, tensors_of


class TestSharing:
    def test_tickets_of_one_seed_share_one_weight(self, fresh: NewModel) -> None:
        tickets = [Ticket.of(masked(fresh("stacks")[0], MaskConfig(seed=3, keep=keep))) for keep in (0.5, 0.25)]
        pool = WeightPool()
        for ticket in tickets:
            ticket.fill_(fresh("stacks")[0], pool)
        first, second = ([pool.get(spec).data_ptr() for spec in ticket.weights] for ticket in tickets)
        assert first == second
        assert len(pool) == 4
        assert pool.nbytes == 4 * 4 * 32

    def test_weights_are_drawn_once(self, fresh: NewModel, monkeypatch: pytest.MonkeyPatch) -> None:
        tickets = [Ticket.of(masked(fresh("stacks")[0], MaskConfig(keep=keep))) for keep in (0.5, 0.25)]
        drawn: list[str] = []
        make = ticket_module.WeightPool.get.__globals__["SharedWeight"]

        def counting(*args: Any, **options: Any) -> Any:
            drawn.append(options["name"])
            return make(*args, **options)

        monkeypatch.setattr("one_layer_lt.ticket.parts.SharedWeight", counting)
        pool = WeightPool()
        for _ in range(2):
            for ticket in tickets:
                ticket.fill_(fresh("stacks")[0], pool)
        assert len(drawn) == len(set(drawn)) == 4

    @pytest.mark.parametrize("other", [{"seed": 4}, {"init": "kaiming_normal"}, {"scale": 2.0}, {"share": "none"}])
    def test_others_do_not_share(self, fresh: NewModel, other: dict[str, Any]) -> None:
        pool = WeightPool()
        specs = [
            Ticket.of(masked(fresh("stacks")[0], config)).weights[0] for config in (MaskConfig(), MaskConfig(**other))
        ]
        assert pool.get(specs[0]).data_ptr() != pool.get(specs[1]).data_ptr()
        assert len(pool) == 2
        if other != {"share": "none"}:
            assert not torch.equal(pool.get(specs[0]), pool.get(specs[1]))

    def test_weights_that_were_drawn_again_are_kept_apart(self) -> None:
        spec, pool = WeightSpec("w", (2, 8), "kaiming_uniform", 1, 1.0, ""), WeightPool()
        for number in (0, 1, 0):
            redraws = torch.full((2, 8), number, dtype=torch.int16)
            drawn = spec.drawn(redraws)
            assert torch.equal(pool.get(replace(spec, digest=drawn.digest()), redraws), drawn.weight)
        assert len(pool) == 2

    def test_a_model_has_its_own_tensors(self, fresh: NewModel) -> None:
        """Changing a filled model does not change what the pool holds."""
        pool = WeightPool()
        ticket = Ticket.of(masked(fresh("tied")[0], MaskConfig(keep=1.0)))
        model = ticket.fill_(fresh("tied")[0], pool)
        expected = tensors_of(model)
        with torch.no_grad():
            model.get_parameter("fc.weight").zero_()
        assert tensors_of(ticket.fill_(fresh("tied")[0], pool)) == expected


class Toy:
    """An architecture for tests: stacks, or stacks with a head."""

    built = 0

    @classmethod
    def build(cls, ticket: Ticket) -> nn.Module:
        cls.built += 1
        with torch.device("meta"):
            return nn.Sequential(*(nn.Linear(4, 4) for _ in range(ticket.architecture["layers"])))

    @staticmethod
    def engine(ticket: Ticket, wanted: str, quantization: str | None) -> str:
        return ticket.architecture.get("engine", "torch") if wanted == "auto" else wanted

    @staticmethod
    def translator(ticket: Ticket, engine: str, quantization: str | None, model: nn.Module | None) -> Any:
        return engine, quantization, model


class TestTicketSet:
    @pytest.fixture(autouse=True)
    def _toy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(ticket_module.ARCHITECTURES, "toy", "toy")
        monkeypatch.setattr(ticket_module, "companion", lambda name: Toy)
        monkeypatch.setattr(Toy, "built", 0)

    @staticmethod
    def ticket(layers: int = 2, **config: Any) -> Ticket:
        model = masked(nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers))), MaskConfig(**config))
        return Ticket.of(model, {"kind": "toy", "layers": layers})

    def test_back_and_forth(self) -> None:
        tickets = {"a": self.ticket(keep=0.5), "b": self.ticket(keep=0.25), "c": self.ticket(seed=2)}
        expected = {name: tensors_of(ticket.model()) for name, ticket in tickets.items()}
        assert expected["a"] != expected["b"] != expected["c"]
        tried = TicketSet(tickets)
        for name in "abcacbbaa":
            assert tensors_of(tried.model(name)) == expected[name]
        assert len({id(tried.model(name)) for name in "abc"}) == 1
        assert len(tried.pool) == 2  # of seeds 1 and 2; the layers of each share one

    def test_one_dense_model(self) -> None:
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(keep=0.3)})
        places = [tried.model(name)[0].weight.data_ptr() for name in "abab"]
        assert len(set(places)) == 1
        assert Toy.built == 1

    def test_another_architecture_has_a_model_of_its_own(self) -> None:
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(layers=3)})
        assert (len(tried.model("a")), len(tried.model("b")), Toy.built) == (2, 3, 2)
        assert len(tried.pool) == 1

    def test_languages_are_no_part_of_a_model(self) -> None:
        ticket = self.ticket()
        about = [{"source": "de"}, {"source": "en", "target": "de"}, {"text": {"moses": True}}, {"width": 4}]
        every = {
            str(number): Ticket(**{**vars(ticket), "architecture": {**ticket.architecture, **each}})
            for number, each in enumerate(about)
        }
        tried = TicketSet(every)
        models = [tried.model(name) for name in every]
        assert models[0] is models[1] is models[2]
        assert models[3] is not models[0]

    def test_translators(self) -> None:
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(keep=0.3)})
        engine, quantization, model = tried.use("a")
        assert (engine, quantization) == ("torch", None)
        assert model is tried.model("a")
        assert tried.use("a") is tried.use("a")
        tried.use("b")
        assert tensors_of(model) == tensors_of(tried.tickets["b"].model())
        tried.use("a")
        assert tensors_of(model) == tensors_of(tried.tickets["a"].model())

    def test_another_engine_is_made_once(self) -> None:
        tried = TicketSet({"a": self.ticket()}, engine="ctranslate2", quantization="int8")
        assert tried.use("a") == ("ctranslate2", "int8", None)
        assert tried.use("a") is tried.use("a")

    def test_auto_may_be_another_engine_a_ticket(self) -> None:
        """Only those of torch occupy the shared model."""
        other = self.ticket(keep=0.3)
        other = Ticket(**{**vars(other), "architecture": {**other.architecture, "engine": "ctranslate2"}})
        tried = TicketSet({"a": self.ticket(), "b": other})
        _, _, model = tried.use("a")
        held = tensors_of(model)
        assert tried.use("b") == ("ctranslate2", None, None)
        assert tensors_of(model) == held

    def test_after_a_ticket_that_cannot_be_filled(self) -> None:
        """The model then holds no ticket, and the next use fills it."""
        good = self.ticket()
        bad = Ticket(**{**vars(self.ticket()), "masks": tuple(forged(mask) for mask in self.ticket(keep=0.3).masks)})
        tried = TicketSet({"good": good, "bad": bad})
        expected = tensors_of(tried.model("good"))
        with pytest.raises(TicketError, match="does not come out as it was"):
            tried.model("bad")
        assert tensors_of(tried.model("good")) == expected

    def test_after_filling_was_interrupted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The model is then half of each, and no ticket's until it is filled anew."""
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(seed=2)})
        expected = tensors_of(tried.model("a"))
        fill_one = ticket_module.fill_.__globals__["_effective_"]

        def interrupted(out: Tensor, mask: Any, weight: Tensor) -> None:
            fill_one(out, mask, weight)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("one_layer_lt.ticket.fill._effective_", interrupted)
            with pytest.raises(KeyboardInterrupt):
                tried.model("b")
        assert tensors_of(tried.model("a")) == expected

    def test_filled_only_where_another_was_in_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        filled: list[int] = []
        fill = Ticket.fill_
        monkeypatch.setattr(Ticket, "fill_", lambda self, *rest: filled.append(id(self)) or fill(self, *rest))
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(keep=0.3), "c": self.ticket(layers=1)})
        for name in "aacbca":
            tried.model(name)
        assert [next(name for name, ticket in tried.tickets.items() if id(ticket) == each) for each in filled] == [
            *("a", "c", "b", "a")
        ]

    def test_no_such_ticket(self) -> None:
        with pytest.raises(KeyError, match="missing"):
            TicketSet({}).model("missing")


def forged(mask: Any) -> Any:
    """A mask over a random weight that nothing gives."""
    weight = type(mask.weight)(**{**asdict(mask.weight), "shape": mask.weight.shape, "digest": "0" * 64})
    return type(mask)(mask.name, weight, mask.config, mask.planes)
